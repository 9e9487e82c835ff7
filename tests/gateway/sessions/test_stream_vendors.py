"""Twilio's and Telnyx's media streams on the session stream's URL, over real sockets."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec
import pytest
from picows import WSHandshakeError, WSMsgType, ws_connect

from gateway.sessions import stream as module
from tests.gateway.stream.test_vendors import TELNYX_START, TWILIO_START, media
from tests.support.session_service import Kit, StreamClient, run

TWILIO = {"X-Twilio-Signature": "signature"}


async def connect(url: str, headers: dict[str, str]) -> StreamClient:
    _, client = await ws_connect(StreamClient, url, extra_headers=headers)
    assert isinstance(client, StreamClient)
    return client


def start(token: str) -> dict[str, Any]:
    parameters = {"customParameters": {"token": token}}
    return TWILIO_START | {"start": TWILIO_START["start"] | parameters}


async def event(client: StreamClient) -> dict[str, Any]:
    async with asyncio.timeout(10):
        return await client.messages.get()


def test_a_twilio_call_hears_itself(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        live = kit.hub.sessions[session["id"]]
        client = await connect(session["stream"]["url"], TWILIO)
        client.send({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        client.send(start(session["stream"]["token"]))
        loud = base64.b64encode(b"\x90\x10" * 80).decode()
        quiet = base64.b64encode(b"\xff" * 160).decode()
        for n in range(100):
            client.send(media(loud if 10 <= n < 50 else quiet, str(n * 20)))
        heard = await event(client)
        assert (heard["event"], heard["streamSid"]) == ("media", "MZ1")
        assert b"\x90\x10" * 80 in base64.b64decode(heard["media"]["payload"])
        assert live.calls == {"customer": "CA1"}
        assert str(live.lifecycle.status) == "active"
        client.send({"event": "stop", "stop": {}})
        await kit.until(lambda: not live.calls)
        client.transport.disconnect()

    run(sqlite_url, scenario)


def in_two(client: StreamClient, message: dict[str, Any]) -> None:
    """Send a message as two frames."""
    text = msgspec.json.encode(message)
    client.transport.send(WSMsgType.TEXT, text[:7], False)
    client.transport.send(WSMsgType.CONTINUATION, text[7:], True)


@pytest.mark.parametrize("headers", [TWILIO, {}])
def test_messages_may_come_in_fragments(sqlite_url: str, headers: dict[str, str]) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        url = session["stream"]["url"]
        client = await connect(url if headers else f"{url}?token={session['stream']['token']}", headers)
        in_two(client, start(session["stream"]["token"]))
        in_two(client, media(base64.b64encode(b"\x90" * 160).decode(), "0"))
        live = kit.hub.sessions[session["id"]]
        await kit.until(lambda: str(live.lifecycle.status) == "active")
        assert live.calls == {"customer": "CA1"}
        client.transport.disconnect()

    run(sqlite_url, scenario)


def test_no_fragments_lead_around_the_token(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        client = await connect(session["stream"]["url"], TWILIO)
        in_two(client, {"type": "call.joined", "speaker": "customer", "call_id": "call_1"})
        in_two(client, {"type": "session.end"})
        in_two(client, start("kst_wrong"))
        assert await client.close_code() == 1008
        live = kit.hub.sessions[session["id"]]
        assert (live.calls, str(live.lifecycle.status)) == ({}, "created")

    run(sqlite_url, scenario)


def test_telnyx_beside_a_native_stream(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        url = f"{session['stream']['url']}?token={session['stream']['token']}"
        async with kit.stream(session) as native:
            await native.receive("session.ready")
            native.send({"type": "call.joined", "speaker": "customer", "call_id": "call_1"})
            await native.synced()
            client = await connect(url, {"User-Agent": "Telnyx"})
            client.send({"event": "connected"})
            client.send(TELNYX_START)
            live = kit.hub.sessions[session["id"]]
            await kit.until(lambda: "agent" in live.calls)
            live.audio("customer", "agent", 0, b"\x01")
            assert (await event(client))["stream_id"] == "s-1"
            assert (await native.receive("audio.output"))["target"] == "agent"
            client.transport.disconnect()

    run(sqlite_url, scenario)


def test_a_vendor_that_does_not_show_itself(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        async with kit.stream(session) as client:
            await client.receive("session.ready")
            client.send(TWILIO_START)
            live = kit.hub.sessions[session["id"]]
            await kit.until(lambda: live.calls == {"agent": "CA1"})

    run(sqlite_url, scenario)


@pytest.mark.parametrize("token", ["", "kst_wrong"])
def test_a_bad_token_in_start_closes(sqlite_url: str, token: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        client = await connect(session["stream"]["url"], TWILIO)
        client.send(media())
        client.send(start(token))
        assert await client.close_code() == 1008
        assert str(kit.hub.sessions[session["id"]].lifecycle.status) == "created"

    run(sqlite_url, scenario)


def test_without_a_start_it_is_closed(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        client = await connect(session["stream"]["url"], TWILIO)
        await kit.until(lambda: kit.streams.streams)
        kit.clock.now += module.TOKEN_S
        for stream in tuple(kit.streams.streams):
            stream.sweep(kit.clock.now)
        assert await client.close_code() == 1008

    run(sqlite_url, scenario)


def test_only_so_many_may_be_without_a_token(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNADMITTED", 1)

    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        client = await connect(session["stream"]["url"], TWILIO)
        await kit.until(lambda: kit.streams.streams)
        with pytest.raises(WSHandshakeError):
            await connect(session["stream"]["url"], TWILIO)
        client.transport.disconnect()

    run(sqlite_url, scenario)


def test_media_that_is_no_media_closes_in_the_end(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        client = await connect(session["stream"]["url"], TWILIO)
        client.send(start(session["stream"]["token"]))
        for _ in range(200):
            client.send({"event": "media"})
        assert await client.close_code() == 1008

    run(sqlite_url, scenario)
