"""What the session service counts of itself, for the gateway's `/metrics`: an ASGI layer around its REST API.

It counts and times every request, and answers one route of its own, `/internal/metrics`, to the holder of the
internal key only: the admin address is where operators ask, and it is the gateway that asks here. Knows the
metrics table and HTTP's outside; not what a route does.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.ops.metrics import SessionsMetrics, SpeechMetrics

PATH: Final = "/internal/metrics"


class Meter:
    """The layer. gauges: (sessions not ended, streams open); events: what streams counted, as totals; speech: what
    interpreters count."""

    def __init__(
        self,
        app: ASGIApp,
        internal_key: str,
        gauges: Callable[[], tuple[int, int]],
        events: Callable[[], Mapping[str, int]],
        speech: SpeechMetrics,
    ) -> None:
        self._app = app
        self._authorization = f"Bearer {internal_key}".encode()
        self._gauges, self._events = gauges, events
        self._metrics = SessionsMetrics()
        self._speech = speech

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == PATH and self._is_gateway(scope):
            await self._tell(send)
        else:
            await self._measure(scope, receive, send)

    def _is_gateway(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self._authorization)

    async def _measure(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        began, status = loop.time(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.requests[scope["method"], f"{status // 100}xx"].inc()
            self._metrics.request_time.observe(loop.time() - began)

    async def _tell(self, send: Send) -> None:
        sessions, streams = self._gauges()
        self._metrics.active.set(sessions)
        self._metrics.streams.set(streams)
        self._metrics.stream_events.absorb(self._events())
        headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._metrics.exposition() + self._speech.exposition()})
