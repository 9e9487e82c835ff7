"""The session's WebSocket over loopback: opening, losses, replay, giving up, TLS."""

from __future__ import annotations

import base64
import ssl
import subprocess
from pathlib import Path

import pytest

from gateway.config import Reconnect
from gateway.errors import Fault
from gateway.stream import messages
from gateway.stream.client import Address
from gateway.stream.connection import Over
from gateway.stream.pump import TEXT
from tests.support.stream_server import READY, Rig, Server, coroutine, frame, until


@coroutine
async def test_opens_with_a_token_and_plays_what_comes() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        assert server.paths == [b"/v1/stream?token=kst_1%26x"]
        audio = {"encoding": "mulaw", "sample_rate_hz": 8000, "payload": base64.b64encode(b"\x00\x01").decode()}
        peer.say({"type": "audio.output", "speaker": "agent", "target": "customer", "audio": audio})
        peer.say({"type": "audio.clear", "target": "customer"})
        await until(lambda: rig.record.said)
        assert [m.audio.payload for m in rig.record.played] == [b"\x00\x01"]
        assert rig.record.said == [messages.AudioClear("customer")]
        assert rig.client.sender is not None
        rig.client.sender.send(TEXT, frame(0))
        rig.client.send(messages.Dtmf("customer", "5", 100))
        await until(lambda: len(peer.received) == 2)
        assert peer.messages[1] == {"type": "dtmf", "speaker": "customer", "digit": "5", "duration_ms": 100}
        rig.client.stop()
        await until(lambda: server.closes)
        assert server.closes == [1000]
        assert rig.record.counts == ["connect ok"]
        assert rig.record.over == []


@coroutine
async def test_nothing_is_sent_before_session_ready() -> None:
    server = Server()
    server.greets = False
    async with server.run():
        rig = Rig(server)
        rig.client.start()
        await until(lambda: server.peers)
        rig.client.keep(frame(0))
        rig.client.send(messages.CallJoined("customer", "call_1"))
        assert rig.client.sender is None
        server.peers[0].say(READY)
        await until(lambda: server.peers[0].received)
        server.peers[0].say(READY)  # says nothing new
        server.peers[0].say({"type": "pong", "session_id": "sess_1"})
        await until(lambda: rig.record.said)
        assert [m["type"] for m in server.peers[0].messages] == ["call.joined"]
        assert rig.record.opened == [False]
        rig.client.stop()


@coroutine
async def test_a_lost_stream_comes_back_with_what_was_missed() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        peer.transport.disconnect(False)
        await until(lambda: rig.record.lost)
        assert rig.client.sender is None
        for n in range(3):
            rig.client.keep(frame(n))
        rig.client.send(messages.CallLeft("agent", "call_2"))
        await until(lambda: len(rig.record.opened) == 2)
        await until(lambda: len(server.peers[1].received) == 4)
        assert [m["type"] for m in server.peers[1].messages] == ["call.left", *["audio.input"] * 3]
        assert [m.get("sequence") for m in server.peers[1].messages[1:]] == [0, 1, 2]
        assert rig.record.opened == [False, True]
        assert rig.record.lost == [10]
        assert rig.asked == 2
        assert server.paths[1].endswith(b"token=kst_2%26x")
        assert "reconnect ok" in rig.record.counts
        rig.client.stop()


@coroutine
async def test_what_is_kept_is_bounded() -> None:
    async with Server().run() as server:
        rig = Rig(server, reconnect=Reconnect(first_ms=10, max_ms=20, keep_s=1))
        peer = await rig.open()
        rig.client.speakers(2)
        peer.transport.disconnect(False)
        await until(lambda: rig.record.lost)
        for n in range(110):
            rig.client.keep(frame(n))
        assert rig.client.frames_dropped == 10
        await until(lambda: len(server.peers) == 2 and len(server.peers[1].received) == 100)
        assert server.peers[1].messages[0]["sequence"] == 10
        rig.client.stop()


@coroutine
async def test_session_ended_ends_it() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        rig.client.send(messages.SessionEnd())
        await until(lambda: peer.received)
        peer.say({"type": "session.ended", "session_id": "sess_1", "reason": "explicit_end"})
        await until(lambda: rig.record.over)
        assert rig.record.over == [Over(Fault.SESSION_ENDED, "session_ended", "explicit_end")]
        assert "close session_ended" in rig.record.counts
        await until(lambda: server.closes)


@pytest.mark.parametrize(("status", "fault"), [(404, Fault.SESSION_NOT_FOUND), (409, Fault.SESSION_ENDED)])
def test_a_handshake_refused_for_good_is_the_end(status: int, fault: Fault) -> None:
    @coroutine
    async def story() -> None:
        server = Server()
        server.status = status
        async with server.run():
            rig = Rig(server)
            rig.client.start()
            await until(lambda: rig.record.over)
            assert [over.fault for over in rig.record.over] == [fault]
            assert rig.record.counts == ["connect refused"]

    story()


@coroutine
async def test_a_stale_token_is_replaced() -> None:
    server = Server()
    server.status = 401
    async with server.run():
        rig = Rig(server)
        rig.client.start()
        await until(lambda: len(server.paths) >= 2)
        server.status = 0
        await until(lambda: rig.client.is_open)
        assert len(set(server.paths)) == len(server.paths)
        rig.client.stop()


@coroutine
async def test_a_directory_that_says_ended_ends_the_search() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        rig.refusal = Fault.SESSION_ENDED
        peer.transport.disconnect(False)
        await until(lambda: rig.record.over)
        assert rig.record.over[0].fault is Fault.SESSION_ENDED


@coroutine
async def test_a_directory_that_is_away_is_asked_again() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        rig.refusal = Fault.SERVICE_UNAVAILABLE
        peer.transport.disconnect(False)
        await until(lambda: rig.asked >= 3)
        rig.refusal = None
        await until(lambda: rig.client.is_open)
        rig.client.stop()


@coroutine
async def test_a_url_that_is_none_is_asked_for_again() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        good, rig.host = rig.host, "a..b"
        peer.transport.disconnect(False)
        await until(lambda: rig.record.counts.count("connect failed") >= 2)
        rig.host = good
        await until(lambda: rig.client.is_open)
        rig.client.stop()


@coroutine
async def test_the_search_is_given_up() -> None:
    async with Server().run() as server:
        rig = Rig(server, reconnect=Reconnect(first_ms=10, max_ms=20, give_up_s=0))
        peer = await rig.open()
        peer.transport.disconnect(False)
        await until(lambda: rig.record.over)
        assert rig.record.over[0].reason == "stream_lost"
        assert "reconnect given_up" in rig.record.counts


@coroutine
async def test_a_server_that_never_is_ready() -> None:
    server = Server()
    server.greets = False
    async with server.run():
        rig = Rig(server, ready_timeout_s=0.05)
        rig.client.start()
        await until(lambda: rig.record.counts.count("connect not_ready") >= 2)
        assert rig.record.opened == []
        rig.client.stop()


@coroutine
async def test_nobody_listens() -> None:
    server = Server()
    async with server.run():
        pass
    rig = Rig(server)
    rig.client.start()
    await until(lambda: rig.record.counts.count("connect unreachable") >= 2)
    rig.client.stop()
    assert rig.record.lost == []


@coroutine
async def test_stopping_while_connecting_leaves_nothing_behind() -> None:
    server = Server()
    server.greets = False
    async with server.run():
        rig = Rig(server)
        rig.client.start()
        await until(lambda: server.peers)
        rig.client.stop()
        await until(lambda: server.closes or server.peers[0].transport.is_disconnected)
        assert rig.record.opened == []
        assert rig.record.over == []


def test_an_address_does_not_show_its_token() -> None:
    assert "kst" not in repr(Address("ws://x/stream", "kst_secret"))
    assert Address("ws://x/s?a=1", "k").with_token() == "ws://x/s?a=1&token=k"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    key = path.with_name("key.pem")
    cert = path.with_name("cert.pem")
    extra = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *extra], check=True, capture_output=True)
    path.write_text(key.read_text() + cert.read_text())
    return path


@pytest.mark.parametrize(
    ("host", "trusted", "result"),
    [("localhost", True, "ok"), ("localhost", False, "tls"), ("127.0.0.1", True, "tls")],
)
def test_wss_verifies_certificate_and_host(certificate: Path, host: str, trusted: bool, result: str) -> None:
    @coroutine
    async def story() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        async with Server().run(context) as server:
            rig = Rig(server, "wss", certificate.with_name("cert.pem") if trusted else None)
            rig.host = host
            rig.client.start()
            await until(lambda: rig.record.counts)
            assert rig.record.counts[0] == f"connect {result}"
            rig.client.stop()

    story()
