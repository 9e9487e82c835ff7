"""The account of the return leg: what was queued, played, dropped."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.stream.messages import AudioCleared, AudioPushback, MarkPlayed
from gateway.stream.playout import MAX_CLEARS, MAX_MARKS, Playout
from rtp import plane as planes
from rtp.plane import DOWNLINK_BYTES, Plane

SECOND = 8000


class Loop:
    """The real-time loop's side of one row: plays, and obeys `flush_to` as `rtp/playout.py` does."""

    def __init__(self, plane: Plane, row: int) -> None:
        self.plane, self.row = plane, row
        self.heard = bytearray()

    def play(self, octets: int) -> None:
        p, r = self.plane, self.row
        consumed, written = int(p.consumed[r]), int(p.written[r])
        for at in range(consumed, min(written, consumed + octets)):
            self.heard.append(p.downlink[r, at % DOWNLINK_BYTES])
            consumed += 1
        p.consumed[r] = consumed

    def flush(self) -> None:
        p, r = self.plane, self.row
        goal = int(p.flush_to[r])
        dropped = max(0, goal - int(p.consumed[r]))
        p.dropped[r] += np.uint64(dropped)
        p.consumed[r] += np.uint64(dropped)
        p.flushed[r] = goal


@pytest.fixture
def plane() -> Plane:
    return make_plane()


def make_plane() -> Plane:
    fd = planes.create(2)
    try:
        return Plane(fd, 2)
    finally:
        os.close(fd)


def make(plane: Plane, seconds: float = 10, *, pushback: bool = False) -> tuple[Playout, Loop]:
    return Playout(plane, 1, "agent", int(seconds * SECOND), pushback=pushback), Loop(plane, 1)


def test_what_fits_the_ring_is_there_at_once(plane: Plane) -> None:
    playout, loop = make(plane)
    playout.append(b"abc")
    playout.append(b"def")
    assert not playout.busy
    loop.play(10)
    assert loop.heard == b"abcdef"
    assert int(plane.written[0]) == 0


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=9000), st.integers(1, 40_000)), max_size=40))
@settings(max_examples=60)
def test_every_byte_is_played_once_in_order(steps: list[bytes | int]) -> None:
    playout, loop = make(make_plane(), 60)
    said = bytearray()
    for step in steps:
        if isinstance(step, bytes):
            playout.append(step)
            said += step
        else:
            loop.play(step)
            playout.poll()
    for _ in range(20):
        loop.play(DOWNLINK_BYTES)
        playout.poll()
    assert loop.heard == said
    assert playout.finish() is None


def test_audio_larger_than_the_ring_waits_and_follows(plane: Plane) -> None:
    playout, loop = make(plane)
    speech = os.urandom(3 * DOWNLINK_BYTES + 17)
    for begin in range(0, len(speech), 20_000):
        playout.append(speech[begin : begin + 20_000])
    assert playout.busy
    assert playout.queued_ms == len(speech) // 8
    while playout.busy:
        loop.play(1600)
        playout.poll()
    loop.play(DOWNLINK_BYTES)
    assert loop.heard == speech


def test_a_full_queue_drops_its_oldest(plane: Plane) -> None:
    playout, loop = make(plane, 2)
    ring = bytes(DOWNLINK_BYTES)
    playout.append(ring)
    for i in range(5):
        playout.append(bytes([i + 1]) * (SECOND // 2))
    assert playout.overflowed == SECOND // 2
    while playout.queued_ms:
        loop.play(1600)
        playout.poll()
    assert loop.heard == ring + b"".join(bytes([i]) * (SECOND // 2) for i in (2, 3, 4, 5))


def test_pushback_says_so_and_refuses_the_newest(plane: Plane) -> None:
    playout, loop = make(plane, 2, pushback=True)
    playout.append(bytes(DOWNLINK_BYTES))
    playout.append(b"\x01" * (SECOND + 80))
    assert playout.poll() == [AudioPushback("agent", DOWNLINK_BYTES // 8 + 1010)]
    assert playout.poll() == []
    playout.append(b"\x02" * SECOND)
    assert playout.overflowed == SECOND
    loop.play(DOWNLINK_BYTES)
    assert playout.poll() == [AudioPushback("agent", 1010)]


def test_a_mark_is_answered_when_its_audio_has_been_played(plane: Plane) -> None:
    playout, loop = make(plane)
    playout.append(bytes(160))
    playout.mark("one")
    playout.append(bytes(160))
    assert int(plane.talkspurt_end[1]) == 160
    assert playout.busy
    loop.play(159)
    assert playout.poll() == []
    loop.play(1)
    assert playout.poll() == [MarkPlayed("one", "agent")]
    assert not playout.busy


def test_a_mark_with_nothing_before_it_is_played_at_once(plane: Plane) -> None:
    playout, _ = make(plane)
    playout.mark("now")
    assert playout.poll() == [MarkPlayed("now", "agent")]


def test_a_mark_in_the_queue_keeps_its_place(plane: Plane) -> None:
    playout, loop = make(plane)
    playout.append(bytes(DOWNLINK_BYTES))
    playout.append(bytes(800))
    playout.mark("end")
    playout.append(bytes(800))
    loop.play(DOWNLINK_BYTES)
    assert playout.poll() == []
    loop.play(799)
    assert playout.poll() == []
    loop.play(1)
    assert playout.poll() == [MarkPlayed("end", "agent")]


def test_a_mark_whose_audio_was_dropped_is_due_with_the_ring(plane: Plane) -> None:
    playout, loop = make(plane, 1)
    playout.append(bytes(DOWNLINK_BYTES))
    playout.append(bytes(SECOND))
    playout.mark("lost")
    playout.append(bytes(SECOND))
    loop.play(DOWNLINK_BYTES)
    assert playout.poll() == [MarkPlayed("lost", "agent")]


def test_clear_is_answered_exactly_once_the_loop_has_obeyed(plane: Plane) -> None:
    playout, loop = make(plane)
    playout.append(bytes(800))
    playout.mark("heard")
    playout.append(bytes(1600))
    playout.mark("cut")
    loop.play(1200)
    playout.clear()
    assert playout.poll() == []
    loop.play(40)  # the fade before the cut
    loop.flush()
    assert playout.poll() == [MarkPlayed("heard", "agent"), AudioCleared("agent", 155, 145, ["cut"])]
    assert playout.cleared == 1160
    assert not playout.busy
    assert playout.finish() is None


def test_clear_drops_the_queue_too_and_later_audio_is_played(plane: Plane) -> None:
    playout, loop = make(plane)
    playout.append(bytes(DOWNLINK_BYTES))
    playout.append(b"\x01" * 8000)
    playout.mark("queued")
    playout.clear()
    playout.append(b"\x02" * 80)
    loop.flush()
    assert playout.poll() == [AudioCleared("agent", 0, DOWNLINK_BYTES // 8 + 1000, ["queued"])]
    loop.play(8000)
    assert loop.heard == b"\x02" * 80


def test_clear_of_nothing_is_answered_too(plane: Plane) -> None:
    playout, _ = make(plane)
    playout.clear()
    assert playout.poll() == [AudioCleared("agent", 0, 0, [])]


def test_two_clears_are_two_answers_and_each_millisecond_is_in_one(plane: Plane) -> None:
    playout, loop = make(plane)
    playout.append(bytes(800))
    playout.clear()
    playout.append(bytes(80))
    playout.clear()
    loop.flush()
    assert playout.poll() == [AudioCleared("agent", 0, 110, []), AudioCleared("agent", 0, 0, [])]


@given(st.lists(st.sampled_from(["say", "play", "clear", "obey", "poll", "mark"]), max_size=60), st.randoms())
@settings(max_examples=100)
def test_played_and_dropped_add_up_to_what_was_said(steps: list[str], random: object) -> None:
    """Over a leg's life the reports account for each millisecond, and each mark is answered once."""
    playout, loop = make(make_plane(), 8)
    said = marks = 0
    reports = []
    for step in steps:
        if step == "say":
            playout.append(bytes(8000))
            said += 1000
        elif step == "play":
            loop.play(4000)
        elif step == "clear":
            playout.clear()
        elif step == "obey":
            loop.flush()
        elif step == "mark":
            playout.mark(f"m{marks}")
            marks += 1
        else:
            reports += playout.poll()
    played = int(loop.plane.consumed[1] - loop.plane.dropped[1]) // 8
    last = playout.finish()
    reports += [last] if last else []
    cleared = [r for r in reports if isinstance(r, AudioCleared)]
    answered = [r.name for r in reports if isinstance(r, MarkPlayed)] + [m for r in cleared for m in r.marks]
    assert sorted(answered) == sorted(f"m{i}" for i in range(marks))
    if last:
        assert sum(r.played_ms for r in cleared) == played
        assert sum(r.played_ms + r.dropped_ms for r in cleared) == said


def test_a_leg_that_ends_with_audio_queued_says_what_was_cut(plane: Plane) -> None:
    playout, loop = make(plane)
    playout.append(bytes(DOWNLINK_BYTES))
    playout.append(bytes(8000))
    playout.mark("end")
    loop.play(1600)
    assert playout.finish() == AudioCleared("agent", 200, (DOWNLINK_BYTES - 1600) // 8 + 1000, ["end"])


def test_a_row_is_used_again_from_where_it_stands(plane: Plane) -> None:
    first, loop = make(plane)
    first.append(bytes(1000))
    loop.play(400)
    second, loop = make(plane)
    assert int(plane.written[1]) == int(plane.consumed[1])
    second.append(b"xyz")
    loop.play(10)
    assert loop.heard == b"xyz"


def test_marks_and_clears_are_bounded(plane: Plane) -> None:
    playout, loop = make(plane)
    playout.append(bytes(160))
    for i in range(MAX_MARKS + 5):
        playout.mark(f"m{i}")
    for _ in range(MAX_CLEARS + 5):
        playout.clear()
    loop.flush()
    reports = playout.poll()
    assert len([r for r in reports if isinstance(r, AudioCleared)]) == MAX_CLEARS
    assert isinstance(reports[0], AudioCleared)
    assert len(reports[0].marks) == MAX_MARKS
