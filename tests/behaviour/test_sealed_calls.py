"""SRTP from SDP's keys to the ear and back, against libsrtp in the hands of the other side."""

import dataclasses
import random

import pytest
from pylibsrtp import Policy, Session

from rtp import control
from rtp.engine import Leg
from rtp.errors import LABELS, RejectReason
from rtp.plane import FRAME
from tests.support.engine import rtp_packet
from tests.support.stepped import SLOTS, Peer, Stepped, speech

SUITES = {
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 10),
    "AES_CM_128_HMAC_SHA1_32": (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 4),
}
SUITE = "AES_CM_128_HMAC_SHA1_80"
PER_SLOT = 8  # as many as are read


@dataclasses.dataclass
class Keys:
    """What both sides know. caller, gateway: key and salt of what each sends."""

    caller: bytes
    gateway: bytes
    suite: str = SUITE

    def ours(self) -> control.Srtp:
        return control.Srtp(self.suite, self.caller, self.gateway)

    def sealing(self) -> Session:
        return Session(Policy(self.caller, Policy.SSRC_ANY_OUTBOUND, srtp_profile=SUITES[self.suite][0]))

    def opening(self) -> Session:
        return Session(Policy(self.gateway, Policy.SSRC_ANY_INBOUND, srtp_profile=SUITES[self.suite][0]))


def keys(seed: int, suite: str = SUITE) -> Keys:
    rng = random.Random(seed)
    return Keys(rng.randbytes(30), rng.randbytes(30), suite)


def call(loop: Stepped, shared: Keys, ssrc: int = 7) -> tuple[Leg, Peer]:
    leg, caller = loop.open(), loop.peer(ssrc)
    loop.configure(leg, caller, srtp=shared.ours())
    caller.seal = shared.sealing().protect
    return leg, caller


def rejected(loop: Stepped, reason: RejectReason) -> int:
    """By the loop's own counters, which it reports each second."""
    loop._loop._report(0)
    loop.frames()
    return loop.of(control.LoopCounters)[-1].rejected[LABELS[reason]]


@pytest.mark.parametrize("suite", SUITES)
def test_both_ways_bit_by_bit(loop: Stepped, suite: str) -> None:
    shared = keys(1, suite)
    leg, caller = call(loop, shared)
    opened, wire = [], []
    opening = shared.opening()
    loop.say(leg, b"".join(speech(500 + n) for n in range(50)))
    for n in range(60):
        wire.append(caller.say(leg, speech(n)))
        loop.frames()
        sealed = caller.received()
        assert {len(packet) for packet in sealed} <= {12 + FRAME + SUITES[suite][1]}
        opened += [opening.unprotect(packet)[12:] for packet in sealed]
    loop.frames(3)
    assert loop.heard[leg.row][:60] == [speech(n) for n in range(60)]
    assert all(speech(n) not in packet for n, packet in enumerate(wire))
    said = b"".join(speech(500 + n) for n in range(50))
    assert said[40:-40] in b"".join(opened)
    assert loop.stats(leg, "packets_bad") == 0


def test_a_hundred_thousand_bad_tags_and_the_call_stays(loop: Stepped) -> None:
    """From the caller's own address, as fast as they are read; a good packet each 20 ms among them."""
    shared = keys(2)
    leg, caller = call(loop, shared)
    bad = said = slot = 0
    while bad < 100_000:
        fitting = PER_SLOT
        if slot % SLOTS == 0:
            caller.say(leg, speech(said))
            said += 1
            fitting -= 1
        for k in range(fitting):
            forged = rtp_packet(caller.sequence + k, caller.timestamp, b"\x11" * FRAME, ssrc=7)
            caller.send(leg, forged + bytes(10))
        bad += fitting
        slot += 1
        loop.step()
    loop.frames(3)
    assert loop.stats(leg, "packets_bad_auth") == bad
    assert rejected(loop, RejectReason.BAD_AUTH) == bad
    assert loop.heard[leg.row][:said] == [speech(n) for n in range(said)]


def test_a_stranger_with_bad_tags_is_nobody(loop: Stepped) -> None:
    shared = keys(3)
    leg, caller = call(loop, shared)
    stranger = loop.peer()
    for n in range(50):
        caller.say(leg, speech(n))
        for _ in range(20):
            stranger.say(leg, b"\x11" * FRAME)
        loop.frames()
    loop.frames(3)
    assert loop.heard[leg.row][:50] == [speech(n) for n in range(50)]
    assert stranger.received() == []
    assert not loop.of(control.RemoteChanged)


def test_fifty_packets_replayed_five_times_are_delivered_once(loop: Stepped) -> None:
    shared = keys(4)
    leg, caller = call(loop, shared)
    wire = []
    for n in range(50):
        wire.append(caller.say(leg, speech(n)))
        loop.frames()
        for old in wire[-1:] * 5:
            caller.send(leg, old)
    loop.frames(3)
    assert loop.heard[leg.row][:50] == [speech(n) for n in range(50)]
    assert loop.stats(leg, "packets_received") == 50
    assert rejected(loop, RejectReason.REPLAYED) == 250


def test_new_keys_in_the_middle_of_a_call(loop: Stepped) -> None:
    first, second = keys(5), keys(6)
    leg, caller = call(loop, first)
    for n in range(30):
        caller.say(leg, speech(n))
        loop.frames()
    loop.configure(leg, caller, srtp=second.ours())
    ssrc = {packet[8:12] for packet in caller.received()}
    caller.seal = second.sealing().protect
    opening, opened = second.opening(), []
    for n in range(30, 60):
        caller.say(leg, speech(n))
        loop.frames()
        opened += [opening.unprotect(packet) for packet in caller.received()]
    loop.frames(3)
    assert loop.heard[leg.row][:60] == [speech(n) for n in range(60)]
    assert {packet[8:12] for packet in opened} == ssrc  # kept, with the stream
    assert loop.stats(leg, "packets_bad_auth") == 0


def test_the_same_keys_again_and_hold_disturb_nothing(loop: Stepped) -> None:
    """As a re-INVITE for hold, resume and session refresh has them; the sequence wraps meanwhile."""
    shared = keys(7)
    leg, caller = call(loop, shared)
    caller.sequence = 65_500
    opening, opened = shared.opening(), []
    for n in range(90):
        if n == 30:
            loop.configure(leg, caller, srtp=shared.ours(), send=False)
        if n == 60:
            loop.configure(leg, caller, srtp=shared.ours())
        caller.sequence &= 0xFFFF
        caller.say(leg, speech(n))
        loop.frames()
        opened += [opening.unprotect(packet) for packet in caller.received()]
    loop.frames(3)
    assert loop.heard[leg.row][:90] == [speech(n) for n in range(90)]
    assert 55 <= len(opened) <= 62  # nothing while it was held
    assert loop.stats(leg, "packets_bad_auth") == 0


def test_plain_rtp_is_not_taken_where_keys_were_agreed(loop: Stepped) -> None:
    leg, caller = call(loop, keys(8))
    caller.seal = None
    for _ in range(20):
        caller.say(leg, b"\x11" * FRAME)
        loop.frames()
    assert loop.heard[leg.row] == []
    assert loop.stats(leg, "packets_bad_auth") == 20
