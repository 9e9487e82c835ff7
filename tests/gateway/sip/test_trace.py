"""What is kept of the wire, for whom there is room, what is never shown, and what goes to Homer."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import trace
from gateway.sip.events import TraceWanted, WireMessage
from gateway.sip.stack import Wire
from gateway.sip.trace import HIDDEN, MAX_ANSWER, Exporter, Memory, Tracer, redact
from gateway.transports import Trace

INVITE = "INVITE sip:a@b SIP/2.0\r\nCall-ID: {}\r\n\r\n"


def message(text, at=0):
    return WireMessage(at, False, "udp", "192.0.2.1:5060", "192.0.2.2:5060", text)


def wire(call_id="c", raw=None, sent=False, transport="UDP", remote=("192.0.2.2", 5062)):
    return Wire(sent, transport, ("192.0.2.1", 5060), remote, call_id, raw or INVITE.format(call_id))


def test_passwords_and_media_keys_are_hidden_and_the_rest_is_not():
    text = (
        "INVITE sip:a@b SIP/2.0\r\n"
        'Authorization: Digest username="u", response="deadbeef",\r\n\tnonce="abc"\r\n'
        'proxy-authorization : Digest response="cafe"\r\nWWW-Authenticate: Digest nonce="n"\r\n'
        "Subject: authorization: of nobody\r\n\r\n"
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9|2^20|1:4\r\n"
        "a=crypto:2 X INLINE:AAAA;inline:BBBB\r\n"
    )
    seen = redact(text)
    for secret in ("deadbeef", "abc", "cafe", "WVNf", "AAAA", "BBBB"):
        assert secret not in seen
    assert seen.count(HIDDEN) == 5
    for kept in ('WWW-Authenticate: Digest nonce="n"', "Authorization: Digest", "|2^20|1:4", "of nobody"):
        assert kept in seen


@given(st.text(alphabet="aA:;\r\n\t inlezutho-P", max_size=80))
def test_redaction_ends_and_is_done_once(text):
    assert redact(redact(text)).count(HIDDEN) >= redact(text).count(HIDDEN)


def test_the_latest_messages_of_a_call_are_kept():
    memory = Memory(100_000, each=3)
    for number in range(5):
        memory.add("c", message(INVITE.format(number)))
    assert [m.text for m in memory.of("c")] == [INVITE.format(number) for number in (2, 3, 4)]


def test_only_invite_dialogs_are_kept():
    memory = Memory(100_000, each=3)
    memory.add("c", message("OPTIONS sip:a@b SIP/2.0\r\n\r\n"))
    assert memory.of("c") == []
    assert memory.octets == 0
    memory.add("d", message(INVITE))
    memory.add("d", message("SIP/2.0 100 Trying\r\n\r\n"))
    assert len(memory.of("d")) == 2


def test_a_flood_of_strangers_does_not_drive_out_a_call():
    memory = Memory(80_000, each=10)
    memory.add("mine", message(INVITE))
    memory.admit("mine")
    for number in range(1000):
        memory.add(f"scanner-{number}", message(INVITE + "x" * 100))
    memory.add("mine", message("SIP/2.0 200 OK\r\n\r\n"))
    assert len(memory.of("mine")) == 2
    assert memory.octets <= 80_000
    assert memory.of("scanner-0") == []
    assert memory.of("scanner-999")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3000), st.booleans()), max_size=60))
def test_the_bound_holds_whatever_comes(steps):
    memory = Memory(8_000, each=4)
    for call_id, size, admitted in steps:
        memory.add(call_id, message(INVITE + "x" * size))
        if admitted:
            memory.admit(call_id)
        assert memory.octets <= 8_000
        assert len(memory.of(call_id)) <= 4


def test_a_tracer_keeps_what_passed_in_order_without_secrets():
    tracer = Tracer(Memory(100_000, 10), None)
    tracer.take(wire(raw="INVITE sip:a@b SIP/2.0\r\nAuthorization: Digest response=1\r\n\r\n"), 1_000)
    tracer.take(wire(raw="SIP/2.0 200 OK\r\n\r\n", sent=True, remote=("::1", 5060), transport="TLS"), 2_000)
    first, second = tracer.memory.of("c")
    assert (first.time_us, first.sent, first.transport, first.remote) == (1_000, False, "udp", "192.0.2.2:5062")
    assert f"Authorization: Digest {HIDDEN}" in first.text
    assert (second.time_us, second.sent, second.transport, second.remote) == (2_000, True, "tls", "[::1]:5060")
    assert tracer.exported == {"homer_sent": 0, "homer_dropped": 0}


@pytest.fixture
def homer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def test_a_call_that_is_announced_is_kept_from_its_first_message():
    memory = Memory(80_000, each=10)
    memory.admit("ours")
    for number in range(1000):
        memory.add(f"scanner-{number}", message(INVITE))
    memory.add("ours", message(INVITE))
    memory.add("ours", message("SIP/2.0 100 Trying\r\n\r\n"))
    assert len(memory.of("ours")) == 2


def test_an_answer_holds_the_latest_that_fits():
    tracer = Tracer(Memory(1_000_000, 40), None)
    for number in range(40):
        tracer.take(wire(raw=INVITE.format("c") + "x" * 10_000), number)
    answer = tracer.answer(TraceWanted(7, "c"))
    assert answer.request == 7
    assert [m.time_us for m in answer.messages] == list(range(40 - MAX_ANSWER // 10_040, 40))
    assert tracer.answer(TraceWanted(8, "nobody")).messages == []


def test_homer_without_a_meaning_is_done_without():
    warnings = []
    made = trace.tracer(Trace.model_validate({"homer": {"address": "no-such-host.invalid:9060"}}), warnings.append)
    assert "no-such-host.invalid" in warnings[0]
    made.take(wire(), 1)
    assert len(made.memory.of("c")) == 1


def test_homer_gets_each_message_from_whom_it_came(homer):
    exporter = Exporter(homer.getsockname(), 7)
    tracer = Tracer(Memory(0, 1), exporter)
    tracer.take(wire(), 5)
    tracer.take(wire(raw="a=crypto:1 X inline:SECRET|\r\n", sent=True), 6)
    received, sent = homer.recv(65535), homer.recv(65535)
    ours, theirs = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
    assert received.index(theirs) < received.index(ours)
    assert sent.index(ours) < sent.index(theirs)
    assert b"SECRET" not in sent
    assert tracer.exported == {"homer_sent": 2, "homer_dropped": 0}
    assert tracer.memory.octets == 0
    exporter.close()


def test_what_can_not_be_sent_is_counted(homer):
    exporter = Exporter(homer.getsockname(), 7)
    exporter.send(wire(raw="x" * 66_000), 1)
    assert (exporter.sent, exporter.dropped) == (0, 1)
    exporter.close()
