"""The gateway's admin address as the session service uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from gateway.errors import Fault, GatewayError
from gateway.ops.admin import Admin, Answer, as_json
from gateway.sessions.telephony import Gateway

ORDER = {"session_id": "sess_1", "to": "200"}


def _dial(answer: Callable[[bytes], Coroutine[Any, Any, Answer]], key: str = "k") -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        admin = Admin({}, {"/dial": answer}, "k")
        host, port = await admin.start("127.0.0.1", 0)
        gateway = Gateway(f"{host}:{port}", key)
        try:
            return await gateway.dial(ORDER)
        finally:
            await gateway.close()
            await admin.close()

    return asyncio.run(main())


def test_an_order_is_carried_and_its_answer_returned() -> None:
    async def answer(body: bytes) -> Answer:
        return as_json({"id": "call_1", "order": msgspec.json.decode(body)}, 202)

    assert _dial(answer) == {"id": "call_1", "order": ORDER}


@pytest.mark.parametrize(
    ("told", "fault", "param"),
    [
        ({"fault": "dial_failed", "message": "486 Busy Here", "param": None}, Fault.DIAL_FAILED, None),
        ({"fault": "invalid_field", "message": "no", "param": "to"}, Fault.INVALID_FIELD, "to"),
        ({"fault": "stream_not_ready", "message": "no"}, Fault.SERVICE_UNAVAILABLE, None),
        ({"fault": "what?"}, Fault.SERVICE_UNAVAILABLE, None),
        ([], Fault.SERVICE_UNAVAILABLE, None),
    ],
)
def test_a_refusal_is_the_gateways_own(told: Any, fault: Fault, param: str | None) -> None:
    async def answer(_body: bytes) -> Answer:
        return as_json(told, 502)

    with pytest.raises(GatewayError) as caught:
        _dial(answer)
    assert (caught.value.fault, caught.value.param) == (fault, param)


def test_a_wrong_key_and_nobody_there_are_not_now() -> None:
    async def answer(_body: bytes) -> Answer:
        raise AssertionError("not to be asked")

    with pytest.raises(GatewayError) as caught:
        _dial(answer, key="wrong")
    assert caught.value.fault is Fault.SERVICE_UNAVAILABLE

    async def nobody() -> None:
        gateway = Gateway("127.0.0.1:1", "k")
        try:
            await gateway.dial(ORDER)
        finally:
            await gateway.close()

    with pytest.raises(GatewayError) as caught:
        asyncio.run(nobody())
    assert caught.value.fault is Fault.SERVICE_UNAVAILABLE
