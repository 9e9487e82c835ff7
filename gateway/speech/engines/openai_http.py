"""Requests to one OpenAI-compatible endpoint: one client, its bounds, and what is tried again.

Owns connections, patience, retries, the number of requests at once and the words for what went wrong. A request is
tried again only while nothing of its answer has come, and within its patience: what is asked here changes nothing at
the other end. The key goes into one header and nowhere else. Knows no stage's meaning.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from gateway.speech.engine_settings import OpenAiEngine
from gateway.speech.engines import openai_shapes as shapes
from gateway.speech.resilience import backoff_s
from gateway.speech.stages import EngineFault, Stage

#: Answers after which the same request may succeed: it was too early, too much, or somebody was away.
_PASSING: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_CONNECTIONS: Final = 64
_ANSWER_LIMIT: Final = 32 * 1024 * 1024
_ERROR_LIMIT: Final = 64 * 1024
_PROBE_S: Final = 3.0


class Body:
    """An answer that has begun. patience_s: the longest wait for its next piece."""

    def __init__(self, response: httpx.Response, patience_s: float) -> None:
        self._response = response
        self._patience_s = patience_s

    @property
    def is_events(self) -> bool:
        kind: str = self._response.headers.get("content-type", "")
        return kind.startswith("text/event-stream")

    async def pieces(self) -> AsyncIterator[bytes]:
        """As they come. Raises TimeoutError, httpx.HTTPError, ValueError for more than anybody would send."""
        pieces = self._response.aiter_bytes()
        size = 0
        while True:
            async with asyncio.timeout(self._patience_s):
                piece = await anext(pieces, None)
            if piece is None:
                return
            size += len(piece)
            if size > _ANSWER_LIMIT:
                raise ValueError("an answer that has no end")
            yield piece

    async def whole(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


class Places:
    """So many requests at once for a stage, and as many that wait."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._most_waiting = places
        self._waiting = 0

    @property
    def full(self) -> bool:
        """Whether requests already wait that can not all be served soon."""
        return self._waiting * 2 >= self._most_waiting

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a place. Raises OverflowError when too many wait."""
        if self._waiting >= self._most_waiting:
            raise OverflowError
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()


class Endpoint:
    """The requests of one engine. Made on the event loop. Raises OSError for a ca_file that is no good."""

    def __init__(self, name: str, settings: OpenAiEngine) -> None:
        self.name = name
        self.host = httpx.URL(settings.base_url).host
        self._retries = settings.retries
        self._places = {
            stage: Places(section.concurrency) for stage in Stage if (section := getattr(settings, stage)) is not None
        }
        headers = {"Accept-Encoding": "identity"}  # nothing is gained by packing, and a packed bomb is none
        if settings.api_key is not None:
            headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        self._client = httpx.AsyncClient(
            base_url=settings.base_url,
            headers=headers,
            verify=ssl.create_default_context(cafile=settings.ca_file),
            timeout=httpx.Timeout(
                None, connect=_PROBE_S
            ),  # patience is ours: from piece to piece, not from octet to octet
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    @property
    def full(self) -> bool:
        return any(places.full for places in self._places.values())

    async def models(self) -> list[str] | None:
        """The models that the endpoint lists, None when it answers without a list. Raises EngineFault."""
        try:
            async with asyncio.timeout(_PROBE_S):
                answer = await self._client.get("models")
        except (TimeoutError, httpx.HTTPError) as error:
            raise self._fault(Stage.RECOGNITION, _words(error), retryable=True) from None
        if answer.status_code in (401, 403):
            raise self._fault(Stage.RECOGNITION, f"refuses the key (HTTP {answer.status_code})", retryable=False)
        if answer.status_code >= 500:
            raise self._fault(Stage.RECOGNITION, f"HTTP {answer.status_code}", retryable=True)
        try:
            return shapes.models(answer.content) if answer.status_code == 200 else None
        except ValueError:
            return None

    @asynccontextmanager
    async def ask(self, stage: Stage, path: str, patience_s: float, **content: Any) -> AsyncIterator[Body]:
        """The answer's body, once a good answer has begun. content: as httpx takes it. Raises EngineFault; what goes
        wrong while the body is read becomes one too."""
        try:
            async with asyncio.timeout(patience_s) as wait:
                async with self._places[stage].one():
                    response = await self._begin(stage, path, wait, content)
                    wait.reschedule(None)  # from here on each piece has its own patience
                    try:
                        yield Body(response, patience_s)
                    finally:
                        await response.aclose()
        except OverflowError:
            raise self._fault(stage, "too many requests wait already", retryable=True) from None
        except TimeoutError:
            raise self._fault(stage, f"nothing came for {patience_s:g} s", retryable=True) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._fault(stage, _words(error), retryable=True) from None
        except ValueError as error:
            raise self._fault(stage, f"an answer that can not be read: {error}", retryable=True) from None

    async def _begin(
        self, stage: Stage, path: str, wait: asyncio.Timeout, content: Mapping[str, Any]
    ) -> httpx.Response:
        """Ask until a good answer begins. Raises EngineFault, httpx.HTTPError; the time-out around it ends it."""
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            least_s = 0.0
            try:
                response = await self._client.send(self._client.build_request("POST", path, **content), stream=True)
            except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout):
                # Not there, or gone with a connection that was kept: nothing was answered yet.
                if last:
                    raise
            else:
                if response.status_code < 300:
                    return response
                refusal = await self._refusal(stage, response)
                if last or not refusal.retryable:
                    raise refusal
                least_s = _retry_after_s(response)
            pause_s = max(least_s, backoff_s(attempt, random.random()))
            ends = wait.when()
            if ends is not None and asyncio.get_running_loop().time() + pause_s >= ends:
                raise self._fault(stage, f"asks to wait {pause_s:.0f} s", retryable=True)
            await asyncio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def _refusal(self, stage: Stage, response: httpx.Response) -> EngineFault:
        status, told = response.status_code, b""
        try:
            async for piece in response.aiter_bytes():
                told += piece
                if len(told) > _ERROR_LIMIT:
                    break
        finally:
            await response.aclose()
        if status in (401, 403):  # what it says of a key may repeat the key
            return self._fault(stage, f"refuses the key (HTTP {status})", retryable=False)
        why = shapes.reason(told)
        return self._fault(stage, f"HTTP {status}" + (f": {why}" if why else ""), retryable=status in _PASSING)

    def _fault(self, stage: Stage, message: str, *, retryable: bool) -> EngineFault:
        return EngineFault(stage, self.name, f"{self.host}: {message}", retryable=retryable)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip(": ")


def _retry_after_s(response: httpx.Response) -> float:
    """Retry-After in seconds (RFC 9110 §10.2.3); a date is as good as none, for nobody waits that long here."""
    told: str = response.headers.get("retry-after", "")
    return float(told) if told.isascii() and told.isdigit() else 0.0
