"""gateway/sessions/server.py: the process, over real sockets, with a real clock."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from picows import ws_connect
from sqlalchemy.exc import OperationalError

from gateway.config import Config
from gateway.sessions import nodes, store
from gateway.sessions.server import serve, steady_clock, stream_base
from tests.support.session_service import PATIENCE, StreamClient

KEY = "internal-key"
AUTH = {"Authorization": f"Bearer {KEY}"}


def config(tmp_path: Path, **changes: Any) -> Config:
    sessions = {
        "bind": "127.0.0.1:0",
        "stream_bind": "127.0.0.1:0",
        "database": f"sqlite:///{tmp_path}/s.db",
        "data_dir": str(tmp_path),
        "interpreter": "loopback",
    }
    return Config.model_validate({"sessions": sessions | changes})


def test_a_lone_caller_hears_himself(tmp_path: Path) -> None:
    random = np.random.default_rng(1)

    async def main() -> None:
        stop = asyncio.Event()
        urls: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve(config(tmp_path), KEY, stop, lambda rest, stream: urls.set_result((rest, stream)))
        )
        rest, _ = await asyncio.wait_for(asyncio.shield(urls), PATIENCE)
        async with httpx.AsyncClient(base_url=rest, headers=AUTH) as http:
            made = (await http.post("/v1/sessions", json={"mode": "help_chat_voice"})).json()
            stream = made["stream"]
            _, client = await ws_connect(StreamClient, f"{stream['url']}?token={stream['token']}")
            assert isinstance(client, StreamClient)
            silence = [b"\xff" * 160] * 30
            speech = [random.integers(0, 256, 160, np.uint8).tobytes() for _ in range(50)]
            for sequence, frame in enumerate(silence + speech + silence):
                client.send_audio("customer", sequence, frame)
            heard = b""
            while b"".join(speech) not in heard:
                message = await client.receive("audio.output")
                assert (message["speaker"], message["target"]) == ("customer", "customer")
                heard += base64.b64decode(message["audio"]["payload"])
            shown = (await http.get(f"/v1/sessions/{made['id']}")).json()
            assert shown["status"] == "active"
            stop.set()
            assert await client.close_code() == 1012
        await asyncio.wait_for(serving, PATIENCE)

    asyncio.run(main())


def test_stream_urls(tmp_path: Path) -> None:
    assert stream_base(config(tmp_path), "127.0.0.1", 81) == "ws://127.0.0.1:81"
    assert stream_base(config(tmp_path), "0.0.0.0", 81) == "ws://127.0.0.1:81"
    assert stream_base(config(tmp_path), "::1", 81) == "ws://[::1]:81"
    behind = config(tmp_path, public_url="https://gw.example.com")
    assert stream_base(behind, "127.0.0.1", 81) == "wss://gw.example.com"
    both = config(tmp_path, public_url="https://gw.example.com", stream_public_url="wss://s.example.com")
    assert stream_base(both, "127.0.0.1", 81) == "wss://s.example.com"


def test_the_clock_only_goes_forward() -> None:
    clock = steady_clock()
    readings = [clock() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_database_that_is_away_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def away(*_args: object) -> None:
        tried.append("x")
        raise OperationalError("DELETE", {}, Exception("away"))

    monkeypatch.setattr(store, "forget_answers", away)
    monkeypatch.setattr(nodes, "leave", away)

    async def main() -> None:
        stop = asyncio.Event()
        urls: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(config(tmp_path), KEY, stop, lambda rest, _: urls.set_result(rest)))
        async with httpx.AsyncClient(base_url=await asyncio.wait_for(asyncio.shield(urls), PATIENCE)) as http:
            while not tried:  # noqa: ASYNC110  (there is no event to wait for)
                await asyncio.sleep(0.005)
            assert (await http.get("/readyz")).status_code == 200
        stop.set()
        await asyncio.wait_for(serving, PATIENCE)
        assert len(tried) == 2

    asyncio.run(main())


def test_a_session_that_nobody_could_interpret_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        urls: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        settings = config(tmp_path, interpreter="pipeline")
        serving = asyncio.create_task(serve(settings, KEY, stop, lambda rest, stream: urls.set_result((rest, stream))))
        rest, _ = await asyncio.wait_for(asyncio.shield(urls), PATIENCE)
        async with httpx.AsyncClient(base_url=rest, headers=AUTH) as http:
            asked = {"mode": "bidirectional_translation", "source_language": "en", "target_language": "fr"}
            refused = await http.post("/v1/sessions", json=asked)
            assert refused.status_code == 422
            error = refused.json()["error"]
            assert error["code"] == "engine_not_available"
            assert "translation of en→fr" in error["message"]
            assert "recognition of fr" in error["message"]
            made = await http.post("/v1/sessions", json=asked | {"target_language": "es"})
            assert made.status_code == 201
            figures = (await http.get("/internal/metrics")).text
            assert 'glotgate_speech_events_total{event="turn"} 0.0' in figures
        stop.set()
        await asyncio.wait_for(serving, PATIENCE)

    asyncio.run(main())
