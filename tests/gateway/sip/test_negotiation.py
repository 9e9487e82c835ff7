"""Offer and answer: RFC 3264's rules over every pair of sides, and what the media engine is told."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import negotiation, sdp
from gateway.sip.description import DTMF, Codec, Crypto, Direction, Media, Refusal, SdpRefused, Session
from gateway.sip.negotiation import PLAIN, SECURE, Keys, Terms

THEIR_KEY, OUR_KEY = bytes(range(46)), bytes(range(100, 146))
TERMS = Terms("10.0.0.2", 16384, key=OUR_KEY)
HEAD = "v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"


def crypto(tag=1, suite="AES_CM_128_HMAC_SHA1_80", size=30):
    return f"a=crypto:{tag} {suite} inline:{base64.b64encode(THEIR_KEY[:size]).decode()}\r\n"


def answered(lines="", m="m=audio 4000 RTP/AVP 0 8 101", terms=TERMS, head=HEAD):
    text = head + m + "\r\na=rtpmap:101 telephone-event/8000\r\n" + lines
    return negotiation.answer(sdp.parse(text), terms)


def refused(*args, **kwargs):
    with pytest.raises(SdpRefused) as caught:
        answered(*args, **kwargs)
    return caught.value.refusal


def test_a_plain_answer():
    settled = answered()
    assert (settled.remote_address, settled.remote_port) == ("10.0.0.1", 4000)
    assert (settled.rtcp_address, settled.rtcp_port) == ("10.0.0.1", 4001)
    assert (settled.payload_type, settled.codec) == (0, "PCMU")
    assert settled.accept == {0: "PCMU", 8: "PCMA", 101: "telephone-event"}
    assert (settled.dtmf_type, settled.cn_type, settled.ptime_ms) == (101, -1, 20)
    assert (settled.send, settled.receive, settled.held, settled.keys) == (True, True, False, None)
    assert settled.sdp == (
        "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n"
        "m=audio 16384 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        "a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )


def test_our_preference_decides_the_codec():
    assert answered(terms=Terms("10.0.0.2", 16384, codecs=("PCMA", "PCMU"))).codec == "PCMA"
    assert answered(terms=Terms("10.0.0.2", 16384, codecs=("PCMA",))).codec == "PCMA"


def test_the_offerers_numbers_are_used():
    settled = answered("a=rtpmap:97 PCMA/8000\r\na=rtpmap:98 telephone-event/8000\r\n", "m=audio 4000 RTP/AVP 97 98")
    assert (settled.payload_type, settled.codec, settled.dtmf_type) == (97, "PCMA", 98)
    assert settled.accept == {97: "PCMA", 98: "telephone-event"}


def test_events_of_another_clock_rate_are_not_ours():
    settled = answered("a=rtpmap:100 telephone-event/48000\r\n", "m=audio 4000 RTP/AVP 0 100")
    assert settled.dtmf_type == -1
    assert "telephone-event" not in settled.sdp


def test_comfort_noise_when_both_know_it():
    assert answered(m="m=audio 4000 RTP/AVP 0 13").cn_type == 13
    assert answered(m="m=audio 4000 RTP/AVP 0 13", terms=Terms("10.0.0.2", 1, comfort_noise=False)).cn_type == -1


@pytest.mark.parametrize(
    ("lines", "ptime"), [("a=ptime:60\r\n", 20), ("a=maxptime:10\r\n", 10), ("a=maxptime:150\r\n", 20)]
)
def test_packet_time(lines, ptime):
    settled = answered(lines)
    assert settled.ptime_ms == ptime
    assert f"a=ptime:{ptime}\r\n" in settled.sdp


@pytest.mark.parametrize("theirs", Direction)
@pytest.mark.parametrize("wanted", Direction)
def test_directions_mirror(theirs, wanted):
    settled = answered(f"a={theirs.name.lower()}\r\n", terms=Terms("10.0.0.2", 2, direction=wanted))
    assert settled.send == (theirs.receives and wanted.sends)
    assert settled.receive == (theirs.sends and wanted.receives)
    assert settled.held == (not theirs.receives)
    assert f"a={Direction((settled.send, settled.receive)).name.lower()}\r\n" in settled.sdp


def test_hold_by_a_null_address():
    settled = answered(head=HEAD.replace("c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0"))
    assert (settled.send, settled.receive, settled.held) == (False, True, True)
    assert "a=recvonly\r\n" in settled.sdp
    assert "c=IN IP4 10.0.0.2\r\n" in settled.sdp


@pytest.mark.parametrize(
    ("lines", "rtcp", "in_answer"),
    [
        ("a=rtcp-mux\r\n", ("10.0.0.1", 0), True),
        ("a=rtcp:4500\r\n", ("10.0.0.1", 4500), False),
        ("a=rtcp:4500 IN IP4 10.0.0.7\r\n", ("10.0.0.7", 4500), False),
        ("a=rtcp:4500\r\na=rtcp-mux\r\n", ("10.0.0.1", 0), True),
        ("b=RS:0\r\nb=RR:0\r\n", ("10.0.0.1", -1), False),
    ],
)
def test_where_rtcp_goes(lines, rtcp, in_answer):
    settled = answered(lines)
    assert (settled.rtcp_address, settled.rtcp_port) == rtcp
    assert ("a=rtcp-mux\r\n" in settled.sdp) is in_answer


def test_there_is_no_port_after_the_last():
    assert answered(m="m=audio 65535 RTP/AVP 0").rtcp_port == -1


def test_other_sections_are_rejected_in_place():
    offer = (
        HEAD + "m=video 5000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\nm=audio 4000 RTP/AVP 8\r\n"
        "m=audio 4002 RTP/AVP 0\r\nm=application 9 UDP/BFCP *\r\n"
    )
    text = negotiation.answer(sdp.parse(offer), TERMS).sdp
    assert [line for line in text.split("\r\n") if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 99",
        "m=audio 16384 RTP/AVP 8",
        "m=audio 0 RTP/AVP 0",
        "m=application 0 UDP/BFCP *",
    ]


def test_why_an_offer_is_refused():
    assert refused(m="m=audio 4000 RTP/AVP 18") is Refusal.NO_CODEC
    assert refused(m="m=audio 0 RTP/AVP 0") is Refusal.NO_AUDIO
    assert refused(m="m=video 4000 RTP/AVP 0") is Refusal.NO_AUDIO
    assert refused(m="m=audio 4000 UDP/TLS/RTP/SAVPF 0") is Refusal.NO_AUDIO
    assert refused("a=rtpmap:0 PCMU/16000\r\n", "m=audio 4000 RTP/AVP 0") is Refusal.NO_CODEC
    assert refused(head=HEAD.replace("IP4 10.0.0.1", "IP6 2001:db8::1")) is Refusal.ADDRESS_FAMILY
    with pytest.raises(SdpRefused):
        negotiation.answer(sdp.parse(HEAD), TERMS)


def test_an_offer_that_no_terms_could_take():
    def hopeless(m, lines=""):
        return negotiation.hopeless(sdp.parse(HEAD + m + "\r\n" + lines))

    assert hopeless("m=audio 4000 RTP/AVP 18") is Refusal.NO_CODEC
    assert hopeless("m=video 4000 RTP/AVP 0") is Refusal.NO_AUDIO
    assert hopeless("m=audio 4000 RTP/SAVP 0") is Refusal.SRTP_NO_SUITE
    assert hopeless("m=audio 4000 RTP/SAVP 8", crypto()) is None
    assert hopeless("m=video 4000 RTP/AVP 0\r\nm=audio 4000 RTP/AVP 0") is None
    assert negotiation.hopeless(sdp.parse(HEAD)) is Refusal.NO_AUDIO


def test_ipv6():
    settled = answered(head=HEAD.replace("IP4 10.0.0.1", "IP6 2001:db8::1"), terms=Terms("2001:db8::2", 16384))
    assert settled.remote_address == "2001:db8::1"
    assert "c=IN IP6 2001:db8::2\r\n" in settled.sdp


AVP, SAVP = "m=audio 4000 RTP/AVP 0", "m=audio 4000 RTP/SAVP 0"
UNKNOWN = "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\r\n"


@pytest.mark.parametrize(
    ("policy", "m", "lines", "outcome"),
    [
        ("disabled", AVP, "", False),
        ("disabled", AVP, crypto(), False),
        ("disabled", SAVP, crypto(), Refusal.SRTP_REFUSED),
        ("optional", AVP, "", False),
        ("optional", AVP, crypto(), True),
        ("optional", AVP, UNKNOWN, False),
        ("optional", SAVP, crypto(), True),
        ("optional", SAVP, "", Refusal.SRTP_NO_SUITE),
        ("optional", SAVP, UNKNOWN, Refusal.SRTP_NO_SUITE),
        ("mandatory", AVP, "", Refusal.SRTP_REQUIRED),
        ("mandatory", AVP, crypto(), True),
        ("mandatory", SAVP, crypto(), True),
        ("mandatory", SAVP, UNKNOWN, Refusal.SRTP_NO_SUITE),
    ],
)
def test_srtp_policy(policy, m, lines, outcome):
    terms = Terms("10.0.0.2", 16384, srtp=policy, key=OUR_KEY)
    if isinstance(outcome, Refusal):
        assert refused(lines, m, terms) is outcome
        return
    settled = answered(lines, m, terms)
    assert (settled.keys is not None) is outcome
    assert ("a=crypto" in settled.sdp) is outcome
    assert m.split()[2] in settled.sdp


def test_the_first_usable_key_is_taken_with_its_tag():
    lines = UNKNOWN.replace("crypto:1", "crypto:4") + crypto(7, "AES_256_CM_HMAC_SHA1_80", 46) + crypto(9)
    settled = answered(lines, SAVP, Terms("10.0.0.2", 2, srtp="mandatory", key=OUR_KEY))
    assert settled.keys == Keys("AES_256_CM_HMAC_SHA1_80", receive_key=THEIR_KEY, send_key=OUR_KEY)
    assert f"a=crypto:7 AES_256_CM_HMAC_SHA1_80 inline:{base64.b64encode(OUR_KEY).decode()}\r\n" in settled.sdp
    assert settled.sdp.count("a=crypto") == 1


def test_a_secure_section_is_preferred_to_a_plain_one():
    offer = sdp.parse(HEAD + AVP + "\r\n" + SAVP.replace("4000", "4010") + "\r\n" + crypto())
    settled = negotiation.answer(offer, Terms("10.0.0.2", 2, srtp="optional", key=OUR_KEY))
    assert settled.remote_port == 4010
    assert negotiation.answer(offer, Terms("10.0.0.2", 2)).remote_port == 4000


def test_a_key_that_is_too_short_is_a_bug():
    with pytest.raises(ValueError, match="needs 30 bytes"):
        answered(crypto(), SAVP, Terms("10.0.0.2", 2, srtp="optional", key=b"short"))


def test_no_key_is_shown():
    settled = answered(crypto(), SAVP, Terms("10.0.0.2", 2, srtp="optional", key=OUR_KEY))
    assert "hidden" in repr(settled.keys)
    assert repr(OUR_KEY)[2:20] not in repr(TERMS)


def test_our_offer():
    (media,) = sdp.parse(negotiation.offer(TERMS)).media
    assert [codec.name for codec in media.codecs] == ["PCMU", "PCMA", "CN", DTMF]
    assert (media.protocol, media.rtcp_mux, media.crypto, media.ptime) == (PLAIN, True, (), 20)


@pytest.mark.parametrize(("policy", "protocol"), [("optional", PLAIN), ("mandatory", SECURE)])
def test_our_secure_offer(policy, protocol):
    (media,) = sdp.parse(negotiation.offer(Terms("10.0.0.2", 2, srtp=policy, key=OUR_KEY))).media
    assert media.protocol == protocol
    assert [c.tag for c in media.crypto] == [1, 2, 3]


def evaluated(text, ours=None, srtp="disabled"):
    return negotiation.evaluate(sdp.parse(ours or negotiation.offer(TERMS)), sdp.parse(text), srtp)


def test_the_first_format_of_an_answer_is_sent():
    settled = evaluated(HEAD + "m=audio 4000 RTP/AVP 8 0\r\n")
    assert (settled.payload_type, settled.codec) == (8, "PCMA")
    assert settled.accept == {0: "PCMU", 8: "PCMA"}
    assert (settled.rtcp_port, settled.dtmf_type) == (4001, -1)


def test_key_presses_and_noise_are_received_by_the_number_that_either_side_named():
    settled = evaluated(HEAD + "m=audio 4000 RTP/AVP 0 96 13\r\na=rtpmap:96 telephone-event/8000\r\n")
    assert settled.accept == {0: "PCMU", 8: "PCMA", 96: "telephone-event", 101: "telephone-event", 13: "CN"}
    assert settled.dtmf_type == 96
    # One number for two formats: a law is heard as such
    clash = evaluated(
        HEAD + "m=audio 4000 RTP/AVP 101 97\r\na=rtpmap:101 PCMU/8000\r\na=rtpmap:97 telephone-event/8000\r\n"
    )
    assert (clash.accept[101], clash.accept[97]) == ("PCMU", "telephone-event")


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (HEAD, Refusal.ANSWER_MISMATCH),
        (HEAD + "m=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/AVP 0\r\n", Refusal.ANSWER_MISMATCH),
        (HEAD + "m=audio 4000 RTP/SAVP 0\r\n", Refusal.ANSWER_MISMATCH),
        (HEAD + "m=audio 0 RTP/AVP 0\r\n", Refusal.NO_AUDIO),
        (HEAD + "m=audio 4000 RTP/AVP 18\r\n", Refusal.NO_CODEC),
        (HEAD.replace("IP4 10.0.0.1", "IP6 ::1") + "m=audio 4000 RTP/AVP 0\r\n", Refusal.ADDRESS_FAMILY),
    ],
)
def test_an_answer_that_is_none(text, refusal):
    with pytest.raises(SdpRefused) as caught:
        evaluated(text)
    assert caught.value.refusal is refusal


def test_an_answer_must_keep_to_mandatory_srtp():
    ours = negotiation.offer(Terms("10.0.0.2", 2, srtp="mandatory", key=OUR_KEY))
    with pytest.raises(SdpRefused):
        evaluated(HEAD + "m=audio 4000 RTP/SAVP 0\r\n", ours, "mandatory")
    settled = evaluated(HEAD + "m=audio 4000 RTP/SAVP 0\r\n" + crypto(2, "AES_CM_128_HMAC_SHA1_32"), ours, "mandatory")
    assert settled.keys == Keys("AES_CM_128_HMAC_SHA1_32", THEIR_KEY[:30], OUR_KEY[:30])


def test_an_answer_with_a_key_that_was_not_offered():
    ours = negotiation.offer(Terms("10.0.0.2", 2, srtp="optional", key=OUR_KEY))
    with pytest.raises(SdpRefused) as caught:
        evaluated(HEAD + "m=audio 4000 RTP/AVP 0\r\n" + crypto(9), ours)
    assert caught.value.refusal is Refusal.SRTP_NO_SUITE


def test_a_new_offer_is_answered_on_the_terms_of_our_last_sdp():
    terms = Terms("10.0.0.2", 16384, srtp="mandatory", key=OUR_KEY, session_id=77, version=3)
    first = answered(crypto(), SAVP, terms)
    again = negotiation.reanswer(sdp.parse(first.sdp), sdp.parse(HEAD + SAVP + "\r\na=sendonly\r\n" + crypto(5)))
    assert "o=- 77 4 IN IP4 10.0.0.2\r\n" in again.sdp
    assert "m=audio 16384 RTP/SAVP 0\r\n" in again.sdp
    assert again.keys == Keys("AES_CM_128_HMAC_SHA1_80", THEIR_KEY[:30], OUR_KEY[:30])
    assert (again.send, again.receive, again.held) == (False, True, True)


def test_a_new_offer_without_keys_does_not_lay_a_secure_leg_open():
    first = answered(crypto(), SAVP, Terms("10.0.0.2", 2, srtp="mandatory", key=OUR_KEY))
    with pytest.raises(SdpRefused) as caught:
        negotiation.reanswer(sdp.parse(first.sdp), sdp.parse(HEAD + AVP + "\r\n"))
    assert caught.value.refusal is Refusal.SRTP_REQUIRED


def test_a_codec_change_in_a_new_offer():
    first = answered()
    again = negotiation.reanswer(sdp.parse(first.sdp), sdp.parse(HEAD + "m=audio 4010 RTP/AVP 8\r\n"))
    assert (again.codec, again.remote_port, again.keys) == ("PCMA", 4010, None)
    with pytest.raises(SdpRefused):
        negotiation.reanswer(Session(1, 1, "10.0.0.2", ()), sdp.parse(HEAD + AVP))


@st.composite
def offers(draw):
    names = draw(st.lists(st.sampled_from(["PCMU", "PCMA", "CN", DTMF, "G729", "OPUS"]), min_size=1, unique=True))
    static = {"PCMU": 0, "PCMA": 8, "CN": 13, "G729": 18}
    dynamic = draw(st.permutations(range(96, 128)))
    codecs = tuple(
        Codec(static[n] if n in static and draw(st.booleans()) else dynamic[i], n, 48000 if n == "OPUS" else 8000)
        for i, n in enumerate(names)
    )
    secure = draw(st.booleans())
    keys = (Crypto(draw(st.integers(0, 99)), "AES_CM_128_HMAC_SHA1_80", THEIR_KEY[:30]),) if secure else ()
    media = Media(
        "audio",
        draw(st.integers(1, 65535)),
        SECURE if secure else PLAIN,
        tuple(str(c.payload_type) for c in codecs),
        draw(st.sampled_from(["10.0.0.1", "0.0.0.0"])),
        codecs,
        draw(st.sampled_from(Direction)),
        maxptime=draw(st.sampled_from([0, 10, 40])),
        rtcp_mux=draw(st.booleans()),
        crypto=keys,
    )
    video = Media("video", 5000, PLAIN, ("99",), "10.0.0.1", (Codec(99, "H264", 90000),))
    sections = draw(st.permutations([media, *draw(st.lists(st.just(video), max_size=2))]))
    return Session(1, 1, "10.0.0.1", tuple(sections))


TERMS_DRAWN = st.builds(
    Terms,
    address=st.just("10.0.0.2"),
    port=st.integers(1024, 65534),
    codecs=st.sampled_from([("PCMU", "PCMA"), ("PCMA", "PCMU"), ("PCMA",), ("PCMU",)]),
    srtp=st.sampled_from(["disabled", "optional", "mandatory"]),
    key=st.just(OUR_KEY),
    direction=st.sampled_from(Direction),
)


@given(offers(), TERMS_DRAWN)
def test_every_answer_keeps_to_the_rfc(offer, terms):
    try:
        settled = negotiation.answer(offer, terms)
    except SdpRefused as error:
        assert error.refusal in list(Refusal)[list(Refusal).index(Refusal.NO_AUDIO) :]  # noqa: PT017
        return
    ours = sdp.parse(settled.sdp)
    assert len(ours.media) == len(offer.media)  # §6
    taken = [(mine, theirs) for mine, theirs in zip(ours.media, offer.media, strict=True) if mine.port]
    ((mine, theirs),) = taken
    assert mine.kind == theirs.kind == "audio"
    assert mine.protocol == theirs.protocol
    assert set(mine.formats) <= set(theirs.formats)
    assert mine.codecs[0].name in terms.codecs
    assert not (mine.direction.sends and not theirs.direction.receives)
    assert not (mine.direction.receives and not theirs.direction.sends)
    assert not (mine.rtcp_mux and not theirs.rtcp_mux)
    assert settled.accept[settled.payload_type] == settled.codec
    assert settled.keys is not None or terms.srtp != "mandatory"
    # Both ends read the same pair: what the peer makes of our answer is the mirror of what we made of it
    seen = negotiation.evaluate(Session(1, 1, "10.0.0.1", offer.media), ours)
    assert (seen.codec, seen.payload_type) == (settled.codec, settled.payload_type)
    assert seen.receive == settled.send or theirs.held
    assert seen.send == settled.receive
    if settled.keys:
        assert seen.keys == Keys(settled.keys.suite, settled.keys.send_key, settled.keys.receive_key)
