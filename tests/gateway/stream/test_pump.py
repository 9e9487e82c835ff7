"""Frames from the plane to streams: order, numbers, media time, history, and the upkeep of play-outs."""

from __future__ import annotations

import base64
import os

import msgspec
import numpy as np
import picows
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.stream import messages
from gateway.stream.playout import Playout, Report
from gateway.stream.pump import HISTORY, Pump, Totals
from rtp import plane as planes
from rtp.plane import FRAME, UPLINK_FRAMES, Plane

ROWS = 5


def make_plane() -> Plane:
    fd = planes.create(ROWS)
    try:
        return Plane(fd, ROWS)
    finally:
        os.close(fd)


@pytest.fixture
def plane() -> Plane:
    return make_plane()


class FakeStream:
    """A stream that keeps what it is given; `up` says whether it may send."""

    def __init__(self, *, up: bool = True) -> None:
        self.sent: list[messages.AudioInput] = []
        self.kept: list[messages.AudioInput] = []
        self.reports: list[Report] = []
        self.sender: FakeStream | None = self if up else None

    def send(self, msg_type: picows.WSMsgType, message: bytes, /) -> None:
        assert msg_type is picows.WSMsgType.TEXT
        self.sent.append(read(message))

    def keep(self, message: bytes) -> None:
        self.kept.append(read(message))

    def report(self, report: Report) -> None:
        self.reports.append(report)


def read(message: bytes) -> messages.AudioInput:
    decoded = msgspec.json.decode(message, type=messages.ClientMessage)
    assert isinstance(decoded, messages.AudioInput)
    return decoded


def put(plane: Plane, row: int, count: int = 1, jump_ms: int = 0) -> list[bytes]:
    """Write frames as the real-time loop does."""
    frames = []
    for _ in range(count):
        head = int(plane.uplink_head[row])
        frame = os.urandom(FRAME)
        before = int(plane.uplink_timestamp_ms[row, (head - 1) % UPLINK_FRAMES]) if head else -20
        plane.uplink[row, head % UPLINK_FRAMES] = np.frombuffer(frame, np.uint8)
        plane.uplink_timestamp_ms[row, head % UPLINK_FRAMES] = before + 20 + jump_ms
        plane.uplink_head[row] = head + 1
        frames.append(frame)
    return frames


def audio(sent: list[messages.AudioInput]) -> list[bytes]:
    return [base64.b64decode(m.audio.payload, validate=True) for m in sent]


def test_each_frame_becomes_a_message_of_its_leg(plane: Plane) -> None:
    totals = Totals()
    pump = Pump(plane, 20, totals)
    one, two = FakeStream(), FakeStream()
    pump.attach(1, one, "customer", 0, 0)
    pump.attach(4, two, 'agent "%s"', 7, 1000)
    frames = put(plane, 1, 2), put(plane, 4)
    pump.wake()
    assert audio(one.sent) == frames[0]
    assert audio(two.sent) == frames[1]
    assert [(m.sequence, m.timestamp_ms, m.speaker) for m in one.sent] == [(0, 0, "customer"), (1, 20, "customer")]
    assert [(m.sequence, m.timestamp_ms, m.speaker) for m in two.sent] == [(7, 1000, 'agent "%s"')]
    assert totals.frames_sent == 3
    pump.wake()
    assert len(one.sent) == 2


@pytest.mark.parametrize("frame_ms", [20, 40, 60, 80, 100, 120, 140, 160, 180, 200])
def test_longer_messages_hold_whole_frames(plane: Plane, frame_ms: int) -> None:
    pump = Pump(plane, frame_ms, Totals())
    stream = FakeStream()
    put(plane, 2, 3)
    pump.attach(2, stream, "customer", 5, 60)
    frames: list[bytes] = []
    for _ in range(100):
        frames += put(plane, 2)
        pump.wake()
    n = frame_ms // 20
    assert audio(stream.sent) == [b"".join(frames[i : i + n]) for i in range(0, 100 - 100 % n, n)]
    assert [m.sequence for m in stream.sent] == list(range(5, 5 + 100 // n))
    assert [m.timestamp_ms for m in stream.sent] == [60 + frame_ms * i for i in range(100 // n)]


def test_media_time_is_the_planes(plane: Plane) -> None:
    pump = Pump(plane, 20, Totals())
    stream = FakeStream()
    pump.attach(0, stream, "customer", 0, 500)
    put(plane, 0, 2)
    put(plane, 0, jump_ms=3000)
    pump.wake()
    assert [m.timestamp_ms for m in stream.sent] == [500, 520, 3540]


def test_rows_that_nobody_serves_are_left_alone(plane: Plane) -> None:
    pump = Pump(plane, 20, Totals())
    stream = FakeStream()
    pump.attach(0, stream, "customer", 0, 0)
    put(plane, 3, 2)
    pump.detach(0)
    put(plane, 0)
    pump.wake()
    assert stream.sent == []


def test_what_was_there_before_is_not_sent(plane: Plane) -> None:
    pump = Pump(plane, 20, Totals())
    stream = FakeStream()
    put(plane, 0, 10)
    pump.attach(0, stream, "customer", 0, 0)
    pump.wake()
    frames = put(plane, 0)
    pump.wake()
    assert audio(stream.sent) == frames
    assert (stream.sent[0].sequence, stream.sent[0].timestamp_ms) == (0, 0)


def test_frames_of_a_stream_that_is_down_are_kept(plane: Plane) -> None:
    pump = Pump(plane, 20, Totals())
    stream = FakeStream(up=False)
    pump.attach(0, stream, "customer", 0, 0)
    frames = put(plane, 0, 3)
    pump.wake()
    assert audio(stream.kept) == frames
    stream.sender = stream
    put(plane, 0)
    pump.wake()
    assert [m.sequence for m in stream.sent] == [3]


def test_a_rewind_takes_frames_again_as_they_were(plane: Plane) -> None:
    pump = Pump(plane, 20, Totals())
    stream = FakeStream()
    pump.attach(0, stream, "customer", 0, 0)
    put(plane, 0, 30)
    pump.wake()
    assert pump.rewind(0, 10) == 10
    pump.wake()
    assert stream.sent[30:] == stream.sent[20:30]


@given(st.integers(0, 100), st.integers(0, 80), st.integers(0, 40), st.integers(0, 100))
@settings(max_examples=60)
def test_a_rewind_reaches_no_further_than_it_may(before: int, read_: int, unread: int, back: int) -> None:
    """Not before the leg's time here, not into what the loop may be overwriting."""
    plane = make_plane()
    pump = Pump(plane, 20, Totals())
    stream = FakeStream()
    put(plane, 0, before)
    pump.attach(0, stream, "customer", 0, 0)
    for _ in range(read_):
        put(plane, 0)
        pump.wake()
    put(plane, 0, unread)
    taken = pump.rewind(0, back)
    assert taken == max(0, min(back, read_, HISTORY - unread))
    pump.wake()
    numbers = [m.sequence for m in stream.sent]
    assert numbers == [*range(read_), *range(read_ - taken, read_ + unread)]
    by_number: dict[int, messages.AudioInput] = {}
    for message in stream.sent:
        assert by_number.setdefault(message.sequence, message) == message


def test_a_rewind_of_a_row_that_nobody_serves_is_nothing(plane: Plane) -> None:
    assert Pump(plane, 20, Totals()).rewind(0, 10) == 0


def test_a_leg_opened_anew_goes_on_with_its_numbers(plane: Plane) -> None:
    pump = Pump(plane, 20, Totals())
    stream = FakeStream()
    pump.attach(0, stream, "customer", 0, 0)
    put(plane, 0, 3)
    pump.wake()
    sequence, timestamp_ms = pump.next_of(0)
    pump.detach(0)
    pump.attach(1, stream, "customer", sequence, timestamp_ms)
    put(plane, 1, 2)
    pump.wake()
    assert [m.sequence for m in stream.sent] == [0, 1, 2, 3, 4]
    assert [m.timestamp_ms for m in stream.sent] == [0, 20, 40, 60, 80]


def test_a_controller_that_was_stopped_goes_on_with_whole_frames(plane: Plane) -> None:
    totals = Totals()
    pump = Pump(plane, 20, totals)
    stream = FakeStream()
    pump.attach(0, stream, "customer", 0, 0)
    frames = put(plane, 0, 200)
    pump.wake()
    assert audio(stream.sent) == frames[200 - len(stream.sent) :]
    assert totals.frames_overrun == 200 - len(stream.sent)
    assert [m.sequence for m in stream.sent] == list(range(200 - len(stream.sent), 200))


def test_upkeep_watches_a_playout_until_it_is_idle(plane: Plane) -> None:
    pump = Pump(plane, 20, Totals())
    stream = FakeStream()
    playout = Playout(plane, 0, "agent", 80_000, pushback=False)
    playout.append(bytes(160))
    playout.mark("m")
    pump.watch(playout, stream)
    pump.upkeep()
    assert stream.reports == []
    plane.consumed[0] = 160
    pump.upkeep()
    assert stream.reports == [messages.MarkPlayed("m", "agent")]
    playout.mark("later")  # nobody watches any more
    pump.upkeep()
    assert len(stream.reports) == 1


def test_a_forgotten_playout_is_not_looked_at(plane: Plane) -> None:
    pump = Pump(plane, 20, Totals())
    stream = FakeStream()
    playout = Playout(plane, 0, "agent", 80_000, pushback=False)
    playout.mark("m")
    pump.watch(playout, stream)
    pump.forget(playout)
    pump.upkeep()
    assert stream.reports == []
