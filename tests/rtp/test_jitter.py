"""The rings against a plain model: a dictionary from sample position to byte."""

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp.jitter import AHEAD, BLOCKS, FRAME, RING, JitterRing


def one(value: int, dtype: type = np.intp) -> np.ndarray:
    return np.array([value], dtype)


class Written(NamedTuple):
    position: int
    late: bool
    restart: bool
    duplicate: bool


def put(ring: JitterRing, row: int, timestamp: int, payload: bytes, lead: int = 0, restarted: bool = False) -> Written:
    """Locate and store one packet; a stream that (re)starts stands `lead` samples ahead of the cursor."""
    rows, size = one(row), one(len(payload))
    stamp = one(timestamp & 0xFFFFFFFF, np.uint32)
    data = np.frombuffer(payload, np.uint8)[None, :].copy()
    position, late, restart = ring.locate(rows, stamp, size, np.array([restarted]))
    if restart[0]:
        position = ring.restart(rows, one(lead, np.int64))
    duplicate = ring.store(rows, stamp, position, data, size, late)
    return Written(int(position[0]), bool(late[0]), bool(restart[0]), bool(duplicate[0]))


def take(ring: JitterRing, row: int) -> tuple[bytes, list[bool]]:
    frames, missing = ring.read(one(row))
    ring.advance(one(row))
    return frames[0].tobytes(), missing[0].tolist()


def pattern(start: int, count: int = FRAME) -> bytes:
    return bytes((start + i) * 31 % 251 for i in range(count))


def test_a_clean_stream_comes_out_as_it_went_in() -> None:
    ring = JitterRing(3)
    for n in range(200):
        put(ring, 1, 5000 + n * FRAME, pattern(n * FRAME))
        assert take(ring, 1) == (pattern(n * FRAME), [False, False])


def test_timestamp_wraps() -> None:
    ring = JitterRing(1)
    start = 2**32 - 3 * FRAME
    for n in range(8):
        put(ring, 0, start + n * FRAME, pattern(n * FRAME))
        assert take(ring, 0) == (pattern(n * FRAME), [False, False])


def test_reordering_within_the_delay_is_not_heard() -> None:
    ring = JitterRing(1)
    for n in (0, 2, 1, 3, 5, 4):
        put(ring, 0, n * FRAME, pattern(n * FRAME))
    assert [take(ring, 0) for _ in range(6)] == [(pattern(n * FRAME), [False, False]) for n in range(6)]


def test_a_hole_is_missing_and_only_the_hole() -> None:
    ring = JitterRing(1)
    for n in (0, 2):
        put(ring, 0, n * FRAME, pattern(n * FRAME))
    assert take(ring, 0)[1] == [False, False]
    assert take(ring, 0)[1] == [True, True]
    assert take(ring, 0)[1] == [False, False]


def test_mixed_ptime() -> None:
    ring = JitterRing(1)
    position = 0
    for size in (80, 160, 240, 320, 480, 80, 80, 160):
        put(ring, 0, position, pattern(position, size))
        position += size
    heard = b"".join(take(ring, 0)[0] for _ in range(position // FRAME))
    assert heard == pattern(0, position)


def test_odd_sizes_fill_blocks_together() -> None:
    ring = JitterRing(1)
    position = 0
    for size in (100, 90, 50, 80, 160, 70, 10, 80):
        put(ring, 0, position, pattern(position, size))
        position += size
    assert [take(ring, 0) for _ in range(4)] == [(pattern(n * FRAME), [False, False]) for n in range(4)]


def test_a_partly_filled_block_is_missing() -> None:
    ring = JitterRing(1)
    put(ring, 0, 0, pattern(0, 100))
    assert take(ring, 0)[1] == [False, True]


def test_duplicates_are_named_and_change_nothing() -> None:
    ring = JitterRing(1)
    put(ring, 0, 0, pattern(0))
    assert not put(ring, 0, FRAME, pattern(FRAME)).duplicate
    assert put(ring, 0, FRAME, pattern(FRAME)).duplicate
    assert take(ring, 0)[0] == pattern(0)


def test_late_packets_are_named_and_not_used() -> None:
    ring = JitterRing(1)
    put(ring, 0, 0, pattern(0))
    put(ring, 0, 2 * FRAME, pattern(2 * FRAME))
    for _ in range(2):
        take(ring, 0)
    written = put(ring, 0, FRAME, pattern(FRAME))
    assert written.late
    assert not written.restart


def test_late_packets_stay_late_however_many_there_are() -> None:
    """Whether their path is longer for good is for `delay` to say: a link that stood still delivers seconds of them."""
    ring = JitterRing(1)
    put(ring, 0, 0, pattern(0))
    for _ in range(100):
        take(ring, 0)
    for n in range(1, 100):
        written = put(ring, 0, n * FRAME, pattern(n * FRAME))
        assert written.late
        assert not written.restart


def test_a_flood_ahead_is_no_backlog() -> None:
    """Twice the ring at once: what does not fit restarts the stream, and what waited is dropped rather than queued."""
    ring = JitterRing(1)
    for n in range(2 * RING // FRAME):
        put(ring, 0, n * FRAME, pattern(n * FRAME), lead=FRAME)
        assert ring.newest[0] - ring.cursor[0] <= AHEAD + FRAME
    waiting = int(ring.newest[0] - ring.cursor[0]) // FRAME
    heard = [take(ring, 0) for _ in range(waiting)]
    whole = [frame for frame, missing in heard if missing == [False, False]]
    last = 2 * RING // FRAME - 1
    assert whole == [pattern(n * FRAME) for n in range(last - len(whole) + 1, last + 1)]


def test_a_jump_of_the_senders_clock_never_plays_old_audio() -> None:
    ring = JitterRing(1)
    for n in range(BLOCKS):
        put(ring, 0, n * FRAME, b"\x11" * FRAME)
        take(ring, 0)
    assert put(ring, 0, 2**31 - 77, b"\x22" * FRAME, lead=2 * FRAME).restart
    assert take(ring, 0)[1] == [True, True]
    assert take(ring, 0)[1] == [True, True]
    assert take(ring, 0) == (b"\x22" * FRAME, [False, False])


def test_another_stream_waits_until_the_one_before_it_is_played() -> None:
    ring = JitterRing(1)
    for n in range(3):
        put(ring, 0, n * FRAME, pattern(n * FRAME))
    assert put(ring, 0, 5 * FRAME, b"\x22" * FRAME, restarted=True).restart
    assert [take(ring, 0)[0] for _ in range(4)] == [pattern(n * FRAME) for n in range(3)] + [b"\x22" * FRAME]


def test_far_ahead_is_a_jump() -> None:
    ring = JitterRing(1)
    put(ring, 0, 0, pattern(0))
    assert not put(ring, 0, AHEAD // FRAME * FRAME, pattern(0)).restart
    assert put(ring, 0, 2 * RING, pattern(0)).restart


def test_a_stream_has_begun_when_its_first_sample_is_due() -> None:
    ring = JitterRing(1)
    put(ring, 0, 777, pattern(0), lead=2 * FRAME)
    for begun in (False, False, True):
        assert ring.begun(one(0))[0] == begun
        ring.advance(one(0))


def test_a_cursor_inside_a_block_reads_across_it_and_needs_both() -> None:
    ring = JitterRing(1)
    for n in range(3):
        put(ring, 0, n * FRAME, pattern(n * FRAME))
    ring.cursor[0] += 33
    assert take(ring, 0) == (pattern(33), [False, False])
    assert take(ring, 0) == (pattern(33 + FRAME), [False, False])
    assert take(ring, 0)[1] == [False, True]


def test_where_the_circle_closes() -> None:
    ring = JitterRing(1)
    put(ring, 0, 0, pattern(0))
    ring.cursor[0] += 80
    for n in range(1, 2 * BLOCKS):
        put(ring, 0, n * FRAME, pattern(n * FRAME))
        assert take(ring, 0) == (pattern((n - 1) * FRAME + 80), [False, False])


def test_overwrite_is_what_history_shows() -> None:
    ring = JitterRing(2)
    put(ring, 1, 0, pattern(0))
    ring.overwrite(one(1), np.full((1, FRAME), 5, np.uint8))
    position = ring.cursor[[1]]
    ring.advance(one(1))
    assert ring.samples(one(1), position, FRAME)[0].tobytes() == b"\x05" * FRAME


def test_reset_forgets() -> None:
    ring = JitterRing(2)
    for row in (0, 1):
        put(ring, row, 0, pattern(0, 100))
    ring.reset(one(0))
    assert not ring.started[0]
    assert ring.started[1]
    assert put(ring, 0, 0, pattern(0)).restart


packets = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([80, 160, 240, 320, 480, 33, 170])), min_size=1, max_size=60
)


@settings(max_examples=150, deadline=None)
@given(packets, st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_agrees_with_a_plain_model(arrivals: list[tuple[int, int]], base: int, lead: int) -> None:
    """Any order, any size, any overlap: what is read as present is what was written there."""
    ring = JitterRing(2)
    truth: dict[int, int] = {}
    origin = None
    for block, size in arrivals:
        start = 200 * 80 + block * 80
        payload = pattern(start, size)
        written = put(ring, 1, base + start, payload, lead=lead * FRAME)
        if written.restart and origin is not None:
            return  # the mapping has changed: other tests look at that
        if origin is None:
            origin = written.position - start
        if not written.late:
            truth.update((origin + start + i, byte) for i, byte in enumerate(payload))
        if block % 3 == 0:
            cursor = int(ring.cursor[1])
            frame, missing = take(ring, 1)
            for half in (0, 1):
                if not missing[half]:
                    at = range(cursor + half * 80, cursor + half * 80 + 80)
                    assert frame[half * 80 : half * 80 + 80] == bytes(truth[p] for p in at)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_row_does_not_see_its_neighbours(seed: int) -> None:
    rng = np.random.default_rng(seed)
    many, single = JitterRing(5), JitterRing(1)
    row = int(rng.integers(5))
    for _ in range(30):
        sizes = rng.choice([80, 160, 240, 75], 5)
        stamps = (rng.integers(0, 30, 5) * 80).astype(np.uint32)
        data = rng.integers(0, 256, (5, 240), np.uint8)
        position, late, restart = many.locate(np.arange(5), stamps, sizes)
        which = np.flatnonzero(restart)
        position[which] = many.restart(which, np.zeros(len(which), np.int64))
        many.store(np.arange(5), stamps, position, data, sizes, late)
        put(single, 0, int(stamps[row]), data[row, : sizes[row]].tobytes())
        frames, missing = many.read(np.arange(5))
        frame, absent = single.read(one(0))
        assert (missing[row] == absent[0]).all()
        present = np.repeat(~missing[row], 80)
        assert (frames[row][present] == frame[0][present]).all()
        many.advance(np.arange(5))
        single.advance(one(0))
