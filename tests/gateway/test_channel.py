from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import channel
from gateway.channel import Channel, PeerGone, pair
from rtp import control


def _ends() -> tuple[Channel[control.AnyEvent], Channel[control.AnyCommand]]:
    a, b = pair()
    return Channel(a, control.AnyEvent), Channel(b, control.AnyCommand)


@given(st.lists(st.tuples(st.integers(0, 2**31), st.text(max_size=20)), max_size=20))
def test_messages_arrive_in_order_as_they_were(rows: list[tuple[int, str]]) -> None:
    here, there = _ends()
    sent = [control.SendDigits(row, 1, digits) for row, digits in rows]
    for message in sent:
        assert here.send(message)
    assert there.receive() == sent
    assert there.receive() == []
    here.close()
    there.close()


def test_a_slow_peer_finds_everything_in_order() -> None:
    here, there = _ends()
    count = 15_000
    for i in range(count):
        assert here.send(control.SendDigits(i, 1, "1" * 500))
    assert here.backlog
    got: list[int] = []
    while len(got) < count:
        got += [message.row for message in there.receive() if isinstance(message, control.SendDigits)]
        here.flush()
    assert got == list(range(count))
    assert here.backlog == here.refused == 0


def test_beyond_the_bound_messages_are_refused_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "QUEUE_BOUND", 10)
    here, _there = _ends()
    sent = 0
    while here.send(control.SendDigits(sent, 1, "1" * 60_000)):
        sent += 1
    assert here.backlog == 10
    assert here.refused == 1


def test_receive_takes_no_more_than_asked_for() -> None:
    here, there = _ends()
    for i in range(5):
        here.send(control.CloseLeg(i, 1))
    assert len(there.receive(limit=3)) == 3
    assert len(there.receive(limit=3)) == 2


def test_what_was_sent_before_the_end_is_still_read() -> None:
    here, there = _ends()
    here.send(control.Stop())
    here.close()
    assert there.receive() == [control.Stop()]
    with pytest.raises(PeerGone):
        there.receive()
    with pytest.raises(PeerGone):
        there.send(control.EngineReady("other", []))


def test_a_message_of_another_kind_is_a_defect() -> None:
    a, b = pair()
    Channel(a, control.AnyEvent).send(control.EngineReady("other", []))
    with pytest.raises(ValueError, match="Invalid value 'EngineReady'"):
        Channel(b, control.AnyCommand).receive()


def test_keys_do_not_show() -> None:
    assert "secret" not in repr(control.Srtp("AES_CM_128_HMAC_SHA1_80", b"secret", b"secret"))
