"""Reading messages: RFC 3261's forms, the refusals by name, and that nothing of ours grows a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import headers
from gateway.sip.headers import COMPACT, Defect, Message, Refused, Uri

SDP = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def invite(body=SDP, start="INVITE sip:bob@10.0.0.2 SIP/2.0", extra="", content_type="application/sdp", length=None):
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    size = len(body.encode()) if length is None else length
    return (
        f"{start}\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n"
        f"Call-ID: 1@x\r\nCSeq: 1 INVITE\r\n{extra}{kind}Content-Length: {size}\r\n\r\n{body}"
    )


def refused(raw, max_bytes=65536):
    with pytest.raises(Refused) as caught:
        headers.inspect(raw, max_bytes)
    return caught.value.defect


def test_a_request_is_split():
    message = headers.split("INVITE sip:x SIP/2.0\r\nX-A: 1\r\nX-a:2\r\nSubject: a\r\n  b\r\n\tc\r\n\r\nbody")
    assert message == Message("INVITE sip:x SIP/2.0", (("x-a", "1"), ("x-a", "2"), ("subject", "a b c")), "body")
    assert (message.get("x-a"), message.all("x-a"), message.get("y")) == ("1", ["1", "2"], None)
    assert message.told() == {"x-a": "2", "subject": "a b c"}


@pytest.mark.parametrize(("short", "name"), COMPACT.items())
def test_compact_forms(short, name):
    assert headers.split(f"A\r\n{short.upper()}: v\r\n\r\n").headers == ((name, "v"),)


def test_what_is_told_is_bounded():
    many = "".join(f"X-{i}: v\r\n" for i in range(100))
    told = headers.split(f"A\r\n{many}X-Long: {'x' * 3000}\r\n\r\n").told()
    assert len(told) == headers.TOLD_HEADERS
    assert "x-long" not in told


def test_a_good_invite_passes_with_its_sdp():
    message, text = headers.inspect(invite(), 65536)
    assert message.get("call-id") == "1@x"
    assert text == SDP.replace("\r\n", "\n")
    assert headers.inspect(invite(body="", content_type=None), 65536)[1] is None


MULTIPART = "\r\n".join(
    ["--b", "Content-Type: text/plain", "", "hi", "--b", "Content-Type: application/sdp", "", SDP, "--b--", ""]
)


@pytest.mark.parametrize("boundary", ["multipart/mixed;boundary=b", 'multipart/mixed; x=1; boundary="b"'])
def test_sdp_in_a_multipart_body(boundary):
    _, text = headers.inspect(invite(MULTIPART, content_type=boundary), 65536)
    assert text is not None
    assert text.startswith("v=0\n")


def test_a_multipart_body_without_sdp():
    body = "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n"
    assert headers.inspect(invite(body, content_type="multipart/mixed;boundary=b"), 65536)[1] is None


@pytest.mark.parametrize(
    ("defect", "raw"),
    [
        (Defect.TOO_LARGE, invite(extra="X-A: " + "x" * 70000 + "\r\n")),
        (Defect.TOO_MANY_HEADERS, invite(extra="X-A: 1\r\n" * 130)),
        (Defect.HEADER_TOO_LONG, invite(extra="X-A: " + "x" * 9000 + "\r\n")),
        (Defect.HEADER_TOO_LONG, invite(extra="X-A: 1\r\n" + " xxxxxxxxxx\r\n" * 900)),
        (Defect.MALFORMED_HEADER, invite(extra="no colon\r\n")),
        (Defect.MALFORMED_HEADER, invite(extra="bad name: x\r\n")),
        (Defect.MALFORMED_HEADER, "INVITE sip:x SIP/2.0\r\n folded: x\r\n\r\n"),
        (Defect.BAD_CONTENT_LENGTH, invite(extra="Content-Length: 7\r\n")),
        (Defect.BAD_CONTENT_LENGTH, invite(extra="l: 7\r\n")),
        (Defect.BAD_CONTENT_LENGTH, invite(length=-1)),
        (Defect.BAD_CONTENT_LENGTH, invite(length="٣")),
        (Defect.BAD_CONTENT_LENGTH, invite(length=0)),
        (Defect.BAD_CONTENT_LENGTH, invite(length=10**12)),
        (Defect.BAD_CONTENT_LENGTH, invite(length=9999)),
        *(
            (Defect.MALFORMED_HEADER, invite(extra=f"{twice}\r\n"))
            for twice in ("t: <sip:a>", "Call-ID: 2", "f: <sip:a>")
        ),
        (Defect.NO_CONTENT_TYPE, invite(content_type=None)),
        (Defect.BAD_CONTENT_TYPE, invite(content_type="text/plain")),
        (Defect.EMPTY_MULTIPART, invite("--b--\r\n", content_type="multipart/mixed;boundary=b")),
        (Defect.EMPTY_MULTIPART, invite("--b\r\n--b\r\n--b--\r\n", content_type="multipart/mixed;boundary=b")),
        (Defect.EMPTY_MULTIPART, invite("x", content_type="multipart/mixed")),
        (
            Defect.EMPTY_MULTIPART,
            invite("--b\r\nContent-Type: application/sdp\r\n\r\n\r\n--b--", content_type="multipart/mixed;boundary=b"),
        ),
        (Defect.URI_TOO_LONG, invite(start=f"INVITE sip:{'x' * 2000}@y SIP/2.0")),
        (Defect.BAD_URI, invite(start="INVITE sip:x")),
        (Defect.BAD_VERSION, invite(start="INVITE sip:x SIP/7.0")),
        (Defect.CSEQ_MISMATCH, invite(start="OPTIONS sip:x SIP/2.0")),
        (Defect.BAD_SDP, invite(SDP.replace("RTP/AVP 0", "RTP/AVP 18"))),
        (Defect.BAD_SDP, invite(SDP.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF"))),
        (Defect.BAD_SDP, invite(SDP + "a=ptime:255\r\n")),
        (Defect.BAD_SDP, invite(SDP + "a=crypto:1 X inline:x\r\n" * 65)),
        (Defect.BAD_SDP, invite(SDP.replace("c=IN IP4 10.0.0.1", "c=IN IP4 slow.example.com"))),
    ],
)
def test_what_is_refused_at_the_door(defect, raw):
    assert refused(raw) is defect


def test_every_defect_is_a_final_refusal():
    for defect in Defect:
        assert 400 <= defect.code < 700
        assert defect.label == defect.name.lower()
        assert defect.words in str(Refused(defect, "why"))


def test_bytes_that_are_no_utf8():
    raw = b"INVITE sip:x@y SIP/2.0\r\nCSeq: 1 INVITE\r\nX-A: \xff\r\n\r\n".decode("utf-8", "surrogateescape")
    message, _ = headers.inspect(raw, 65536)
    assert message.get("x-a") == "\ufffd"


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:bob@10.0.0.2", Uri("sip", "bob", "10.0.0.2")),
        ("SIPS:bob@Example.com:5061", Uri("sips", "bob", "Example.com", 5061)),
        ("sip:10.0.0.2", Uri("sip", "", "10.0.0.2")),
        ("sip:[2001:db8::1]:5060", Uri("sip", "", "2001:db8::1", 5060)),
        (
            "sip:sess_1@gw;transport=tcp;Speaker=ag%65nt;lr?Subject=x",
            Uri("sip", "sess_1", "gw", 0, {"transport": "tcp", "speaker": "agent", "lr": ""}),
        ),
        ("sip:a%40b:pw@gw", Uri("sip", "a@b", "gw")),
        ("sip:+1;ext=2@gw", Uri("sip", "+1;ext=2", "gw")),
        ("sip:%c3%a9@gw", Uri("sip", "é", "gw")),
        ("sip:%ff%0d%0a@gw", Uri("sip", "\ufffd\ufffd\ufffd", "gw")),
        ('"Bob <x>" <sip:bob@gw;a=b>;tag=1', Uri("sip", "bob", "gw", 0, {"a": "b"})),
    ],
)
def test_uris(text, uri):
    assert headers.parse_uri(text) == uri


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob",
        "tel:+1",
        "sip:",
        "sip:@gw",
        "sip:bob@",
        "sip:bob@gw:x",
        "sip:bob@gw:99999",
        "sip:bob@[::1",
        "sip:bob@[::1]x",
        "sip:bob@g w",
        "sip:" + "x" * 2000 + "@gw",
    ],
)
def test_bad_uris(text):
    with pytest.raises(ValueError, match=r"."):
        headers.parse_uri(text)


def test_the_uri_of_an_address_header():
    assert headers.without_parameters('"A \\" <b" <sip:a@b;x=1>;tag=9') == "sip:a@b;x=1"
    assert headers.without_parameters("sip:a@b;tag=9") == "sip:a@b"


def test_a_header_of_ours_can_not_grow_a_line():
    assert headers.outgoing({"X-A": "a\r\nVia: evil", "bad name": "x", "X:B": "y"}) == [("X-A", "a Via: evil")]


@given(st.text())
def test_one_line_is_one_line(text):
    line = headers.one_line(text)
    assert not set(line) & set("\r\n\x00")
    line.encode()


def test_what_a_message_says_in_passing():
    assert headers.sdp_of(invite()) == SDP.replace("\r\n", "\n")
    assert headers.value_of(invite(), "call-id") == "1@x"
    for broken in ("", "INVITE\r\nno colon\r\n\r\nx", invite(content_type="text/plain")):
        assert headers.sdp_of(broken) is None
    assert headers.value_of("INVITE\r\nno colon\r\n\r\n", "call-id") == ""


def test_reasons():
    assert headers.reason("session ended") == 'Q.850;cause=16;text="session ended"'
    assert headers.reason('a "b"\r\nX: y', 31) == "Q.850;cause=31;text=\"a 'b' X: y\""
    assert headers.reason("") == "Q.850;cause=16"
    assert headers.reason('SIP;cause=503;text="x"') == 'SIP;cause=503;text="x"'


@given(st.text(max_size=300))
def test_any_text_is_taken_or_refused(text):
    for raw in (
        text,
        f"INVITE sip:a SIP/2.0\r\n{text}",
        invite(text),
        invite(text, content_type="multipart/x;boundary=b"),
    ):
        try:
            headers.inspect(raw, 65536)
        except Refused as error:
            assert error.defect in Defect  # noqa: PT017


@given(st.text(max_size=100))
def test_any_uri_is_read_or_refused(text):
    for candidate in (text, f"sip:{text}", f"sip:a@{text}"):
        try:
            uri = headers.parse_uri(candidate)
        except ValueError:
            continue
        assert uri.host
        assert 0 <= uri.port <= 65535
