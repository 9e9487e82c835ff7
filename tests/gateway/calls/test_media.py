"""A leg's descriptions through the life of its dialog."""

from __future__ import annotations

import msgspec
import pytest

from gateway.calls.media import LegMedia, configure
from gateway.errors import Fault, PeerFault
from gateway.sip.description import SdpRefused
from gateway.sip.negotiation import Keys
from rtp.engine import Leg
from tests.support.controller_rig import OFFER


def media() -> LegMedia:
    leg = LegMedia("192.0.2.1", ("PCMA", "PCMU"), 77)
    leg.use_port(16400)
    return leg


def test_answers_keep_the_port_and_count_versions() -> None:
    leg = media()
    leg.try_offer(OFFER)
    first, second = leg.answer(OFFER), leg.answer(OFFER + "a=sendonly\r\n")
    assert first.codec == "PCMA"
    for version, settled in enumerate((first, second), 1):
        assert f"o=- 77 {version} IN IP4 192.0.2.1" in settled.sdp
        assert "m=audio 16400 RTP/AVP 8 101" in settled.sdp


def test_a_refresh_keeps_its_version() -> None:
    leg = media()
    assert leg.answer(OFFER) == leg.answer(OFFER.replace("o=- 1 1", "o=- 1 2"))
    assert "o=- 77 2 " in leg.answer(OFFER + "a=sendonly\r\n").sdp
    assert "o=- 77 3 " in leg.answer(OFFER).sdp


def test_a_refused_offer_takes_no_version() -> None:
    leg = media()
    with pytest.raises(SdpRefused):
        leg.answer("v=0\r\n")
    assert "o=- 77 1 " in leg.answer(OFFER).sdp


def test_our_offer_and_its_answer() -> None:
    leg = media()
    assert "m=audio 16400 RTP/AVP 8 0" in leg.offer()
    settled = leg.accept(OFFER.replace("0 8 101", "0").replace("a=rtpmap:101 telephone-event/8000\r\n", ""))
    assert (settled.codec, settled.remote_port, settled.dtmf_type) == ("PCMU", 40000, -1)
    with pytest.raises(PeerFault) as refused:
        leg.accept(OFFER)
    assert refused.value.fault is Fault.BAD_SDP


def test_an_update_answered_elsewhere_counts_its_version() -> None:
    leg = media()
    answer = leg.answer(OFFER).sdp.replace("77 1 ", "77 5 ")
    settled = leg.answered(OFFER.replace("40000", "40010"), answer)
    assert settled.remote_port == 40010
    assert "77 5 " in leg.answer(OFFER).sdp
    assert "77 6 " in leg.answer(OFFER + "a=sendonly\r\n").sdp


def test_an_update_answered_without_audio() -> None:
    leg = media()
    answer = leg.answer(OFFER).sdp.replace("m=audio 16400", "m=audio 0")
    with pytest.raises(PeerFault):
        leg.answered(OFFER, answer)


def test_what_the_loop_is_told() -> None:
    settled = media().answer(OFFER)
    command = configure(Leg(3, 9, 16400), settled, "auto", "call_1")
    assert (command.row, command.generation, command.symmetric, command.cname) == (3, 9, "auto", "call_1")
    assert (command.remote_address, command.remote_port, command.rtcp_port) == ("127.0.0.1", 40000, 40001)
    assert (command.payload_type, command.codec, command.dtmf_type) == (8, "PCMA", 101)
    assert command.accept == settled.accept
    assert command.srtp is None


def test_keys_are_handed_on_and_not_shown() -> None:
    leg = LegMedia("192.0.2.1", ("PCMU",), 1)
    leg.use_port(16400)
    settled = leg.answer(OFFER)
    keys = Keys("AES_CM_128_HMAC_SHA1_80", b"r" * 30, b"s" * 30)
    command = configure(Leg(0, 1, 16400), msgspec.structs.replace(settled, keys=keys), "off", "c")
    assert command.srtp is not None
    assert (command.srtp.receive_key, command.srtp.send_key) == (b"r" * 30, b"s" * 30)
    assert "rrr" not in repr(command)
