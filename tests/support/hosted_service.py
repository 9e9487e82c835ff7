"""A hosted session service that does to each session what its id says: refuses it, is slow, or has no stream for it.

    with HostedService() as service:  # service.url is for `sessions.url`
        ...                           # sess_fine, sess_broke, sess_silent, …
        service.conversation("sess_fine").digits()

Owns two servers in threads of their own: REST, and the streams. A session that is not named here is fine.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import time
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from rtp.g711 import LINEAR_TO_MU, MU_TO_LINEAR
from tests.support.stream_server import Peer, Server

#: By session id: status, code of the error envelope, Retry-After.
REFUSALS: Final[dict[str, tuple[int, str, str]]] = {
    "sess_unknown": (404, "session_not_found", ""),
    "sess_broke": (402, "insufficient_api_credits", ""),
    "sess_inactive": (403, "organization_inactive", ""),
    "sess_forbidden": (403, "insufficient_permissions", ""),
    "sess_ended": (409, "session_ended", ""),
    "sess_hurried": (429, "rate_limit_exceeded", "7"),
    "sess_away": (503, "service_unavailable", ""),
    "sess_draining": (503, "draining", "9"),
    "sess_broken": (500, "service_unavailable", ""),
    "sess_keyless": (401, "invalid_api_key", ""),
}
#: Sessions whose stream is refused at the handshake, never says that it is ready, or is not there.
STREAMS: Final = ("sess_refused", "sess_silent", "sess_absent")
SLOW_S: Final = 5.0


class Conversation:
    """One session as its service has it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server, session: str) -> None:
        self._loop, self._server = loop, server
        self._token = f"token=kst_{session}".encode()

    def _peers(self) -> list[Peer]:
        return [peer for peer in list(self._server.peers) if peer.path.endswith(self._token)]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """The messages of these types, in their order."""
        return [message for peer in self._peers() for message in peer.messages if message["type"] in kinds]

    def digits(self) -> str:
        """The keys that were pressed."""
        return "".join(message["digit"] for message in self.of("dtmf"))

    def heard(self) -> npt.NDArray[np.float32]:
        """What the callers said, all of it: -1…1."""
        payloads = [message["audio"]["payload"] for message in self.of("audio.input")]
        octets = np.frombuffer(b"".join(map(base64.b64decode, payloads)), np.uint8)
        return np.asarray(MU_TO_LINEAR[octets] / 32768, dtype=np.float32)

    def say(self, samples: npt.NDArray[np.float32], target: str = "customer") -> None:
        """Let a party hear something."""
        linear = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
        octets = LINEAR_TO_MU[linear.view(np.uint16)].tobytes()
        for at in range(0, len(octets), 1600):
            payload = base64.b64encode(octets[at : at + 1600]).decode()
            audio = {"encoding": "mulaw", "sample_rate_hz": 8000, "payload": payload}
            self.tell({"type": "audio.output", "session_id": "s", "speaker": "other", "target": target, "audio": audio})

    def tell(self, message: dict[str, Any]) -> None:
        """Something from the service to the gateway."""
        for peer in self._peers():
            self._loop.call_soon_threadsafe(peer.say, message)


class HostedService:
    """Use as a context manager; `stop` earlier to let it be gone."""

    def __init__(self) -> None:
        self._streams = {"": Server(), "sess_refused": Server(), "sess_silent": Server()}
        self._streams["sess_refused"].status = 401
        self._streams["sess_silent"].greets = False
        service = self

        class Handler(BaseHTTPRequestHandler):
            # HTTP/1.0: no connection is kept, so that none outlives `stop`
            def do_GET(self) -> None:
                service._answer(self, self.path.rpartition("/")[2])

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = self.path.split("/")
                service._answer(self, parts[3] if len(parts) > 3 else "sess_created")

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._threads = [threading.Thread(target=self._http.serve_forever, daemon=True)]
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._over = asyncio.Event()
        self._threads.append(threading.Thread(target=self._loop.run_until_complete, args=[self._stream()], daemon=True))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        if not self._listening.wait(10):
            raise AssertionError("the streams are not served")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def conversation(self, session: str) -> Conversation:
        """What is said in a session, both ways."""
        return Conversation(self._loop, self._streams[""], session)

    def end_all(self) -> None:
        """Every stream hears that its session has ended."""

        def tell() -> None:
            for peer in self._streams[""].peers:
                peer.say({"type": "session.ended", "session_id": "sess_fine", "reason": "completed"})

        self._loop.call_soon_threadsafe(tell)

    def stop(self) -> None:
        if self._threads:
            self._http.shutdown()
            self._http.server_close()
            self._loop.call_soon_threadsafe(self._over.set)
            for thread in self._threads:
                thread.join(10)
            self._threads = []
            self._loop.close()

    async def _stream(self) -> None:
        async with AsyncExitStack() as stack:
            for server in self._streams.values():
                await stack.enter_async_context(server.run())
            self._listening.set()
            await self._over.wait()

    def _answer(self, request: BaseHTTPRequestHandler, session: str) -> None:
        status, code, retry = REFUSALS.get(session, (200, "", ""))
        if session == "sess_slow":
            time.sleep(SLOW_S)
        body: Any = {"error": {"type": "x", "code": code, "message": "as the test says", "request_id": "req_1"}}
        if not code:
            port = 9 if session == "sess_absent" else self._streams.get(session, self._streams[""]).port
            stream = {
                "url": f"ws://127.0.0.1:{port}/v1/stream",
                "token": f"kst_{session}",
                "expires_at": "2099-01-01T00:00:00Z",
            }
            body = {
                "id": session,
                "object": "session",
                "status": "created",
                "mode": "help_chat_voice",
                "stream": stream,
            }
        data = b"what?" if session == "sess_nonsense" else json.dumps(body).encode()
        with contextlib.suppress(BrokenPipeError):  # whoever asked did not wait for so long
            self._respond(request, status, data, retry)

    @staticmethod
    def _respond(request: BaseHTTPRequestHandler, status: int, data: bytes, retry: str) -> None:
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        if retry:
            request.send_header("Retry-After", retry)
        request.end_headers()
        request.wfile.write(data)
