"""The vocabulary: what must never be shown, and what every label must be."""

from gateway.errors import Fault
from gateway.sip.description import SUITES, Crypto, Direction, Media, Refusal, SdpRefused


def test_keys_are_not_shown():
    crypto = Crypto(1, "AES_CM_128_HMAC_SHA1_80", b"secretsecret")
    assert "secret" not in repr(crypto)
    assert "secret" not in repr(Media("audio", 4000, "RTP/SAVP", ("0",), "10.0.0.1", crypto=(crypto,)))


def test_every_refusal_has_a_label_and_a_sip_code():
    for refusal in Refusal:
        error = SdpRefused(refusal, "x" * 500)
        assert error.refusal.label == refusal.name.lower()
        assert error.fault.value.sip == 488
        assert len(error.message) < 200
    assert SdpRefused(Refusal.NO_CODEC).fault is Fault.NO_COMMON_CODEC


def test_directions_say_who_sends():
    assert (Direction.SENDONLY.sends, Direction.SENDONLY.receives) == (True, False)
    assert Direction((False, True)) is Direction.RECVONLY


def test_held_by_a_null_address():
    assert Media("audio", 4000, "RTP/AVP", ("0",), "0.0.0.0").held
    assert Media("audio", 4000, "RTP/AVP", ("0",), "::").held
    assert not Media("audio", 4000, "RTP/AVP", ("0",), "10.0.0.1").held


def test_suites_have_the_lengths_of_their_rfcs():
    # RFC 4568 §6.2: 128 bit key and 112 bit salt; RFC 6188 §4: 256 and 112
    assert SUITES["AES_CM_128_HMAC_SHA1_80"] == (128 + 112) // 8
    assert SUITES["AES_256_CM_HMAC_SHA1_32"] == (256 + 112) // 8
