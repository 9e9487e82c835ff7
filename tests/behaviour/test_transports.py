"""Every transport of a real sip process: who is believed over TLS, what a Contact shows, how long a message may be."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.sip import events, negotiation, pieces, sdp
from gateway.sip.negotiation import Terms
from tests.support.certificates import Authority, Pair
from tests.support.sip import OFFER, PATIENCE_S, Controller, Peer, sip_process

BINDS = [
    {"transport": "udp", "address": "127.0.0.1:0"},
    {"transport": "udp", "address": "127.0.0.2:0", "advertise": "192.0.2.77"},
    {"transport": "udp", "address": "[::1]:0"},
    {"transport": "tcp", "address": "127.0.0.1:0"},
    {"transport": "tcp", "address": "[::1]:0"},
    {"transport": "tls", "address": "127.0.0.1:0"},
    {"transport": "tls", "address": "[::1]:0"},
]
HOSTS = ("127.0.0.1", "127.0.0.2", "::1", "127.0.0.1", "::1", "127.0.0.1", "::1")
SHOWN = ("127.0.0.1", "192.0.2.77", "[::1]", "127.0.0.1", "[::1]", "127.0.0.1", "[::1]")
OFFER6 = OFFER.replace("IP4 127.0.0.1", "IP6 ::1")


class Gateway:
    """A sip process with all transports, and what it shows."""

    def __init__(self, controller: Controller, authority: Authority, pair: Pair) -> None:
        self.controller, self.authority, self.pair = controller, authority, pair
        self.ports = [int(line.rpartition(":")[2]) for line in controller.ready.listening]

    def context(self, client: Pair | None = None, maximum: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if client is not None:
            context.load_cert_chain(*client)
        if maximum is not None:
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = maximum
        return context

    def peer(self, number: int) -> Peer:
        context = self.context() if BINDS[number]["transport"] == "tls" else None
        return Peer(self.ports[number], str(BINDS[number]["transport"]), HOSTS[number], context)

    def answer(self, peer: Peer, offer: str = OFFER, extra: str = "") -> tuple[events.Invited, Any]:
        """An INVITE taken, acknowledged and ended; what was told of it, and the 200."""
        peer.send(peer.request("INVITE", offer, extra))
        invited = self.controller.expect(events.Invited, lambda e: e.sip_call_id == peer.call_id)
        ours = Terms("::1" if "IP6" in offer else "127.0.0.1", 20000)
        assert invited.sdp is not None
        self.controller.send(events.Accept(invited.dialog, negotiation.answer(sdp.parse(invited.sdp), ours).sdp))
        ok = peer.expect("200")
        peer.send(peer.request("ACK"))
        self.controller.expect(events.Acknowledged, lambda e: e.dialog == invited.dialog)
        peer.send(peer.request("BYE"))
        peer.expect("200")
        self.controller.expect(events.Ended, lambda e: e.dialog == invited.dialog)
        return invited, ok


def _tls(pair: Pair, authority: Authority, **more: str) -> dict[str, str]:
    return {"certificate": str(pair.certificate), "key": str(pair.key), "ca_file": str(authority.file), **more}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    pair = authority.issue("gateway", days=30)
    with sip_process(folder / "log", bind=BINDS, tls=_tls(pair, authority), keepalive_s=1) as controller:
        controller.send(events.SetReadiness(True))
        yield Gateway(controller, authority, pair)


@pytest.mark.parametrize("number", range(len(BINDS)))
def test_each_takes_a_call_and_shows_its_own_address(gateway: Gateway, number: int) -> None:
    peer = gateway.peer(number)
    invited, ok = gateway.answer(peer, OFFER6 if ":" in HOSTS[number] else OFFER)
    assert invited.transport == BINDS[number]["transport"]
    assert invited.source == peer.here
    assert re.search(rf"@{re.escape(SHOWN[number])}:{gateway.ports[number]}\b", ok.get("contact"))
    peer.close()


def test_the_end_of_the_certificate_is_told(gateway: Gateway) -> None:
    taken = gateway.controller.expect(events.CertificateTaken)
    assert not taken.problem
    assert 29.9 < (taken.expires_unix - time.time()) / 86_400 < 30.1


def test_a_stranger_to_the_authority_is_not_believed_by_its_peers(gateway: Gateway) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Peer(gateway.ports[5], "tls", "127.0.0.1", ssl.create_default_context())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_less_than_tls_1_2_is_refused(gateway: Gateway) -> None:
    with pytest.raises(ssl.SSLError):
        Peer(gateway.ports[5], "tls", "127.0.0.1", gateway.context(maximum=ssl.TLSVersion.TLSv1_1))


def _long(size: int) -> str:
    """An offer of that many octets, all of it legal."""
    line = "a=x-note:" + "n" * 180 + "\r\n"
    return OFFER + line * min(50, (size - len(OFFER)) // len(line))


@pytest.mark.parametrize("number", [0, 2, 3, 5])
@pytest.mark.parametrize("size", [2_000, 9_000])
def test_an_invite_longer_than_a_packet_of_the_network(gateway: Gateway, number: int, size: int) -> None:
    offer = _long(size)
    offer = offer.replace("IP4 127.0.0.1", "IP6 ::1") if ":" in HOSTS[number] else offer
    peer = gateway.peer(number)
    history = "".join(f"X-History: {'h' * 500}\r\n" for _ in range(size // 2000))
    invited, _ = gateway.answer(peer, offer, history)
    assert invited.sdp is not None
    assert len(invited.sdp) > size * 0.9
    peer.close()


def test_a_stream_may_bring_a_message_in_pieces(gateway: Gateway) -> None:
    peer = gateway.peer(3)
    raw = peer.request("OPTIONS").encode()
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(raw), 50):
        peer.send(raw[at : at + 50])
        time.sleep(0.005)
    assert peer.expect("200").get("cseq") == "1 OPTIONS"
    peer.close()


@pytest.mark.parametrize("number", [3, 5])
def test_a_quiet_connection_is_kept_alive_from_both_sides(gateway: Gateway, number: int) -> None:
    peer = gateway.peer(number)
    peer.send(peer.request("OPTIONS"))
    peer.expect("200")
    assert peer.sock.recv(100).strip(b"\r\n") == b""  # RFC 5626 §3.5.1, theirs
    peer.send(b"\r\n\r\n" * 3)  # and ours
    peer._stream, peer.to_tag = b"", ""
    peer.send(peer.request("OPTIONS"))
    deadline = time.monotonic() + PATIENCE_S
    data = b""
    while b"SIP/2.0 200" not in data:
        assert time.monotonic() < deadline
        data += peer.sock.recv(4096)
    peer.close()


def test_a_line_end_in_a_datagram_is_no_message(gateway: Gateway) -> None:
    peer = gateway.peer(0)
    peer.send(b"\r\n\r\n")
    peer.send(peer.request("OPTIONS"))
    peer.expect("200")
    peer.close()


def _shown(port: int, context: ssl.SSLContext) -> int:
    """The serial number of what is shown to a new connection."""
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
        certificate = wrapped.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)


def test_another_certificate_is_shown_to_new_connections_and_the_old_ones_stay(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("gateway", days=5)
    binds = [{"transport": "tls", "address": "127.0.0.1:0"}]
    with sip_process(tmp_path / "log", bind=binds, tls=_tls(pair, authority)) as controller:
        controller.send(events.SetReadiness(True))
        gateway = Gateway(controller, authority, pair)
        controller.expect(events.CertificateTaken)
        running = Peer(controller.port, "tls", "127.0.0.1", gateway.context())
        running.send(running.request("INVITE", OFFER))
        invited = controller.expect(events.Invited)
        before = _shown(controller.port, gateway.context())

        fresh = json.dumps({"sip": {"bind": binds, "tls": _tls(authority.issue("gateway", days=50), authority)}})
        for piece in pieces.cut(fresh.encode()):
            controller.send(piece)
        taken = controller.expect(events.CertificateTaken)
        assert not taken.problem
        assert 49 < (taken.expires_unix - time.time()) / 86_400 < 51
        assert _shown(controller.port, gateway.context()) != before

        # The connection of the call has outlived the listener that it came by.
        controller.send(events.Accept(invited.dialog, negotiation.answer(sdp.parse(OFFER), Terms("127.0.0.1", 2)).sdp))
        running.expect("200")
        running.send(running.request("ACK"))
        controller.expect(events.Acknowledged)
        controller.send(events.Hangup(invited.dialog, "done"))
        running.reply(running.expect("BYE"))
        controller.expect(events.Ended)
        running.close()

        (tmp_path / "gateway.key").write_text("no key")
        serial = _shown(controller.port, gateway.context())
        for piece in pieces.cut(fresh.encode()):
            controller.send(piece)
        assert "sip.tls.key" in controller.expect(events.CertificateTaken).problem
        assert _shown(controller.port, gateway.context()) == serial


def test_a_client_has_to_show_a_certificate_where_one_is_required(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "somebody else")
    pair = authority.issue("gateway")
    binds = [{"transport": "tls", "address": "127.0.0.1:0"}]
    tls = _tls(pair, authority, client_certificates="required", minimum="tls1.3")
    with sip_process(tmp_path / "log", bind=binds, tls=tls) as controller:
        controller.send(events.SetReadiness(True))
        gateway = Gateway(controller, authority, pair)
        peer = Peer(controller.port, "tls", "127.0.0.1", gateway.context(authority.issue("pbx")))
        peer.send(peer.request("OPTIONS"))
        peer.expect("200")
        assert peer.sock.version() == "TLSv1.3"  # type: ignore[attr-defined]
        for stranger in (None, other.issue("stranger")):
            # TLS 1.3 tells a client of it with the first read.
            refused = Peer(controller.port, "tls", "127.0.0.1", gateway.context(stranger))
            with contextlib.suppress(OSError):
                refused.send(refused.request("OPTIONS"))
            with pytest.raises((OSError, AssertionError)):
                refused.expect("200")
        with pytest.raises(ssl.SSLError):
            Peer(controller.port, "tls", "127.0.0.1", gateway.context(maximum=ssl.TLSVersion.TLSv1_2))


def test_the_wire_is_traced_over_every_transport(gateway: Gateway) -> None:
    peer = gateway.peer(5)
    key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20\r\n"
    gateway.answer(peer, OFFER + key, 'Authorization: Digest username="a", response="feedface"\r\n')
    gateway.controller.send(events.TraceWanted(5, peer.call_id))
    traced = gateway.controller.expect(events.Traced)
    starts = [(message.sent, message.text.split("\r\n")[0]) for message in traced.messages]
    assert [sent for sent, _ in starts] == [False, True, True, False, False, True]
    assert [start.split(" ")[0] if not sent else start[8:11] for sent, start in starts] == [
        *("INVITE", "100", "200", "ACK", "BYE", "200"),
    ]
    assert {message.transport for message in traced.messages} == {"tls"}
    assert traced.messages[0].remote == peer.here
    text = "".join(message.text for message in traced.messages)
    assert "feedface" not in text
    assert "WVNfX19z" not in text
    peer.close()


def test_nothing_failed_meanwhile(gateway: Gateway) -> None:
    gateway.controller.receive(1.5)
    assert gateway.controller.counters["callback_faults"] == 0
