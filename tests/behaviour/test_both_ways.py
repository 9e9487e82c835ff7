"""A clean call over real sockets: every byte that is said is heard, in both directions, at every packet length."""

import itertools
import struct

import numpy as np
import pytest

from rtp import g711
from rtp.plane import FRAME
from tests.support.stepped import Stepped, speech

COUNT = 100
SOUND = b"".join(speech(n) for n in range(COUNT))
ALIEN = b"".join(speech(2000 + n) for n in range(COUNT))


def stamps(packets: list[bytes]) -> list[tuple[int, int]]:
    """Sequence and timestamp of each."""
    return [struct.unpack(">HI", packet[2:8]) for packet in packets]


@pytest.mark.parametrize(("codec", "number"), [("PCMU", 0), ("PCMA", 8)])
def test_bit_by_bit_both_ways(loop: Stepped, codec: str, number: int) -> None:
    leg, caller = loop.open(), loop.peer(payload_type=number)
    loop.configure(leg, caller, codec=codec, payload_type=number)
    to_wire = g711.MULAW_TO_ALAW if number else np.arange(256, dtype=np.uint8)
    to_plane = g711.ALAW_TO_MULAW if number else np.arange(256, dtype=np.uint8)
    received = []
    for n in range(COUNT):
        caller.say(leg, speech(n))
        if n == 0:
            loop.say(leg, ALIEN)
        loop.frames()
        received += caller.received()
    loop.frames(4)
    received += caller.received()
    heard = b"".join(loop.heard[leg.row][:COUNT])
    assert heard == to_plane[np.frombuffer(SOUND, np.uint8)].tobytes()
    back = b"".join(packet[12:] for packet in received)
    wanted = to_wire[np.frombuffer(ALIEN, np.uint8)].tobytes()
    start = back.index(wanted[40:200]) - 40  # behind a ramp of 5 ms
    assert back[start + 40 : start + len(wanted) - 40] == wanted[40:-40]
    assert {packet[1] & 0x7F for packet in received} == {number}
    steps = itertools.pairwise(stamps(received))
    assert {((b[0] - a[0]) & 0xFFFF, (b[1] - a[1]) & 0xFFFFFFFF) for a, b in steps} == {(1, FRAME)}


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 50, 60])
def test_every_packet_length(loop: Stepped, ptime: int) -> None:
    leg, caller = loop.open(), loop.peer()
    loop.configure(leg, caller)
    step = ptime * 8
    for at in range(0, len(SOUND), 80):  # half a frame of time, one slot, each
        if at % step == 0:
            caller.say(leg, SOUND[at : at + step])
        loop.step()
    loop.frames(6)
    heard = b"".join(loop.heard[leg.row])
    whole = len(SOUND) // step * step
    assert heard[: whole - FRAME] == SOUND[: whole - FRAME]
    assert loop.stats(leg, "packets_lost") == 0


def test_packet_lengths_that_change_within_a_call(loop: Stepped) -> None:
    """A sender that mixes them: the time that a packet covers is in its length, and nowhere else."""
    leg, caller = loop.open(), loop.peer()
    loop.configure(leg, caller)
    lengths = itertools.cycle([20, 60, 10, 10, 30, 40, 10, 20, 30, 10])
    at = due = 0
    while at < len(SOUND) - 480:
        step = next(lengths) * 8
        due += step
        caller.say(leg, SOUND[at : at + step])
        at += step
        while due >= FRAME:  # the next packet is sent when this one's time is over
            loop.frames()
            due -= FRAME
    loop.frames(6)
    heard = b"".join(loop.heard[leg.row])
    assert heard[: at - 2 * FRAME] == SOUND[: at - 2 * FRAME]


def test_a_peer_that_wants_ten_ms_gets_ten_ms(loop: Stepped) -> None:
    leg, caller = loop.open(), loop.peer()
    loop.configure(leg, caller, ptime_ms=10)
    caller.say(leg, speech(0))
    loop.say(leg, ALIEN)
    received = []
    for _ in range(COUNT + 10):
        loop.frames()
        received += caller.received()
    assert {len(packet) for packet in received} == {12 + 80}
    assert ALIEN[40:-40] in b"".join(packet[12:] for packet in received)
    steps = itertools.pairwise(stamps(received))
    assert {((b[0] - a[0]) & 0xFFFF, (b[1] - a[1]) & 0xFFFFFFFF) for a, b in steps} == {(1, 80)}


def test_wraps_of_sequence_and_timestamp_are_not_heard(loop: Stepped) -> None:
    leg, caller = loop.open(), loop.peer()
    loop.configure(leg, caller)
    caller.sequence, caller.timestamp = 65_536 - 30, (1 << 32) - 45 * FRAME
    for n in range(COUNT):
        caller.say(leg, speech(n))
        loop.frames()
    loop.frames(3)
    assert b"".join(loop.heard[leg.row][:COUNT]) == SOUND
    assert loop.stats(leg, "resyncs") == 0
