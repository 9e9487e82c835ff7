"""What interpretation costs beyond its engines: speech in, by an endpoint with fixed delays, to translated audio out.

    tools/bench-speech-http [--sessions N] [--turns N] [--stalled N]
    tools/bench-speech-http --leg

The session service runs as a process of its own. Its engine is the stand-in of the tests, which answers over HTTP
after 300 ms (transcription), 200 ms (chat) and 150 ms (speech). Each session speaks in real time, 20 ms a message, as a
gateway sends it; measured is from the last sound of a turn to the first translated audio on the stream. With --stalled,
so many further sessions have an engine that does not answer for 30 s: what the others and the REST API notice of it,
and whether those sessions are told, and are served again afterwards. With --leg, the whole gateway is measured as
`tools/bench-speech --latency` does it: four calls by independent phones, from the end of a sentence to what the phone
hears. Prints one JSON object; exits 0 only if the limits
hold.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from gateway.speech import mulaw
from rig.sessions_bench import KEY, _make_key
from rig.sound import speak_english
from rig.speech_bench import measure_latency
from tests.support.openai_endpoint import DELAYS_S, StandIn
from tests.support.openai_endpoint import KEY as ENGINE_KEY

FRAME = 160
LIMIT_MS = 350
OWN_MS = 1000 * sum(DELAYS_S.values())
SENTENCES = ("Good morning, this is a test.", "Could you call me back at noon?", "The parcel has not arrived yet.")
GAP_S = 2.5
STALL_S = 30.0


class Caller(WSListener):
    """One session's far end. first_s: after each `listen`, when the first audio came."""

    def __init__(self) -> None:
        super().__init__()
        self.transport: WSTransport | None = None
        self.ready = asyncio.Event()
        self.errors: list[str] = []
        self.finals = 0
        self.heard_at: list[float] = []
        self._listening = False

    def listen(self) -> None:
        self._listening = True

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        now = time.monotonic()
        message = msgspec.json.decode(frame.get_payload_as_memoryview())
        kind = message["type"]
        if kind == "session.ready":
            self.ready.set()
        elif kind == "audio.output" and self._listening:
            self._listening = False
            self.heard_at.append(now)
        elif kind == "transcript.final":
            self.finals += 1
        elif kind == "session.error":
            self.errors.append(message["code"])


def spoken() -> list[tuple[list[bytes], int]]:
    """Each sentence as frames of mu-law, and how many of them there are up to its last sound."""
    sentences = []
    with tempfile.TemporaryDirectory() as folder:
        for text in SENTENCES:
            samples = speak_english(text, Path(folder) / "said.wav")
            octets = mulaw.encode(samples * 8000).tobytes()
            octets += mulaw.SILENCE * (-len(octets) % FRAME)
            sentences.append(([octets[at : at + FRAME] for at in range(0, len(octets), FRAME)], len(octets) // FRAME))
    return sentences


def _serve(config: dict[str, Any], pipe: Any) -> None:
    import logging

    import structlog

    from gateway.config import Config
    from gateway.sessions.server import run

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    run(Config.model_validate(config), KEY, lambda rest, stream: pipe.send((rest, stream)))


@asynccontextmanager
async def service(engines: dict[str, Any], order: list[str]) -> AsyncIterator[tuple[str, str]]:
    """The session service with these engines for every stage. Yields its REST address and an API key."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/sessions.db"
        key = _make_key(url)
        sessions = {"bind": "127.0.0.1:0", "stream_bind": "127.0.0.1:0", "database": url, "data_dir": folder}
        stages = dict.fromkeys(("recognition", "translation", "synthesis"), order)
        here, there = multiprocessing.Pipe()
        config = {"sessions": sessions, "speech": {"engines": engines, **stages}}
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(config, there))
        process.start()
        there.close()
        try:
            if not await asyncio.to_thread(here.poll, 60):  # the stand-in is asked meanwhile
                raise RuntimeError("the service did not start")
            yield here.recv()[0], key
        finally:
            process.terminate()
            await asyncio.to_thread(process.join, 20)


def engine(address: str, language: str) -> dict[str, Any]:
    """An endpoint that hears one language."""
    return {
        "kind": "openai",
        "base_url": address,
        "api_key": ENGINE_KEY,
        "recognition": {"model": "whisper-1", "languages": [language], "concurrency": 32},
        "translation": {"model": "gpt-4o-mini", "languages": [language, "es"], "concurrency": 32},
        "synthesis": {"model": "tts-1", "voice": "alloy", "languages": ["es"], "concurrency": 32},
    }


async def open_session(http: httpx.AsyncClient, language: str) -> Caller:
    body = {"mode": "bidirectional_translation", "source_language": language, "target_language": "es"}
    answer = await http.post("/v1/sessions", json=body)
    answer.raise_for_status()
    made = answer.json()["stream"]
    _, caller = await ws_connect(Caller, f"{made['url']}?token={made['token']}")
    assert isinstance(caller, Caller)
    await asyncio.wait_for(caller.ready.wait(), 10)
    assert caller.transport is not None
    for speaker in ("customer", "agent"):
        joined = {"type": "call.joined", "speaker": speaker, "call_id": f"call_{speaker}"}
        caller.transport.send(WSMsgType.TEXT, json.dumps(joined).encode())
    return caller


async def talk(caller: Caller, turns: int, shift_s: float, sentences: list[tuple[list[bytes], int]]) -> list[float]:
    """Speak so many turns in real time. Returns, for each that was answered, ms from its last sound to the audio."""
    took: list[float] = []
    sequence = 0
    quiet = mulaw.SILENCE * FRAME
    due = time.monotonic() + shift_s
    for turn in range(turns + 1):
        frames, sounding = sentences[turn % len(sentences)]
        if turn == 0:  # a pause first, as at the start of a call
            frames, sounding = [quiet] * 25, -1
        ended = 0.0
        before = len(caller.heard_at)
        for number, octets in enumerate([*frames, *[quiet] * int(GAP_S * 50 if turn else 0)]):
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            message = (
                b'{"type":"audio.input","sequence":%d,"timestamp_ms":%d,"speaker":"customer","audio":'
                b'{"encoding":"mulaw","sample_rate_hz":8000,"payload":"%b"}}'
                % (sequence, sequence * 20, base64.b64encode(octets))
            )
            assert caller.transport is not None
            caller.transport.send(WSMsgType.TEXT, message)
            if number == sounding - 1:
                ended = time.monotonic()
                caller.listen()
            sequence += 1
            due += 0.02
        if len(caller.heard_at) > before:
            took.append((caller.heard_at[before] - ended) * 1000)
    return took


async def watch_rest(http: httpx.AsyncClient, took: list[float]) -> None:
    while True:
        began = time.monotonic()
        (await http.post("/v1/sessions", json={"mode": "bidirectional_translation", "source_language": "en",
                                               "target_language": "es"})).raise_for_status()  # fmt: skip
        took.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(0.25)


def percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 1) for q in (50, 95, 99)} if values else {}


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    sentences = spoken()
    good, bad = StandIn(delays_s=dict(DELAYS_S)), StandIn(delays_s=dict(DELAYS_S))
    async with good.run(), bad.run():
        engines = {"hosted": engine(good.address, "en"), "stalling": engine(bad.address, "fr")}
        async with service(engines, list(engines)) as (url, key):
            auth = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=url, headers=auth, timeout=60) as http:
                return await _measure(options, http, bad, sentences)


async def _measure(
    options: argparse.Namespace, http: httpx.AsyncClient, bad: StandIn, sentences: list[tuple[list[bytes], int]]
) -> dict[str, Any]:
    callers = [await open_session(http, "en") for _ in range(options.sessions)]
    stalled = [await open_session(http, "fr") for _ in range(options.stalled)]
    if stalled:
        bad.delays_s = dict.fromkeys(DELAYS_S, STALL_S)
    rest_ms: list[float] = []
    watching = asyncio.create_task(watch_rest(http, rest_ms))
    own = [talk(one, options.turns, 0.37 * n, sentences) for n, one in enumerate(callers)]
    theirs = [talk(one, 2, 0.11 * n, sentences) for n, one in enumerate(stalled)]
    results = await asyncio.gather(*own, *theirs)
    watching.cancel()
    took = [one for result in results[: len(own)] for one in result]
    over = [one - OWN_MS for one in took]
    report: dict[str, Any] = {
        "sessions": len(callers),
        "turns": len(callers) * options.turns,
        "answered": len(took),
        "ms_to_first_audio": percentiles(took),
        "ms_beyond_the_engines": percentiles(over),
        "rest_ms": percentiles(rest_ms),
        "errors": sum(len(one.errors) for one in callers),
        "limits": {"ms_beyond_the_engines_p95": LIMIT_MS},
    }
    passed = len(took) == report["turns"] and report["ms_beyond_the_engines"]["p95"] <= LIMIT_MS
    if stalled:
        told = sum(bool(one.errors) for one in stalled)
        bad.delays_s = dict(DELAYS_S)
        await asyncio.sleep(12.0)  # the rest of a breaker: 5 s, doubled once
        again = await asyncio.gather(*(talk(one, 3, 0.23 * n, sentences) for n, one in enumerate(stalled)))
        report["stalled"] = {"sessions": len(stalled), "told": told, "served_again": sum(bool(one) for one in again)}
        passed = passed and told == len(stalled) and all(again) and not report["errors"]
    report["passed"] = bool(passed)
    return report


def measure_leg() -> dict[str, Any]:
    """On the RTP leg. The stand-in is a process of its own."""
    command = [sys.executable, "-m", "tests.support.openai_endpoint"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stand_in:
        assert stand_in.stdout is not None
        hosted = engine(stand_in.stdout.readline().strip(), "en")
        speech: dict[str, Any] = {"engines": {"hosted": hosted}}
        speech |= {stage: ["hosted"] for stage in ("recognition", "translation", "synthesis")}
        with tempfile.TemporaryDirectory() as folder:
            report = measure_latency(Path(folder), speech)
        stand_in.communicate()
    beyond = {name: round(1000 * float(report[f"heard_{name}_s"]) - OWN_MS, 1) for name in ("p50", "p95")}
    passed = not report["missing"] and beyond["p95"] <= LIMIT_MS
    limits = {"ms_beyond_the_engines_p95": LIMIT_MS}
    return report | {"ms_beyond_the_engines": beyond, "limits": limits, "passed": passed}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=4, help="that speak at the same time")
    parser.add_argument("--turns", type=int, default=6, help="of each")
    parser.add_argument("--stalled", type=int, default=0, help="further sessions whose engine stalls")
    parser.add_argument("--leg", action="store_true", help="measure whole calls, on the RTP leg")
    options = parser.parse_args()
    report = measure_leg() if options.leg else uvloop.run(measure(options))
    print(json.dumps(report, default=float))
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
