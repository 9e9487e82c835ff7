"""gateway/sessions/outbox.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.outbox import Outbox


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60))
def test_order_bound_and_policy(sizes: list[tuple[int, bool]]) -> None:
    outbox = Outbox(bound=200)
    put: list[tuple[bytes, bool]] = []
    for number, (size, audio) in enumerate(sizes):
        message = bytes([number]) * size
        put.append((message, audio))
        if not outbox.put(message, audio):
            # Only what may not be dropped is left, and it alone is too much.
            assert sum(len(m) for m, a in put if not a) > 200
            return
        assert outbox.octets <= 200
    taken = []
    while (message_ := outbox.take()) is not None:
        taken.append(message_)
    assert [m for m, a in put if not a] == [m for m in taken if (m, False) in put]
    kept_audio = [m for m in taken if (m, True) in put]
    all_audio = [m for m, a in put if a]
    assert kept_audio == all_audio[len(all_audio) - len(kept_audio) :] or outbox.dropped == 0
    assert len(taken) + outbox.dropped == len(put)
    assert outbox.octets == 0


def test_the_oldest_audio_goes_first() -> None:
    outbox = Outbox(bound=10)
    for message, audio in ((b"aaaa", True), (b"TT", False), (b"bbbb", True), (b"cccc", True)):
        assert outbox.put(message, audio)
    assert [outbox.take(), outbox.take(), outbox.take(), outbox.take()] == [b"TT", b"bbbb", b"cccc", None]
    assert outbox.dropped == 1
