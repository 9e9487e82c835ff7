"""One connection: slow, rude and absent servers, and the closing handshake."""

from __future__ import annotations

import asyncio

import picows
import pytest

from gateway.config import Reconnect
from gateway.stream import messages
from gateway.stream.protocol import Bad
from gateway.stream.pump import TEXT
from tests.support.stream_server import Rig, Server, coroutine, until


@coroutine
async def test_a_clean_close_is_not_opened_again() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        peer.transport.send_close(picows.WSCloseCode.OK)
        await until(lambda: rig.record.over)
        assert rig.record.over[0].reason == "session_ended"
        assert "close clean" in rig.record.counts
        await asyncio.sleep(0.1)
        assert len(server.peers) == 1


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013])
def test_other_closes_are_opened_again(code: int) -> None:
    @coroutine
    async def story() -> None:
        async with Server().run() as server:
            rig = Rig(server)
            peer = await rig.open()
            peer.transport.send_close(picows.WSCloseCode(code))
            await until(lambda: len(rig.record.opened) == 2)
            rig.client.stop()

    story()


@coroutine
async def test_bad_messages_are_counted_and_the_stream_stays() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        peer.say(b"{")
        peer.say({"type": "audio.what"})
        peer.say({"type": "audio.output", "speaker": "agent", "audio": {"payload": "%%%"}})
        peer.say({"type": "mark", "name": "x" * 70_000, "target": "agent"})
        peer.transport.send(picows.WSMsgType.BINARY, b"{}")
        peer.transport.send(TEXT, b'{"type":"pon', fin=False)
        peer.transport.send(picows.WSMsgType.CONTINUATION, b'g"}')
        await until(lambda: rig.record.said)
        assert rig.record.bad == [Bad.NOT_JSON, Bad.UNKNOWN_TYPE, Bad.BAD_BASE64, Bad.TOO_LARGE, Bad.NOT_TEXT]
        assert rig.record.said == [messages.Pong()]
        assert rig.client.is_open
        rig.client.stop()


@coroutine
async def test_megabytes_close_with_1009_and_it_comes_back() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        peer.say(b'"' + b"x" * 2_000_000 + b'"')
        await until(lambda: len(rig.record.opened) == 2)
        assert server.closes[0] == 1009
        assert "close too_large" in rig.record.counts
        rig.client.stop()


@coroutine
async def test_a_server_that_does_not_read_costs_bounded_memory_and_the_oldest_frames() -> None:
    async with Server().run() as server:
        rig = Rig(server, send_queue_kb=16, reconnect=Reconnect(keep_s=1))
        peer = await rig.open()
        peer.transport.underlying_transport.pause_reading()
        message = b'{"type":"audio.input","sequence":%d,"p":"' + b"A" * 1000 + b'"}'
        sent = 0
        for n in range(20_000):
            if rig.client.sender is None:
                break
            rig.client.sender.send(TEXT, message % n)
            sent = n + 1
        assert rig.client.sender is None
        for n in range(sent, sent + 60):
            rig.client.keep(message % n)
        assert rig.client.frames_dropped == 10
        peer.transport.underlying_transport.resume_reading()
        await until(lambda: rig.client.sender is not None)
        await until(lambda: len(peer.received) == sent + 50)
        numbers = [m["sequence"] for m in peer.messages]
        assert numbers == [*range(sent), *range(sent + 10, sent + 60)]
        rig.client.stop()


@coroutine
async def test_a_peer_that_is_not_there_is_found_by_pings() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        peer = await rig.open()
        peer.transport.underlying_transport.pause_reading()
        now = asyncio.get_running_loop().time()
        rig.client.check(now)
        rig.client.check(now + 11)
        assert rig.record.lost == []
        rig.client.check(now + 22)
        assert rig.record.lost == [60]
        await until(lambda: "close ping_timeout" in rig.record.counts)
        await until(lambda: len(rig.record.opened) == 2)
        rig.client.stop()


@coroutine
async def test_a_peer_that_answers_pings_stays() -> None:
    async with Server().run() as server:
        rig = Rig(server)
        await rig.open()
        now = asyncio.get_running_loop().time()
        for second in range(11, 60, 11):
            rig.client.check(now + second)
            await asyncio.sleep(0.02)
        assert rig.record.lost == []
        rig.client.stop()


@coroutine
async def test_a_close_before_session_ready_is_believed_as_well() -> None:
    server = Server()
    server.greets = False
    async with server.run():
        rig = Rig(server)
        rig.client.start()
        await until(lambda: server.peers)
        server.peers[0].transport.send_close(picows.WSCloseCode.OK)
        await until(lambda: rig.record.over)
        assert rig.record.counts == ["connect not_ready"]
        assert rig.record.opened == []


@coroutine
async def test_a_session_that_ends_before_it_was_ready() -> None:
    server = Server()
    server.greets = False
    async with server.run():
        rig = Rig(server)
        rig.client.start()
        await until(lambda: server.peers)
        server.peers[0].say({"type": "session.ended", "session_id": "sess_1", "reason": "timeout"})
        await until(lambda: rig.record.over)
        assert rig.record.over[0].detail == "timeout"
