"""Each cause of one-way audio made for real, on the engine: named within three seconds of its beginning."""

import random
import struct
from collections.abc import Callable

import pytest
from pylibsrtp import Policy, Session

from gateway.calls.diagnosis import Diagnosis
from gateway.calls.survey import Survey
from rtp import control
from rtp.engine import Leg
from rtp.plane import FRAME
from tests.support.engine import rtp_packet
from tests.support.stepped import Peer, Stepped, speech

SUITE = "AES_CM_128_HMAC_SHA1_80"
SILENCE = b"\xff" * FRAME
#: When in its second a call is looked at, in frames.
PHASES = [1, 25, 50]

Say = Callable[[int], object]


class Watched:
    """A leg, its peer, and who looks at it once a second, as the controller does."""

    def __init__(self, loop: Stepped, phase: int, **changes: object) -> None:
        self.loop, self._phase = loop, phase
        self.leg: Leg = loop.open()
        self.caller: Peer = loop.peer()
        self.diagnosis = Diagnosis()
        self._survey = Survey(loop.plane.capacity)
        self._frame = 0
        loop.configure(self.leg, self.caller, **changes)

    def call(self, frames: int, say: Say) -> None:
        for n in range(frames):
            say(n)
            self.loop.frames()
            self._frame += 1
            if self._frame % 50 == self._phase % 50:
                self._survey.take(self.loop.plane.stats)
                second = self._survey.of(self.leg)
                if second is not None and not self._survey.is_well(self.leg):
                    self.diagnosis.look(*second, held=False)

    @property
    def causes(self) -> list[tuple[str, str]]:
        return [(finding.kind, finding.cause) for finding in self.diagnosis.findings]


def nothing(_frame: int) -> None:
    """Nobody sends."""


@pytest.mark.parametrize("phase", PHASES)
class TestFromTheAnswer:
    def test_nothing_comes(self, loop: Stepped, phase: int) -> None:
        watched = Watched(loop, phase)
        watched.call(150, nothing)
        assert watched.causes == [("one_way_audio", "no_packets")]

    def test_it_comes_from_elsewhere(self, loop: Stepped, phase: int) -> None:
        watched, elsewhere = Watched(loop, phase, symmetric="off"), loop.peer()
        watched.call(150, lambda n: elsewhere.say(watched.leg, speech(n)))
        assert watched.causes == [("one_way_audio", "stranger")]
        assert [(e.address, e.port) for e in loop.of(control.StrangerSeen)] == [elsewhere.address]

    def test_it_has_another_payload_type(self, loop: Stepped, phase: int) -> None:
        watched = Watched(loop, phase)
        watched.caller.payload_type = 18
        watched.call(150, lambda n: watched.caller.say(watched.leg, speech(n)))
        assert watched.causes == [("one_way_audio", "bad_payload_type")]

    def test_it_is_sealed_with_another_key(self, loop: Stepped, phase: int) -> None:
        ours, theirs, other = (random.Random(seed).randbytes(30) for seed in range(3))
        watched = Watched(loop, phase, srtp=control.Srtp(SUITE, theirs, ours))
        profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        watched.caller.seal = Session(Policy(other, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)).protect
        watched.call(150, lambda n: watched.caller.say(watched.leg, speech(n)))
        assert watched.causes == [("one_way_audio", "srtp_failures")]

    def test_it_is_silence_and_no_more(self, loop: Stepped, phase: int) -> None:
        watched = Watched(loop, phase)
        watched.call(150, lambda n: watched.caller.say(watched.leg, SILENCE))
        assert watched.causes == [("one_way_audio", "only_silence")]

    def test_the_peer_s_host_refuses_ours_and_sends_nothing(self, loop: Stepped, phase: int) -> None:
        watched = Watched(loop, phase)
        watched.caller.sock.close()
        watched.call(150, nothing)
        assert watched.causes == [("no_audio", "icmp_refused")]


@pytest.mark.parametrize("phase", PHASES)
def test_a_call_that_falls_silent_in_its_middle(loop: Stepped, phase: int) -> None:
    watched = Watched(loop, phase)
    watched.call(110, lambda n: watched.caller.say(watched.leg, speech(n)))
    assert watched.causes == []
    watched.call(150, nothing)
    assert watched.causes == [("one_way_audio", "no_packets")]


@pytest.mark.parametrize("phase", PHASES)
def test_a_key_that_is_held_is_no_silence(loop: Stepped, phase: int) -> None:
    watched = Watched(loop, phase)
    watched.call(60, lambda n: watched.caller.say(watched.leg, speech(n)))
    first, begin = watched.caller.sequence, watched.caller.timestamp

    def press(n: int) -> None:
        event = struct.pack(">BBH", 5, 10, min((n + 1) * FRAME, 0xFFFF))
        watched.caller.send(watched.leg, rtp_packet(first + n, begin, event, 101, marker=n == 0))

    watched.call(200, press)
    assert watched.causes == []


@pytest.mark.parametrize("phase", PHASES)
def test_silence_by_agreement_is_none_that_is_missed(loop: Stepped, phase: int) -> None:
    watched = Watched(loop, phase, accept={0: "PCMU", 13: "CN"})
    watched.call(60, lambda n: watched.caller.say(watched.leg, speech(n)))
    caller = watched.caller
    caller.send(watched.leg, rtp_packet(caller.sequence, caller.timestamp, bytes([60]), 13))
    watched.call(300, nothing)
    assert watched.causes == []
