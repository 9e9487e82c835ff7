"""gateway/sessions/sequence.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.sequence import REMEMBERED, Sequence


def feed(sequence: Sequence, numbers: range, offset_ms: int = 0) -> int:
    return sum(sequence.accept(n, n * 20 + offset_ms) for n in numbers)


@given(st.integers(0, 1000), st.integers(1, 1500), st.integers(0, 300), st.integers(0, 300))
def test_a_replay_adds_only_what_was_missed(first: int, count: int, back: int, more: int) -> None:
    sequence = Sequence()
    last = first + count
    assert feed(sequence, range(first, last)) == count
    again = max(first, last - back)
    assert feed(sequence, range(again, last + more)) == more
    assert sequence.replayed == last - again
    assert sequence.restarts == 0


def test_a_sender_that_counts_anew_is_heard() -> None:
    sequence = Sequence()
    feed(sequence, range(0, 2000))
    assert feed(sequence, range(0, 100)) == 100
    assert sequence.restarts == 1


def test_a_sender_that_counts_anew_at_once_has_other_times() -> None:
    sequence = Sequence()
    feed(sequence, range(0, 50))
    assert feed(sequence, range(0, 100), offset_ms=7) == 100
    assert sequence.restarts == 1


def test_numbers_of_the_same_slot_are_not_mixed_up() -> None:
    sequence = Sequence()
    assert sequence.accept(5, 100)
    assert sequence.accept(5 + REMEMBERED, 100)
    assert not sequence.accept(5 + REMEMBERED, 100)
