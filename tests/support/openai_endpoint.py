"""A stand-in for an OpenAI-compatible endpoint: the real shapes over real HTTP, fixed delays, and faults by order.

`POST audio/transcriptions` (multipart WAV; json, verbose_json, or a stream of events), `POST chat/completions`
(streamed or not), `POST audio/speech` (WAV or bare PCM, streamed), `GET models`. What it says is pretended: text of
a list, the translation in brackets, a tone for speech. Runs in a test's loop, or as a process of its own:
`python -m tests.support.openai_endpoint`, which prints its address.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.parser
import email.policy
import io
import json
import socket
import struct
import sys
import wave
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

PATHS = {
    "/v1/audio/transcriptions": "transcription",
    "/v1/chat/completions": "chat",
    "/v1/audio/speech": "speech",
    "/v1/models": "models",
}
DELAYS_S = {"transcription": 0.3, "chat": 0.2, "speech": 0.15}
MODELS = ("whisper-1", "gpt-4o-mini", "tts-1")
RATE = 24_000
KEY = "sk-stand-in"


@dataclass
class Asked:
    """One request. fields: of the form or the JSON. seconds: of the WAV. gone: who asked did not wait."""

    what: str
    headers: dict[str, str]
    fields: dict[str, Any]
    seconds: float = 0.0
    gone: bool = False


@dataclass
class StandIn:
    """faults: by kind of request, one used up by each: `stall`, `500`, `429`, `429 after 1`, `401`, `400`, `cut`,
    `unfinished`, `json`, `empty`, `error`. texts: the next transcriptions. verbose: whether verbose_json is known."""

    delays_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(DELAYS_S, 0.0))
    texts: deque[str] = field(default_factory=deque)
    usual: str = "Good morning."
    language: str = "english"
    replies: deque[list[dict[str, Any]]] = field(default_factory=deque)  # the deltas of chats, instead of a translation
    faults: dict[str, deque[str]] = field(default_factory=dict)
    verbose: bool = True
    models: tuple[str, ...] | None = MODELS
    chunk_s: float = 0.02
    asked: list[Asked] = field(default_factory=list)
    address: str = ""
    under_way: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    def fail(self, what: str, *kinds: str) -> None:
        self.faults.setdefault(what, deque()).extend(kinds)

    def of(self, what: str) -> list[Asked]:
        return [one for one in self.asked if one.what == what]

    @contextlib.asynccontextmanager
    async def run(self, certificate: Path | None = None) -> AsyncIterator[StandIn]:
        """Serve on a free port. certificate: a PEM with its key: HTTPS."""
        listener = socket.create_server(("127.0.0.1", 0))
        tls: dict[str, Any] = {} if certificate is None else {"ssl_certfile": certificate, "ssl_keyfile": certificate}
        server = _Server(
            uvicorn.Config(self, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1, **tls)
        )
        scheme, host = ("http", "127.0.0.1") if certificate is None else ("https", "localhost")
        self.address = f"{scheme}://{host}:{listener.getsockname()[1]}/v1"
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110  (uvicorn offers no event)
            await asyncio.sleep(0.005)
        try:
            yield self
        finally:
            server.should_exit = server.force_exit = True
            await serving
            listener.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = _Request(receive, send)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = await request.body()
        what = PATHS.get(scope["path"], "")
        asked = Asked(what, headers, {})
        if what in ("chat", "speech"):
            asked.fields = json.loads(body)
        elif what == "transcription":
            asked.fields, asked.seconds = _form(headers["content-type"], body)
        self.asked.append(asked)
        self.under_way[what] = self.under_way.get(what, 0) + 1
        self.most[what] = max(self.most.get(what, 0), self.under_way[what])
        try:
            await self._answer(request, asked)
        except _Gone:
            asked.gone = True
        finally:
            self.under_way[what] -= 1

    async def _answer(self, request: _Request, asked: Asked) -> None:
        what = asked.what
        queue = self.faults.get(what)
        fault = queue.popleft() if queue else ""
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            fault = "401"
        if what == "models" and not fault:
            if self.models is None:
                await request.json(404, {"detail": "Not Found"})
            else:
                await request.json(200, {"object": "list", "data": [{"id": name} for name in self.models]})
            return
        if fault == "stall":
            await request.wait(30.0)
        if fault[:3].isdigit():
            status, _, after = fault.partition(" after ")
            more = {"retry-after": after} if after else {}
            said = {"error": {"message": f"a fault\n of kind {status}", "type": "server_error", "code": None}}
            await request.json(int(status), said, more)
            return
        await request.wait(self.delays_s.get(what, 0.0))
        if fault == "json":
            await request.whole(200, "application/json", b'{"text": "unfin')
            return
        await {"transcription": self._transcribe, "chat": self._chat, "speech": self._speak}[what](
            request, asked, fault
        )

    async def _transcribe(self, request: _Request, asked: Asked, fault: str) -> None:
        text = "" if fault == "empty" else self.texts.popleft() if self.texts else self.usual
        form = asked.fields.get("response_format", "json")
        if form == "verbose_json" and not self.verbose:
            said = {"error": {"message": "response_format 'verbose_json' is not compatible with this model"}}
            await request.json(400, said)
        elif asked.fields.get("stream") == "true":
            words = text.split(" ")
            events = [
                {"type": "transcript.text.delta", "delta": (" " if place else "") + word}
                for place, word in enumerate(words)
            ]
            await self._events(request, [*events, {"type": "transcript.text.done", "text": text}], fault, "")
        elif form == "verbose_json":
            segment = {"id": 0, "text": text, "avg_logprob": -0.25, "no_speech_prob": 0.01, "start": 0.0, "end": 1.0}
            told = {"task": "transcribe", "language": self.language, "duration": asked.seconds, "text": text}
            await request.json(200, told | {"segments": [segment] if text else []})
        else:
            await request.json(200, {"text": text})

    async def _chat(self, request: _Request, asked: Asked, fault: str) -> None:
        said = asked.fields["messages"][-1]["content"]
        if self.replies:
            deltas = self.replies.popleft()
        else:
            words = f"[{said}]".split(" ")
            deltas = [{"content": (" " if place else "") + word} for place, word in enumerate(words)]
        if not asked.fields.get("stream"):
            whole = "".join(delta.get("content") or "" for delta in deltas)
            message = {"role": "assistant", "content": whole}
            await request.json(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
            return
        chunks = [
            {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            for delta in ({"role": "assistant", "content": ""}, *deltas)
        ]
        end = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await self._events(request, [*chunks, end, {"choices": [], "usage": {"total_tokens": 9}}], fault, "[DONE]")

    async def _events(self, request: _Request, events: list[dict[str, Any]], fault: str, last: str) -> None:
        await request.begin(200, "text/event-stream; charset=utf-8")
        if fault == "error":
            events = [*events[:1], {"error": {"message": "overloaded in the middle"}}]
        for event in events[: len(events) // 2] if fault == "cut" else events:
            await request.more(f"data: {json.dumps(event)}\n\n".encode())
        if fault == "cut":
            raise ConnectionAbortedError  # uvicorn drops the connection
        if last and fault != "unfinished":
            await request.more(f"data: {last}\n\n".encode())
        await request.more(b"", last=True)

    async def _speak(self, request: _Request, asked: Asked, fault: str) -> None:
        seconds = 0.3 + 0.06 * len(asked.fields["input"])
        at = np.arange(int(seconds * RATE)) / RATE
        samples = (9000 * np.sin(2 * np.pi * 440 * at)).astype("<i2").tobytes()
        if asked.fields["response_format"] == "wav":
            kind = "audio/wav"
            samples = struct.pack(
                "<4sI4s4sIHHIIHH4sI",
                b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", 0xFFFFFFFF,
            ) + samples  # fmt: skip
        else:
            kind = "audio/pcm"
        await request.begin(200, kind)
        step = int(self.chunk_s * RATE) * 2 + 1  # an odd number: a sample is cut in two
        for begin in range(0, len(samples) if fault != "empty" else 0, step):
            await request.more(samples[begin : begin + step])
            if fault == "cut" and begin > len(samples) // 2:
                raise ConnectionAbortedError
            await asyncio.sleep(0)
        await request.more(b"", last=True)


class _Gone(Exception):
    """Who asked has closed the connection."""


class _Request:
    """ASGI, as far as it is needed here."""

    def __init__(self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        self._receive, self._send = receive, send

    async def body(self) -> bytes:
        octets = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            octets += message.get("body", b"")
            if not message.get("more_body"):
                return bytes(octets)

    async def wait(self, seconds: float) -> None:
        """Raises _Gone when nobody waits any more."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._receive(), seconds)
                raise _Gone

    async def begin(self, status: int, kind: str, headers: dict[str, str] | None = None) -> None:
        told = [(b"content-type", kind.encode())]
        told += [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        await self._send({"type": "http.response.start", "status": status, "headers": told})

    async def more(self, octets: bytes, *, last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": octets, "more_body": not last})

    async def whole(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        await self.begin(status, kind, {"content-length": str(len(body))} | (headers or {}))
        await self.more(body, last=True)

    async def json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        await self.whole(status, "application/json", json.dumps(value).encode(), headers)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _form(content_type: str, body: bytes) -> tuple[dict[str, Any], float]:
    """The fields of a multipart form, and the length of its WAV."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields: dict[str, Any] = {}
    seconds = 0.0
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename():
            assert part.get_content_type() == "audio/wav"
            with wave.open(io.BytesIO(content)) as file:
                assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
                seconds = file.getnframes() / file.getframerate()
            fields[str(name)] = part.get_filename()
        else:
            fields[str(name)] = content.decode()
    return fields, seconds


def main() -> None:
    """A process of its own with the delays that the benches are about. Ends when its standard input does."""

    async def serve() -> None:
        async with StandIn(delays_s=dict(DELAYS_S)).run() as stand_in:
            print(stand_in.address, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
