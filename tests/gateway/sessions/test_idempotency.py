"""gateway/sessions/idempotency.py"""

from __future__ import annotations

import pytest

from gateway.errors import Fault, PeerFault
from gateway.sessions.idempotency import Running, check, ticket
from gateway.sessions.store import Stored


def test_white_space_and_order_do_not_count() -> None:
    one = ticket("org", "POST /x", "k", b'{"a":1,"b":[1,2]}')
    assert ticket("org", "POST /x", "k", b'{ "b": [1, 2], "a": 1 }') == one
    assert ticket("org", "POST /x", "k", b'{"a":1,"b":[2,1]}') != one


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\n", "ä"])
def test_bad_keys(key: str) -> None:
    with pytest.raises(PeerFault) as caught:
        ticket("org", "POST /x", key, b"")
    assert (caught.value.fault, caught.value.param) == (Fault.INVALID_FIELD, "Idempotency-Key")


def test_another_body_is_a_mismatch() -> None:
    first = ticket("org", "POST /x", "k", b"{}")
    check(first, Stored(first.digest, 201, {}, b""))
    with pytest.raises(PeerFault) as caught:
        check(ticket("org", "POST /x", "k", b"[]"), Stored(first.digest, 201, {}, b""))
    assert caught.value.fault is Fault.IDEMPOTENCY_MISMATCH


def test_one_at_a_time() -> None:
    running = Running()
    asked = ticket("org", "POST /x", "k", b"{}")
    with running.one(asked):
        with pytest.raises(PeerFault) as caught, running.one(asked):
            pass
        assert caught.value.fault is Fault.IDEMPOTENCY_CONFLICT
        assert caught.value.retry_after_s == 1
        with running.one(ticket("other", "POST /x", "k", b"{}")), running.one(None):
            pass
    with running.one(asked):
        pass
