"""gateway/calls/summons.py"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from gateway.calls.dialling import Dialler, Wanted
from gateway.calls.summons import BOUND, Summons
from gateway.errors import Fault, PeerFault
from gateway.stream import messages as m

ORDER = m.CallDial("d1", "+15550000001", speaker="agent", from_="+1555", timeout_seconds=30, trunk="pbx")


class FakeDialler:
    """Answers as `refusal` says, once `free`."""

    def __init__(self) -> None:
        self.wanted: list[Wanted] = []
        self.refusal: PeerFault | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def dial(self, wanted: Wanted) -> dict[str, Any]:
        self.wanted.append(wanted)
        await self.free.wait()
        if self.refusal is not None:
            raise self.refusal
        return {"id": "call_1", "speaker": "agent", "status": "ringing", "sip_call_id": "x@us", "to": wanted.to}


class Rig:
    def __init__(self) -> None:
        self.dialler = FakeDialler()
        self.summons = Summons()
        self.summons.dialler = cast(Dialler, self.dialler)
        self.told: asyncio.Queue[m.ClientMessage] = asyncio.Queue()

    def take(self, message: m.CallDial = ORDER) -> None:
        self.summons.take("sess_1", message, self.told.put_nowait)

    async def heard(self) -> m.ClientMessage:
        return await asyncio.wait_for(self.told.get(), 5)


def run(story: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        rig = Rig()
        try:
            await story(rig)
        finally:
            await rig.summons.close()

    asyncio.run(main())


def test_an_order_is_placed_for_its_own_session_and_answered() -> None:
    async def story(rig: Rig) -> None:
        rig.take()
        assert await rig.heard() == m.CallDialed("d1", "call_1", "agent", "ringing", "x@us", "+15550000001")
        assert rig.dialler.wanted == [Wanted("sess_1", "+15550000001", "agent", "+1555", 30, "pbx")]

    run(story)


def test_a_refusal_is_the_answer() -> None:
    async def story(rig: Rig) -> None:
        rig.dialler.refusal = PeerFault(Fault.DIAL_FAILED, "486 Busy Here")
        rig.take()
        assert await rig.heard() == m.CallError("agent", "dial_failed", "486 Busy Here", id="d1")

    run(story)


@pytest.mark.parametrize(
    "message",
    [
        m.CallDial("d1", ""),
        m.CallDial("d1", "2" * 300),
        m.CallDial("d1", "200", speaker="No Name"),
        m.CallDial("d1", "200", timeout_seconds=0),
    ],
)
def test_what_is_no_order_is_answered_and_not_placed(message: m.CallDial) -> None:
    async def story(rig: Rig) -> None:
        rig.take(message)
        answer = await rig.heard()
        assert isinstance(answer, m.CallError)
        assert (answer.id, answer.code) == ("d1", "invalid_request")
        assert rig.dialler.wanted == []

    run(story)


def test_before_the_trunks_are_known_nobody_is_called() -> None:
    async def story(rig: Rig) -> None:
        rig.summons.dialler = None
        rig.take()
        answer = await rig.heard()
        assert isinstance(answer, m.CallError)
        assert answer.code == "service_unavailable"

    run(story)


def test_orders_under_way_are_bounded() -> None:
    async def story(rig: Rig) -> None:
        rig.dialler.free.clear()
        for n in range(BOUND + 1):
            rig.take(m.CallDial(f"d{n}", "200"))
        answer = await rig.heard()
        assert isinstance(answer, m.CallError)
        assert answer.id == f"d{BOUND}"
        rig.dialler.free.set()
        assert {cast(m.CallDialed, await rig.heard()).id for _ in range(BOUND)} == {f"d{n}" for n in range(BOUND)}
        rig.take()
        assert isinstance(await rig.heard(), m.CallDialed)

    run(story)


def test_what_is_under_way_at_the_end_is_let_go() -> None:
    async def story(rig: Rig) -> None:
        rig.dialler.free.clear()
        rig.take()
        await asyncio.sleep(0)
        await rig.summons.close()
        assert rig.told.empty()

    run(story)
