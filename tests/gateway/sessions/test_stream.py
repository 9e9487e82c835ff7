"""gateway/sessions/stream.py, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from picows import WSHandshakeError, WSMsgType, ws_connect

from gateway.sessions import stream as module
from tests.support.session_service import Kit, StreamClient, audio_input, run


async def refused(url: str, **headers: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(WSHandshakeError) as caught:
        await ws_connect(StreamClient, url, extra_headers=headers)
    response = caught.value.response
    assert response is not None
    assert caught.value.raw_body is not None
    return int(response.status), msgspec.json.decode(caught.value.raw_body)["error"]


def test_the_handshake_refuses(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session, other = await kit.create(), await kit.create()
        url, token = session["stream"]["url"], session["stream"]["token"]
        status, error = await refused(url)
        assert (status, error["code"]) == (401, "invalid_token")
        assert error["request_id"].startswith("req_")
        assert (await refused(f"{url}?token=kst_wrong"))[0] == 401
        assert (await refused(f"{url}?token={other['stream']['token']}"))[0] == 401
        unknown = url.replace(session["id"], session["id"][:-4] + "0000")
        status, error = await refused(f"{unknown}?token={token}")
        assert (status, error["code"]) == (404, "session_not_found")
        assert (await refused(url.replace("/stream", "/elsewhere")))[0] == 404
        kit.clock.now += 300
        status, error = await refused(f"{url}?token={token}")
        assert (status, error["code"]) == (401, "expired_token")
        fresh = (await kit.get(f"/v1/sessions/{session['id']}")).json()["stream"]["token"]
        await kit.post(f"/v1/sessions/{session['id']}/end")
        status, error = await refused(f"{url}?token={fresh}")
        assert (status, error["code"]) == (409, "session_ended")

    run(sqlite_url, scenario)


def test_a_token_in_the_header(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        stream = (await kit.create())["stream"]
        bearer = {"Authorization": f"Bearer {stream['token']}"}
        transport, client = await ws_connect(StreamClient, stream["url"], extra_headers=bearer)
        assert isinstance(client, StreamClient)
        assert (await client.receive())["type"] == "session.ready"
        transport.disconnect()

    run(sqlite_url, scenario)


def test_expiry_does_not_end_an_open_stream(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        async with kit.stream(await kit.create()) as client:
            kit.clock.now += 3000
            await client.synced()

    run(sqlite_url, scenario)


def test_plain_http_is_answered(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        stream = (await kit.create())["stream"]
        async with httpx.AsyncClient() as client:
            url = stream["url"].replace("ws://", "http://")
            assert (await client.get(url)).status_code == 401
            assert (await client.get(f"{url}?token={stream['token']}")).status_code == 400
        assert not kit.streams.streams

    run(sqlite_url, scenario)


def test_session_end_is_answered_and_closed_1000(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        async with kit.stream(session) as client, kit.stream(session) as other:
            client.send({"type": "session.end"})
            for one in (client, other):
                ended = await one.receive("session.ended")
                assert ended == {
                    "type": "session.ended", "session_id": session["id"], "reason": "explicit_end",
                }  # fmt: skip
                assert await one.close_code() == 1000

    run(sqlite_url, scenario)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(WSMsgType.TEXT, b"x" * 65537, True)], 1009),
        ([(WSMsgType.TEXT, b"x" * 40000, False), (WSMsgType.CONTINUATION, b"x" * 40000, True)], 1009),
        ([(WSMsgType.BINARY, b"x", True)], 1003),
        ([(WSMsgType.TEXT, b"{", False), (WSMsgType.TEXT, b"}", True)], 1002),
        ([(WSMsgType.CONTINUATION, b"x", True)], 1002),
    ],
)
def test_close_codes(sqlite_url: str, frames: list[tuple[WSMsgType, bytes, bool]], code: int) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        async with kit.stream(session) as neighbour, kit.stream(session) as client:
            await client.receive("session.ready")
            for kind, payload, fin in frames:
                client.transport.send(kind, payload, fin)
            assert await client.close_code() == code
            await neighbour.synced()

    run(sqlite_url, scenario)


def test_64_kib_are_taken_and_so_are_fragments(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        async with kit.stream(await kit.create()) as client:
            client.send_text(b'{"type":"ping"' + b" " * (65536 - 15) + b"}")
            await client.receive("pong")
            client.transport.send(WSMsgType.TEXT, b'{"type":', False)
            client.transport.send_ping(b"between")
            client.transport.send(WSMsgType.CONTINUATION, b'"ping"', False)
            client.transport.send(WSMsgType.CONTINUATION, b"}", True)
            await client.receive("pong")

    run(sqlite_url, scenario)


def test_pings_and_silence(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        async with kit.stream(session) as client:
            await client.synced()
            start = kit.clock.now
            for second in range(1, 20):
                kit.clock.now = start + second
                _sweep(kit)
            assert client.pings == 0
            kit.clock.now = start + 20
            _sweep(kit)
            await kit.until(lambda: client.pings == 1)
            await client.synced()  # its pong, and this, are signs of life
            kit.clock.now = start + 79
            _sweep(kit)
            assert not client.closed.done()
            kit.clock.now = start + 80 + 60
            _sweep(kit)
            assert await client.close_code() == 1011

    run(sqlite_url, scenario)


def _sweep(kit: Kit) -> None:
    for stream in tuple(kit.streams.streams):
        stream.sweep(kit.clock.now)


def test_a_flood_is_told_once_and_its_surplus_dropped(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RATE", 10)

    async def scenario(kit: Kit) -> None:
        async with kit.stream(await kit.create()) as client:
            for _ in range(30):
                client.send({"type": "ping"})
            error = await client.receive("session.error")
            assert error["code"] == "rate_limit_exceeded"
            await kit.until(lambda: next(iter(kit.streams.streams))._received == 30)
            _sweep(kit)
            client.send({"type": "ping"})
            await client.receive("pong")
            assert client.messages.empty()

    run(sqlite_url, scenario)


def test_a_slow_reader_loses_audio_and_no_transcript(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        async with kit.stream(session) as client:
            await client.synced()
            client.transport.underlying_transport.pause_reading()
            live = kit.hub.sessions[session["id"]]
            for number in range(400):
                live.audio("customer", None, 0, bytes(200_000))
                live.final(f"seg_{number}", "customer", "en", "word", 0, 1, 1.0, None)
            assert kit.streams.counts["audio_dropped"] > 0
            assert all(stream._outbox.octets <= 512 * 1024 for stream in kit.streams.streams)
            client.transport.underlying_transport.resume_reading()
            for number in range(400):
                assert (await client.receive("transcript.final"))["segment_id"] == f"seg_{number}"

    run(sqlite_url, scenario)


def test_a_reader_that_is_lost_is_cut(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        async with kit.stream(session) as client, kit.stream(session) as neighbour:
            await client.synced()
            await neighbour.synced()
            client.transport.underlying_transport.pause_reading()
            live = kit.hub.sessions[session["id"]]
            sent = 0
            while len(kit.streams.streams) == 2:
                for _ in range(20):
                    live.final(f"seg_{sent}", "customer", "en", "word" * 5000, 0, 1, 1.0, None)
                    sent += 1
                await asyncio.sleep(0)  # the neighbour reads, the client does not
                await neighbour.synced()
            assert kit.streams.counts["slow_reader"] == 1
            client.transport.underlying_transport.resume_reading()

    run(sqlite_url, scenario)


def test_a_defect_costs_its_stream_only(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(kit: Kit) -> None:
        session, other = await kit.create(), await kit.create()
        async with kit.stream(session) as client, kit.stream(other) as neighbour:
            await client.synced()
            live = kit.hub.sessions[session["id"]]

            def broken(*_args: object) -> None:
                raise RuntimeError("a defect")

            monkeypatch.setattr(live, "receive", broken)
            client.send(audio_input("customer", 0, b"\x01"))
            assert await client.close_code() == 1011
            assert kit.streams.counts["internal_error"] == 1
            await neighbour.synced()

    run(sqlite_url, scenario)
