"""Messages that ended SIP stacks before, to the real daemon: each is answered or refused, and nobody is hurt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from rig import processes
from rig.daemon import HOST, Daemon, free_port

from gateway.sip import headers
from tests.support.sip import OFFER, Peer

KEYS = "".join(
    f"a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
    for tag in range(1, 71)
)
MULTIPART = "multipart/mixed;boundary=b"
PART = f"--b\r\nContent-Type: application/sdp\r\n\r\n{OFFER}--b--\r\n"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Every user part has a route but those of sessions, which must exist."""
    address = f"{HOST}:{free_port()}"
    sip = {"bind": [{"transport": transport, "address": address} for transport in ("udp", "tcp")]}
    routes = [{"name": "any", "mode": "bidirectional_translation"}]
    with Daemon(capacity=8, changes={"sip": sip, "routes": routes}) as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(daemon: Daemon) -> Iterator[None]:
    """The same processes before and after, a stack that answers, and no call left."""
    before = processes.roles(daemon.pid)
    yield
    with peer(daemon) as alive:
        alive.send(alive.request("OPTIONS"))
        alive.expect("200")
    assert processes.roles(daemon.pid) == before


@contextlib.contextmanager
def peer(daemon: Daemon, transport: str = "udp") -> Iterator[Peer]:
    made = Peer(int(daemon.sip_address.rpartition(":")[2]), transport)
    try:
        yield made
    finally:
        made.close()


def code(message: headers.Message) -> int:
    return int(message.start.split(" ")[1])


def final(peer: Peer) -> headers.Message:
    while True:
        message = peer.receive()
        if message.start.startswith("SIP/2.0 ") and code(message) >= 200:
            to = message.get("to") or ""
            peer.to_tag = ";tag=" + to.partition(";tag=")[2]
            return message


def call(peer: Peer, sdp: str = OFFER, **how: str) -> int:
    """INVITE, its final answer, ACK; a call that came of it is ended."""
    peer.send(peer.request("INVITE", sdp, user="bob", **how))
    got = code(final(peer))
    peer.send(peer.request("ACK", user="bob", same=got >= 300))
    if got < 300:
        peer.send(peer.request("BYE", user="bob"))
        assert code(final(peer)) == 200
    return got


both = pytest.mark.parametrize("transport", ["udp", "tcp"])


@both
def test_more_crypto_lines_than_an_array_once_held(daemon: Daemon, transport: str) -> None:
    with peer(daemon, transport) as caller:
        assert call(caller, OFFER + KEYS) == 488


@both
@pytest.mark.parametrize("body", ["--b--\r\n", "--b\r\n\r\n--b--\r\n", "nothing of the kind\r\n", "--b\r\n"])
def test_an_empty_multipart(daemon: Daemon, transport: str, body: str) -> None:
    with peer(daemon, transport) as caller:
        assert call(caller, body, content_type=MULTIPART) == 400


@both
def test_a_multipart_without_a_boundary(daemon: Daemon, transport: str) -> None:
    with peer(daemon, transport) as caller:
        assert call(caller, PART, content_type="multipart/mixed") == 400


@both
def test_a_multipart_with_a_description_in_it(daemon: Daemon, transport: str) -> None:
    with peer(daemon, transport) as caller:
        assert call(caller, PART, content_type=MULTIPART) == 200


def test_two_content_lengths(daemon: Daemon) -> None:
    with peer(daemon) as caller:
        invite = caller.request("INVITE", OFFER, user="bob").replace("Content-Length:", "Content-Length: 3\r\nl:")
        caller.send(invite)
        caller.send(caller.request("OPTIONS"))
        assert caller.expect("200").get("cseq") == "2 OPTIONS"  # pjsip itself drops it without a word


@both
@pytest.mark.parametrize("ptime", [1, 255])
def test_a_packet_time_to_divide_by(daemon: Daemon, transport: str, ptime: int) -> None:
    with peer(daemon, transport) as caller:
        assert call(caller, f"{OFFER}a=ptime:{ptime}\r\n") == 488


@both
def test_a_body_of_no_kind(daemon: Daemon, transport: str) -> None:
    with peer(daemon, transport) as caller:
        assert call(caller, content_type="") == 400


@both
@pytest.mark.parametrize(
    ("formats", "names"),
    [
        ("0 8 0 8 101", "a=rtpmap:101 telephone-event/8000\r\n"),
        ("0 96 97 8 98", "".join(f"a=rtpmap:{number} PCMU/8000\r\n" for number in (96, 97, 98))),
    ],
)
def test_a_format_of_ours_that_is_offered_twice(daemon: Daemon, transport: str, formats: str, names: str) -> None:
    """pjmedia went on to look for the second one behind the end of a list."""
    with peer(daemon, transport) as caller:
        assert call(caller, OFFER.partition("m=")[0] + f"m=audio 4000 RTP/AVP {formats}\r\n{names}") == 200


@both
def test_no_offer_and_a_refusal(daemon: Daemon, transport: str) -> None:
    with peer(daemon, transport) as caller:
        caller.send(caller.request("INVITE", user="sess_01HZZZZZZZZZZZZZZZZZZZZZZZ"))
        assert code(final(caller)) == 404
        caller.send(caller.request("ACK", user="sess_01HZZZZZZZZZZZZZZZZZZZZZZZ", same=True))


@both
@pytest.mark.parametrize(
    "answer",
    [OFFER, OFFER + KEYS, OFFER + "a=ptime:255\r\n", "v=0\r\n", ""],
    ids=["good", "keys", "ptime", "bad", "none"],
)
def test_no_offer_and_an_answer_in_the_ack(daemon: Daemon, transport: str, answer: str) -> None:
    with peer(daemon, transport) as caller:
        caller.send(caller.request("INVITE", user="bob"))
        accepted = final(caller)
        assert (code(accepted), "m=audio" in accepted.body) == (200, True)
        caller.send(caller.request("ACK", answer, user="bob"))
        if answer == OFFER:
            caller.send(caller.request("BYE", user="bob"))
            assert code(final(caller)) == 200
        else:  # a call without an answer has no media: the gateway ends it
            caller.reply(caller.expect("BYE"))


@both
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("spoilt", [OFFER + KEYS, OFFER + "a=ptime:1\r\n", "v=0\r\n"], ids=["keys", "ptime", "bad"])
def test_the_same_within_a_call(daemon: Daemon, transport: str, method: str, spoilt: str) -> None:
    with peer(daemon, transport) as caller:
        caller.send(caller.request("INVITE", OFFER, user="bob"))
        assert code(final(caller)) == 200
        caller.send(caller.request("ACK", user="bob"))
        caller.send(caller.request(method, spoilt, user="bob"))
        assert code(final(caller)) in (400, 415, 488)  # pjsip's, or ours
        if method == "INVITE":
            caller.send(caller.request("ACK", user="bob", same=True))
        caller.send(caller.request("BYE", user="bob"))
        assert code(final(caller)) == 200
