"""What the controller does with the return leg by the plane: clear, marks, and what it learns of them."""

import numpy as np
import pytest

from rtp import g711
from rtp.engine import Leg
from rtp.plane import FRAME
from tests.support.stepped import Peer, Stepped, speech

SOUND = b"".join(speech(n) for n in range(200))
LEAD = 60


def call(loop: Stepped) -> tuple[Leg, Peer]:
    leg, caller = loop.open(), loop.peer()
    loop.configure(leg, caller)
    caller.say(leg, speech(0))  # its clock runs from here
    loop.frames(2)
    caller.received()
    return leg, caller


def played(loop: Stepped, leg: Leg) -> int:
    """Bytes, as the controller counts them."""
    return int(loop.plane.consumed[leg.row]) - int(loop.plane.dropped[leg.row])


def audio(packets: list[bytes]) -> bytes:
    return b"".join(packet[12:] for packet in packets)


@pytest.mark.parametrize("frames", [1, 2, 7, 50])
def test_clear_stops_within_a_frame_and_says_exactly_what_was_heard(loop: Stepped, frames: int) -> None:
    leg, caller = call(loop)
    loop.say(leg, SOUND)
    loop.frames(frames)
    heard = audio(caller.received())
    before = played(loop, leg)
    assert before == frames * FRAME
    loop.plane.flush_to[leg.row] = loop.plane.written[leg.row]
    loop.frames(1)
    fading = audio(caller.received())
    assert loop.plane.flushed[leg.row] == loop.plane.flush_to[leg.row]
    after = played(loop, leg)
    assert after - before == 40  # 5 ms
    assert int(loop.plane.dropped[leg.row]) == len(SOUND) - after
    assert set(fading[40:]) == {0xFF}
    assert heard[40:] == SOUND[40:before]
    ramp = np.abs(g711.MU_TO_LINEAR[np.frombuffer(fading[:40], np.uint8)].astype(int))
    full = np.abs(g711.MU_TO_LINEAR[np.frombuffer(SOUND[before : before + 40], np.uint8)].astype(int))
    assert (ramp <= full).all()
    assert ramp[-4:].max() < 0.15 * 32768
    loop.frames(20)
    assert set(audio(caller.received())) == {0xFF}
    assert loop.stats(leg, "underruns") == 0


def test_what_is_said_after_a_clear_is_played_whole(loop: Stepped) -> None:
    leg, caller = call(loop)
    loop.say(leg, SOUND)
    loop.frames(10)
    loop.plane.flush_to[leg.row] = loop.plane.written[leg.row]
    answer = b"".join(speech(1000 + n) for n in range(20))
    loop.say(leg, answer)  # behind what is cleared, before the clear took effect
    caller.received()
    loop.frames(40)
    heard = audio(caller.received())
    assert answer[40:-40] in heard
    assert SOUND[10 * FRAME + 40 : 11 * FRAME] not in heard
    assert int(loop.plane.consumed[leg.row]) == len(SOUND) + len(answer)
    assert played(loop, leg) == 10 * FRAME + 40 + len(answer)


def test_marks_pass_in_the_frame_that_plays_them(loop: Stepped) -> None:
    """A mark is a position; it is reached when that much was played, to a frame."""
    leg, _ = call(loop)
    loop.say(leg, SOUND)
    marks = [800, 1600, 1601, 16_000]
    reached: dict[int, int] = {}
    for frame in range(1, 201):
        loop.frames(1)
        for mark in marks:
            if mark not in reached and int(loop.plane.consumed[leg.row]) >= mark:
                reached[mark] = frame
    assert reached == {mark: -(-mark // FRAME) for mark in marks}


def test_a_clear_with_nothing_queued_changes_nothing(loop: Stepped) -> None:
    leg, caller = call(loop)
    loop.plane.flush_to[leg.row] = loop.plane.written[leg.row]
    loop.frames(5)
    assert int(loop.plane.dropped[leg.row]) == 0
    assert set(audio(caller.received())) == {0xFF}


def test_two_clears_before_a_slot_are_one(loop: Stepped) -> None:
    leg, _ = call(loop)
    loop.say(leg, SOUND)
    loop.frames(5)
    loop.plane.flush_to[leg.row] = 10 * FRAME
    loop.plane.flush_to[leg.row] = 20 * FRAME
    loop.frames(1)
    assert int(loop.plane.flushed[leg.row]) == 20 * FRAME
    assert int(loop.plane.dropped[leg.row]) == 15 * FRAME - 40
    loop.frames(200)
    assert int(loop.plane.consumed[leg.row]) == len(SOUND)


@pytest.mark.parametrize("late_ms", [0, 20, 40, LEAD - 20])
def test_a_real_time_sender_that_is_late_by_less_than_the_lead_is_not_heard(loop: Stepped, late_ms: int) -> None:
    leg, caller = call(loop)
    owed = 0
    for n in range(100):
        owed += 1
        if 50 <= n < 50 + late_ms // 20:
            loop.frames(1)
            continue
        loop.say(leg, SOUND[(n + 1 - owed) * FRAME : (n + 1) * FRAME])
        owed = 0
        loop.frames(1)
    heard = audio(caller.received())
    assert SOUND[40 : 95 * FRAME] in heard
    assert loop.stats(leg, "underruns") == 0


def test_a_gap_is_an_underrun_and_an_announced_end_is_none(loop: Stepped) -> None:
    leg, _ = call(loop)
    loop.say(leg, SOUND[: 20 * FRAME])
    loop.frames(30)
    loop.say(leg, SOUND[20 * FRAME : 40 * FRAME])
    loop.plane.talkspurt_end[leg.row] = loop.plane.written[leg.row]
    loop.frames(40)
    assert loop.stats(leg, "underruns") == 1
    loop.say(leg, SOUND[40 * FRAME : 60 * FRAME])
    loop.frames(30)
    assert loop.stats(leg, "underruns") == 1
