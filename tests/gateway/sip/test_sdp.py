"""The grammar: what is read, what is refused and by which name, and that reading undoes writing."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import sdp
from gateway.sip.description import DTMF, SUITES, Codec, Crypto, Direction, Media, Refusal, SdpRefused, Session

KEY = base64.b64encode(bytes(range(30))).decode()
HEAD = "v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"
AUDIO = HEAD + "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"


def media(lines: str, m: str = "m=audio 4000 RTP/AVP 0") -> Media:
    return sdp.parse(HEAD + m + "\r\n" + lines).media[0]


def test_a_plain_offer():
    session = sdp.parse(AUDIO)
    assert (session.session_id, session.version, session.address) == (1, 2, "10.0.0.1")
    (audio,) = session.media
    assert (audio.kind, audio.port, audio.protocol, audio.address) == ("audio", 4000, "RTP/AVP", "10.0.0.1")
    assert audio.codecs == (
        Codec(0, "PCMU", 8000),
        Codec(8, "PCMA", 8000),
        Codec(101, DTMF, 8000, fmtp="0-16"),
    )
    assert audio.direction is Direction.SENDRECV
    assert (audio.ptime, audio.maxptime, audio.rtcp_port, audio.rtcp_mux) == (0, 0, 0, False)


def test_a_line_ends_with_lf_or_crlf_and_the_last_may_lack_it():
    assert sdp.parse(AUDIO.replace("\r\n", "\n").rstrip()) == sdp.parse(AUDIO)


def test_unknown_lines_and_attributes_are_skipped():
    odd = "i=x\r\nk=clear:x\r\na=\r\na=x-nortpproxy:yes\r\na=ssrc:1 cname:x\r\nb=AS:64\r\n"
    assert sdp.parse(AUDIO + odd) == sdp.parse(AUDIO)


def test_the_section_overrides_the_session():
    session = sdp.parse(
        HEAD.replace("t=0 0", "t=0 0\r\na=inactive")
        + "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.9\r\na=sendonly\r\nm=audio 4002 RTP/AVP 8\r\n"
    )
    assert [m.address for m in session.media] == ["10.0.0.9", "10.0.0.1"]
    assert [m.direction for m in session.media] == [Direction.SENDONLY, Direction.INACTIVE]


def test_rtcp_attributes():
    assert media("a=rtcp:4500\r\n").rtcp_port == 4500
    other = media("a=rtcp:4500 IN IP4 10.0.0.7\r\na=rtcp-mux\r\n")
    assert (other.rtcp_port, other.rtcp_address, other.rtcp_mux) == (4500, "10.0.0.7", True)
    assert media("b=RS:0\r\nb=RR:0\r\n").no_rtcp
    assert not media("b=RS:0\r\nb=RR:800\r\n").no_rtcp


def test_packet_times():
    assert (media("a=ptime:30\r\n").ptime, media("a=maxptime:60\r\n").maxptime) == (30, 60)
    assert media("a=ptime:20.0\r\n").ptime == 20


def test_ipv6():
    session = sdp.parse(AUDIO.replace("IP4 10.0.0.1", "IP6 2001:db8::1"))
    assert session.media[0].address == "2001:db8::1"


def test_a_dynamic_number_without_a_map_is_no_codec():
    assert media("", "m=audio 4000 RTP/AVP 96 0").codecs == (Codec(0, "PCMU", 8000),)


def test_a_map_without_a_clock_rate_means_nothing():
    """RFC 4475's own messages have one, in a section that nobody takes."""
    assert media("a=rtpmap:31 LPC\r\n", "m=video 3227 RTP/AVP 31").codecs == ()


def test_a_static_number_may_be_mapped_to_something_else():
    assert media("a=rtpmap:0 opus/48000/2\r\n").codecs == (Codec(0, "OPUS", 48000, 2),)


def test_other_media_are_kept_as_they_stand():
    section = media("", "m=application 5000 UDP/BFCP *")
    assert (section.kind, section.formats, section.codecs) == ("application", ("*",), ())


def test_crypto_lines():
    good = media(f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\n").crypto
    assert good == (Crypto(1, "AES_CM_128_HMAC_SHA1_80", bytes(range(30))),)
    unpadded = media(
        f"a=crypto:7 AES_256_CM_HMAC_SHA1_80 inline:{base64.b64encode(bytes(46)).decode().rstrip('=')}\r\n"
    )
    assert unpadded.crypto[0].key == bytes(46)


@pytest.mark.parametrize(
    "line",
    [
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4",  # an MKI goes into every packet
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP",
        f"1 F8_128_HMAC_SHA1_80 inline:{KEY}",
    ],
)
def test_a_crypto_line_that_asks_for_more_than_we_do_is_kept_and_not_usable(line):
    (crypto,) = media(f"a=crypto:{line}\r\n").crypto
    assert not crypto.usable


def test_a_crypto_parameter_with_a_dash_may_be_ignored():
    assert media(f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} -WSH=64\r\n").crypto[0].usable


REFUSED = [
    (Refusal.TOO_LONG, AUDIO + "a=x\r\n" * 5000),
    (Refusal.TOO_MANY_LINES, AUDIO + "a=x\r\n" * 500),
    (Refusal.LINE_TOO_LONG, AUDIO + "a=" + "x" * 2000 + "\r\n"),
    (Refusal.NOT_TEXT, AUDIO + "a=x\x00y\r\n"),
    (Refusal.BAD_LINE, AUDIO + "hello\r\n"),
    (Refusal.BAD_LINE, ""),
    (Refusal.BAD_VERSION, AUDIO.replace("v=0", "v=1")),
    (Refusal.BAD_VERSION, "a=v=0\r\n"),
    (Refusal.BAD_ORIGIN, AUDIO.replace("o=- 1 2 IN", "o=- -1 2 IN")),
    (Refusal.BAD_ORIGIN, AUDIO.replace("o=- 1 2 IN IP4 10.0.0.1\r\n", "")),
    (
        Refusal.BAD_ORIGIN,
        AUDIO.replace("o=- 1 2 IN", "o=- " + "9" * 5000 + " 2 IN").replace("9" * 900, "9" * 100)[:1024],
    ),
    (Refusal.BAD_CONNECTION, AUDIO.replace("c=IN IP4 10.0.0.1", "c=IN IP6 10.0.0.1")),
    (Refusal.BAD_CONNECTION, AUDIO.replace("c=IN IP4 10.0.0.1", "c=IN IP6 fe80::1%eth0")),
    (Refusal.BAD_CONNECTION, AUDIO.replace("c=IN IP4 10.0.0.1", "c=IN")),
    (Refusal.HOST_NAME, AUDIO.replace("c=IN IP4 10.0.0.1", "c=IN IP4 slow.example.com")),
    (Refusal.HOST_NAME, AUDIO.replace("c=IN IP4 10.0.0.1", "c=IN IP4 010.0.0.1")),
    (Refusal.MULTICAST, AUDIO.replace("c=IN IP4 10.0.0.1", "c=IN IP4 224.2.1.1/127")),
    (Refusal.MULTICAST, AUDIO.replace("c=IN IP4 10.0.0.1", "c=IN IP4 255.255.255.255")),
    (Refusal.BAD_MEDIA, HEAD + "m=audio 4000\r\n"),
    (Refusal.BAD_MEDIA, HEAD + "m=audio 4000 RTP/AVP\ufffd 0\r\n"),
    (Refusal.TOO_MANY_MEDIA, HEAD + "m=audio 4000 RTP/AVP 0\r\n" * 17),
    (Refusal.TOO_MANY_FORMATS, HEAD + "m=audio 4000 RTP/AVP" + " 0" * 33 + "\r\n"),
    (Refusal.TOO_MANY_ATTRIBUTES, AUDIO + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n" * 61),
    (Refusal.BAD_PORT, AUDIO.replace("4000", "65536")),
    (Refusal.BAD_PORT, AUDIO.replace("4000", "-1")),
    (Refusal.BAD_PORT, AUDIO.replace("4000", "٤٠٠٠")),
    (Refusal.BAD_PORT, AUDIO.replace("4000", "1_000")),
    (Refusal.BAD_PAYLOAD_TYPE, AUDIO.replace("AVP 0", "AVP 128")),
    (Refusal.BAD_PAYLOAD_TYPE, AUDIO.replace("AVP 0", "AVP PCMU")),
    (Refusal.BAD_RTPMAP, AUDIO + "a=rtpmap:97 PCMU/\r\n"),
    (Refusal.BAD_RTPMAP, AUDIO + "a=rtpmap:x PCMU/8000\r\n"),
    (Refusal.BAD_RTPMAP, AUDIO + "a=rtpmap:97 L16/8000/99\r\n"),
    (Refusal.BAD_CLOCK_RATE, AUDIO + "a=rtpmap:97 PCMU/0\r\n"),
    (Refusal.BAD_CLOCK_RATE, AUDIO + "a=rtpmap:97 PCMU/4294967296\r\n"),
    (Refusal.BAD_PTIME, AUDIO + "a=ptime:1\r\n"),
    (Refusal.BAD_PTIME, AUDIO + "a=ptime:255\r\n"),
    (Refusal.BAD_PTIME, AUDIO + "a=ptime:0\r\n"),
    (Refusal.BAD_PTIME, AUDIO + "a=maxptime:-20\r\n"),
    (Refusal.BAD_RTCP, AUDIO + "a=rtcp:99999\r\n"),
    (Refusal.BAD_RTCP, AUDIO + "a=rtcp:4001 IN\r\n"),
    (Refusal.BAD_CRYPTO, AUDIO + "a=crypto:1\r\n"),
    (Refusal.BAD_CRYPTO, AUDIO + "a=crypto:x AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n"),
    (Refusal.BAD_CRYPTO, AUDIO + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n"),
    (Refusal.BAD_CRYPTO, AUDIO + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:é\r\n"),
    (Refusal.NO_CONNECTION, AUDIO.replace("c=IN IP4 10.0.0.1\r\n", "")),
]


@pytest.mark.parametrize(("refusal", "text"), REFUSED, ids=lambda v: v.label if isinstance(v, Refusal) else "")
def test_the_absurd_is_refused_by_name(refusal, text):
    with pytest.raises(SdpRefused) as caught:
        sdp.parse(text)
    assert caught.value.refusal is refusal


def test_every_refusal_of_the_grammar_is_shown_above():
    grammar = list(Refusal)[: list(Refusal).index(Refusal.NO_AUDIO)]
    assert {refusal for refusal, _ in REFUSED} == set(grammar)


def test_a_refused_key_is_not_told():
    with pytest.raises(SdpRefused) as caught:
        sdp.parse(AUDIO + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}AAAA\r\n")
    assert KEY not in str(caught.value)


def test_a_rejected_section_keeps_its_place_and_formats():
    video = media("a=rtpmap:99 H264/90000\r\n", "m=video 5000 RTP/AVP 99 98")
    text = sdp.render(Session(1, 1, "10.0.0.2", (sdp.rejected(video),)))
    assert "m=video 0 RTP/AVP 99 98\r\n" in text
    assert "H264" not in text


ADDRESSES = st.ip_addresses().filter(lambda a: not a.is_multicast and str(a) != "255.255.255.255").map(str)
CODECS = st.lists(
    st.sampled_from(
        [
            Codec(0, "PCMU", 8000),
            Codec(8, "PCMA", 8000),
            Codec(13, "CN", 8000),
            Codec(96, "OPUS", 48000, 2, "useinbandfec=1"),
            Codec(101, DTMF, 8000, fmtp="0-15"),
        ]
    ),
    min_size=1,
    unique=True,
)
CRYPTOS = st.lists(
    st.sampled_from(sorted(SUITES)).flatmap(
        lambda suite: st.builds(
            Crypto,
            tag=st.integers(0, 999_999_999),
            suite=st.just(suite),
            key=st.binary(min_size=SUITES[suite], max_size=SUITES[suite]),
        )
    ),
    max_size=4,
)


@st.composite
def sections(draw):
    codecs = tuple(draw(CODECS))
    rtcp_port = draw(st.integers(0, 65535))
    return Media(
        kind="audio",
        port=draw(st.integers(1, 65535)),
        protocol=draw(st.sampled_from(["RTP/AVP", "RTP/SAVP"])),
        formats=tuple(str(codec.payload_type) for codec in codecs),
        address=draw(ADDRESSES),
        codecs=codecs,
        direction=draw(st.sampled_from(Direction)),
        ptime=draw(st.sampled_from([0, 10, 20, 60])),
        maxptime=draw(st.sampled_from([0, 20, 150])),
        rtcp_port=rtcp_port,
        rtcp_address=draw(ADDRESSES) if rtcp_port and draw(st.booleans()) else "",
        rtcp_mux=draw(st.booleans()),
        no_rtcp=draw(st.booleans()),
        crypto=tuple(draw(CRYPTOS)),
    )


SESSIONS = st.builds(
    Session,
    session_id=st.integers(0, 2**63),
    version=st.integers(0, 2**63),
    address=ADDRESSES,
    media=st.lists(sections(), min_size=1, max_size=4).map(tuple),
)


@given(SESSIONS)
def test_reading_undoes_writing(session):
    assert sdp.parse(sdp.render(session)) == session


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(SdpRefused):
        sdp.parse(text)


@given(
    st.lists(
        st.sampled_from([*AUDIO.split("\r\n"), f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}", "a=rtcp:9"]).flatmap(
            lambda line: st.tuples(st.just(line), st.integers(0, 80), st.characters())
        ),
        max_size=12,
    )
)
def test_a_mutated_offer_is_read_or_refused(lines):
    text = "\r\n".join(["v=0", *(line[:at] + char + line[at + 1 :] for line, at, char in lines)])
    try:
        session = sdp.parse(text)
    except SdpRefused:
        return
    for section in session.media:
        assert 0 <= section.port <= 65535
        assert all(0 <= codec.payload_type <= 127 and codec.rate > 0 for codec in section.codecs)
