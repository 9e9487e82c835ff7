"""Measures the embedded session service from outside: REST rate and streams, on SQLite or PostgreSQL.

    tools/bench-sessions rest [--seconds S] [--clients N] [--database URL]
    tools/bench-sessions streams [--streams N] [--seconds S]

The service runs as a process of its own, so its CPU time is read from /proc. Prints one JSON object; exits
0 only if the limits hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

KEY = "bench-internal-key"
FRAME_S = 0.02


def _serve(settings: dict[str, Any], pipe: Any) -> None:
    import logging

    import structlog

    from gateway.config import Config
    from gateway.sessions.server import run

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    run(Config.model_validate({"sessions": settings}), KEY, lambda rest, stream: pipe.send((rest, stream)))


@contextmanager
def service(database: str | None, **beyond: Any) -> Iterator[tuple[str, int, str]]:
    """The service on free ports. Yields its REST address, its process id and an API key.

    beyond: what `sessions:` of its configuration says otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        url = database or f"sqlite:///{folder}/sessions.db"
        key = _make_key(url)
        settings = {
            "bind": "127.0.0.1:0",
            "stream_bind": "127.0.0.1:0",
            "database": url,
            "data_dir": folder,
            **beyond,
        }
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(settings, there))
        process.start()
        try:
            if not here.poll(60):
                raise RuntimeError("the service did not start")
            yield here.recv()[0], process.pid or 0, key
        finally:
            process.terminate()
            process.join(20)


def _make_key(url: str) -> str:
    """An organization without limits to speak of, and a key of it."""
    from gateway.sessions import keys
    from gateway.sessions.database import Database

    database, now = Database(url), time.time()
    database.upgrade()
    database.call(keys.ensure_organization, now, "org_bench", rate_limit=100_000_000)
    key, _ = database.call(keys.create, now, name="bench", organization_id="org_bench")
    database.close()
    return key


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"p{q}": round(float(np.percentile(values, q)), 2) for q in (50, 99, 99.9)}


async def rest(options: argparse.Namespace) -> dict[str, Any]:
    """POST /v1/sessions, each with its own Idempotency-Key, by clients that wait for their answers."""
    with service(options.database) as (url, pid, key):
        auth = {"Authorization": f"Bearer {key}"}
        took: list[float] = []
        statuses: dict[int, int] = {}
        body = {"mode": "bidirectional_translation", "source_language": "en", "metadata": {"case": "7"}}
        ends_at = time.monotonic() + options.seconds
        before, start = cpu_seconds(pid), time.monotonic()

        async def client(number: int) -> None:
            async with httpx.AsyncClient(base_url=url, headers=auth) as http:
                count = 0
                while time.monotonic() < ends_at:
                    count += 1
                    began = time.monotonic()
                    once = {"Idempotency-Key": f"bench-{os.getpid()}-{number}-{count}"}
                    response = await http.post("/v1/sessions", json=body, headers=once)
                    took.append((time.monotonic() - began) * 1000)
                    statuses[response.status_code] = statuses.get(response.status_code, 0) + 1

        await asyncio.gather(*(client(n) for n in range(options.clients)))
        elapsed = time.monotonic() - start
        rate = len(took) / elapsed
        wanted = 300 if options.database and options.database.startswith("postgresql") else 200
        result = {
            "requests": len(took),
            "rate": round(rate, 1),
            "ms": percentiles(took),
            "statuses": statuses,
            "cpu_ms_per_request": round((cpu_seconds(pid) - before) * 1000 / len(took), 2),
            "limits": {"rate": wanted, "p99_ms": 50},
        }
        result["passed"] = rate >= wanted and result["ms"]["p99"] <= 50 and set(statuses) == {201}  # type: ignore[index]
        return result


class _Caller(WSListener):
    """A stream's far end: counts what comes back, times the pings."""

    def __init__(self) -> None:
        super().__init__()
        self.transport: WSTransport | None = None
        self.octets_heard = 0
        self.asked_at = 0.0
        self.pongs_ms: list[float] = []
        self.closed = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.closed = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            if frame.payload_size < 200:
                if b'"pong"' in frame.get_payload_as_bytes():
                    self.pongs_ms.append((time.monotonic() - self.asked_at) * 1000)
            else:
                message = msgspec.json.decode(frame.get_payload_as_memoryview())
                if message["type"] == "audio.output":
                    self.octets_heard += len(message["audio"]["payload"]) * 3 // 4
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


def _frames(count: int) -> list[bytes]:
    """`audio.input` messages that differ in number and time only by a template; speech 1.2 s of every 2.4."""
    import base64

    random = np.random.default_rng(3)
    messages = []
    for sequence in range(count):
        speaking = sequence % 120 < 60
        octets = random.integers(0, 256, 160, np.uint8).tobytes() if speaking else b"\xff" * 160
        messages.append(
            b'{"type":"audio.input","sequence":%d,"timestamp_ms":%d,"speaker":"customer","audio":'
            b'{"encoding":"mulaw","sample_rate_hz":8000,"payload":"%b"}}'
            % (sequence, sequence * 20, base64.b64encode(octets))
        )
    return messages


async def streams(options: argparse.Namespace) -> dict[str, Any]:
    """N streams at 50 frames a second, loopback interpreter."""
    with service(options.database, interpreter="loopback") as (url, pid, key):
        callers: list[_Caller] = []
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as http:
            for _ in range(options.streams):
                body: dict[str, Any] = {"mode": "help_chat_voice"}
                if options.record:
                    body["recording"] = {"enabled": True}
                made = (await http.post("/v1/sessions", json=body)).json()["stream"]
                _, caller = await ws_connect(_Caller, f"{made['url']}?token={made['token']}")
                assert isinstance(caller, _Caller)
                callers.append(caller)
        count = int(options.seconds / FRAME_S)
        frames = _frames(count)
        before, start = cpu_seconds(pid), time.monotonic()
        late_ms = 0.0
        for number, frame in enumerate(frames):
            # Callers are spread over the frame, as calls are.
            for part in range(10):
                due = start + number * FRAME_S + part * FRAME_S / 10
                wait = due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                late_ms = max(late_ms, (time.monotonic() - due) * 1000)
                for caller in callers[part::10]:
                    if caller.transport is not None and not caller.closed:
                        caller.transport.send(WSMsgType.TEXT, frame)
            if number % 25 == 0:
                caller = callers[number % len(callers)]
                caller.asked_at = time.monotonic()
                assert caller.transport is not None
                caller.transport.send(WSMsgType.TEXT, b'{"type":"ping"}')
        await asyncio.sleep(1.0)
        elapsed = time.monotonic() - start
        cpu = cpu_seconds(pid) - before
        sent = count * len(callers)
        heard = sum(caller.octets_heard for caller in callers)
        pongs = [ms for caller in callers for ms in caller.pongs_ms]
        closed = sum(caller.closed for caller in callers)
        memory = rss_mb(pid)
        for caller in callers:
            if caller.transport is not None:
                caller.transport.disconnect()
        wanted = (count // 120) * 60 * 160 * len(callers)
        result: dict[str, Any] = {
            "streams": len(callers),
            "frames": sent,
            "seconds": round(elapsed, 1),
            "cores_used": round(cpu / elapsed, 3),
            "cpu_us_per_frame": round(cpu * 1e6 / sent, 1),
            "rss_mb": round(memory, 1),
            "answered_ms": percentiles(pongs),
            "speech_heard_share": round(heard / wanted, 3) if wanted else None,
            "streams_closed": closed,
            "generator_late_ms": round(late_ms, 1),
            "limits": {"streams": 300, "cores": 1.0},
        }
        result["passed"] = closed == 0 and cpu / elapsed < 1.0 and (not wanted or heard >= wanted)
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("rest", "streams"))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8, help="rest: clients that wait for their answers")
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--record", action="store_true", help="streams: record every session")
    parser.add_argument("--database", help="SQLAlchemy URL; a fresh SQLite file without it")
    options = parser.parse_args()
    result = uvloop.run({"rest": rest, "streams": streams}[options.what](options))
    print(json.dumps(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
