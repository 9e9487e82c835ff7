"""The return leg's queue on a plane, frame by frame."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

from rtp import g711, plane
from rtp.plane import DOWNLINK_BYTES, FRAME, Plane
from rtp.playout import FADE, GAP_FRAMES, SILENCE, Playout

LOUD = int(g711.LINEAR_TO_MU[np.int16(12000).view(np.uint16)])


@pytest.fixture
def shared() -> Iterator[Plane]:
    fd = plane.create(4)
    yield Plane(fd, 4)
    os.close(fd)


def write(p: Plane, row: int, data: bytes) -> None:
    """What the controller does."""
    start = int(p.written[row])
    for i, byte in enumerate(data):
        p.downlink[row, (start + i) % DOWNLINK_BYTES] = byte
    p.written[row] = start + len(data)


def frames(out: Playout, row: int, count: int) -> list[bytes]:
    return [out.render(np.array([row]))[0][0].tobytes() for _ in range(count)]


def linear(frame: bytes) -> np.ndarray:
    return g711.MU_TO_LINEAR[np.frombuffer(frame, np.uint8)].astype(int)


def test_silence_when_there_is_nothing(shared: Plane) -> None:
    out = Playout(shared, 60)
    frame, playing = out.render(np.array([0, 3]))
    assert frame.shape == (2, FRAME)
    assert (frame == SILENCE).all()
    assert not playing.any()


def test_a_burst_has_its_lead_and_is_played_at_once_bit_exactly(shared: Plane) -> None:
    out = Playout(shared, 60)
    speech = bytes((i * 7) % 256 for i in range(20 * FRAME))
    write(shared, 1, speech)
    heard = b"".join(frames(out, 1, 20))
    assert heard[FADE:-FRAME] == speech[FADE:-FRAME]
    assert shared.consumed[1] == len(speech)
    assert shared.dropped[1] == 0


def test_a_sender_in_real_time_waits_for_its_lead(shared: Plane) -> None:
    out = Playout(shared, 60)
    quiet = 0
    for _ in range(10):
        write(shared, 0, bytes([LOUD]) * FRAME)
        _frame, playing = out.render(np.array([0]))
        quiet += not playing[0]
    assert quiet == 2
    assert int(shared.written[0] - shared.consumed[0]) == 2 * FRAME  # 60 ms with the frame that is due


def test_less_than_the_lead_is_played_after_the_lead(shared: Plane) -> None:
    out = Playout(shared, 60)
    write(shared, 0, bytes([LOUD]) * FRAME)
    heard = frames(out, 0, 6)
    assert [linear(frame).any() for frame in heard] == [False, False, False, True, False, False]


def test_edges_are_ramps(shared: Plane) -> None:
    out = Playout(shared, 0)
    write(shared, 0, bytes([LOUD]) * (2 * FRAME + 100))
    heard = np.concatenate([linear(frame) for frame in frames(out, 0, 4)])
    assert heard[0] < 400
    assert (np.diff(heard[: FADE + 1]) >= 0).all()
    assert (heard[FADE : 2 * FRAME + 60] == heard[FADE]).all()
    assert (np.diff(heard[2 * FRAME + 60 : 2 * FRAME + 100]) <= 0).all()
    assert not heard[2 * FRAME + 100 :].any()


def test_a_gap_is_an_underrun_of_the_length_that_was_silent(shared: Plane) -> None:
    out = Playout(shared, 20)
    write(shared, 2, bytes([LOUD]) * (3 * FRAME))
    frames(out, 2, 3 + 5)
    write(shared, 2, bytes([LOUD]) * (3 * FRAME))
    frames(out, 2, 3)
    row = shared.stats[2]
    assert row["underruns"] == 1
    assert (row["underrun_20ms"], row["underrun_60ms"], row["underrun_200ms"], row["underrun_1s"]) == (0, 1, 0, 0)


def test_where_the_sender_ends_its_talkspurt_silence_is_no_underrun(shared: Plane) -> None:
    out = Playout(shared, 0)
    write(shared, 0, bytes([LOUD]) * FRAME)
    shared.talkspurt_end[0] = shared.written[0]
    frames(out, 0, 5)
    write(shared, 0, bytes([LOUD]) * FRAME)
    frames(out, 0, 5)
    assert shared.stats["underruns"][0] == 0


def test_a_long_gap_is_a_pause(shared: Plane) -> None:
    out = Playout(shared, 0)
    write(shared, 0, bytes([LOUD]) * (2 * FRAME))
    frames(out, 0, 3 + GAP_FRAMES + 2)
    write(shared, 0, bytes([LOUD]) * FRAME)
    frames(out, 0, 3)
    assert shared.stats["underruns"][0] == 0


def test_clear_stops_within_a_frame_and_accounts_for_every_sample(shared: Plane) -> None:
    out = Playout(shared, 0)
    write(shared, 0, bytes([LOUD]) * (100 * FRAME))
    frames(out, 0, 10)
    shared.flush_to[0] = shared.written[0]
    last, after = (linear(frame) for frame in frames(out, 0, 2))
    assert last[:FADE].any()
    assert (np.diff(last[:FADE]) <= 0).all()
    assert not last[FADE:].any()
    assert not after.any()
    assert shared.flushed[0] == shared.flush_to[0]
    assert shared.consumed[0] == shared.written[0]
    assert int(shared.consumed[0] - shared.dropped[0]) == 10 * FRAME + FADE


def test_clear_of_what_has_not_begun_plays_nothing_of_it(shared: Plane) -> None:
    out = Playout(shared, 60)
    write(shared, 0, bytes([LOUD]) * (10 * FRAME))
    shared.flush_to[0] = shared.written[0]
    assert not any(linear(frame).any() for frame in frames(out, 0, 5))
    assert shared.dropped[0] == 10 * FRAME


def test_what_is_written_after_a_clear_is_played(shared: Plane) -> None:
    out = Playout(shared, 0)
    write(shared, 0, bytes([LOUD]) * (10 * FRAME))
    frames(out, 0, 1)
    shared.flush_to[0] = shared.written[0]
    write(shared, 0, bytes([0x90]) * (2 * FRAME))
    heard = frames(out, 0, 4)
    assert heard[1][FADE:] == bytes([0x90]) * (FRAME - FADE)
    assert shared.dropped[0] == 9 * FRAME - FADE


def test_around_the_circle_many_times(shared: Plane) -> None:
    out = Playout(shared, 0)
    heard, sent = bytearray(), bytearray()
    for n in range(1, 3 * DOWNLINK_BYTES // 200):
        chunk = bytes((n + i) % 256 for i in range(200 if n % 4 else 40))
        sent += chunk
        write(shared, 3, chunk)
        heard += frames(out, 3, 1)[0]
    heard += b"".join(frames(out, 3, 2))
    assert heard[FADE : len(heard) - 1000] == sent[FADE : len(heard) - 1000]


def test_a_row_does_not_hear_its_neighbours(shared: Plane) -> None:
    out, alone = Playout(shared, 20), None
    fd = plane.create(1)
    single = Plane(fd, 1)
    alone = Playout(single, 20)
    rng = np.random.default_rng(5)
    for n in range(200):
        for row in range(4):
            chunk = rng.integers(0, 256, int(rng.choice([0, 0, 160, 160, 400])), np.uint8).tobytes()
            write(shared, row, chunk)
            if row == 2:
                write(single, 0, chunk)
        if n % 40 == 39:
            shared.flush_to[2] = shared.written[2]
            single.flush_to[0] = single.written[0]
        together, _ = out.render(np.arange(4))
        own, _ = alone.render(np.array([0]))
        assert together[2].tobytes() == own[0].tobytes()
    os.close(fd)


def test_the_backlog_of_a_real_time_sender_shrinks_by_itself_without_clicks(shared: Plane) -> None:
    out = Playout(shared, 60)
    tone = (8000 * np.sin(2 * np.pi * np.arange(400 * FRAME) / 80)).astype(np.int16)  # 100 Hz
    coded = g711.LINEAR_TO_MU[tone.view(np.uint16)].tobytes()
    write(shared, 0, coded[: 30 * FRAME])  # what a stall of 0.6 s owed
    heard = []
    for n in range(30, 400):
        write(shared, 0, coded[n * FRAME : (n + 1) * FRAME])
        heard.append(linear(frames(out, 0, 1)[0]))
    queued_ms = int(shared.written[0] - shared.consumed[0]) / 8
    assert queued_ms <= 60 + 20 + 20 + 20
    sound = np.concatenate(heard)[FADE:]
    steepest = np.abs(np.diff(tone.astype(int))).max()
    assert np.abs(np.diff(sound)).max() < 2 * steepest
    assert shared.dropped[0] == 0


def test_a_sentence_sent_at_once_is_played_as_it_is(shared: Plane) -> None:
    out = Playout(shared, 60)
    speech = np.random.default_rng(2).integers(0, 255, 30000, np.uint8).tobytes()
    write(shared, 0, speech)
    heard = b"".join(frames(out, 0, 180))
    assert heard[FADE:28000] == speech[FADE:28000]
