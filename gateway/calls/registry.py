"""The sessions that have legs here, and the directory that knows all of them.

Owns finding a session (here, or in the directory), bringing it here once for all its legs, and ending it
there. Refuses to know calls: it is asked for a session and tells whether the session service answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from random import Random
from typing import Any, Final, TypeVar

from gateway.calls.directory import Directory, SessionInfo
from gateway.calls.routing import Create, Existing
from gateway.calls.session import LiveSession, Place
from gateway.config import Config
from gateway.errors import Fault, GatewayError, PeerFault
from gateway.ops.metrics import Metrics
from gateway.stream.client import Address, StreamClient, tls_context

#: How often the session service is asked whether it is there, for `/readyz`: when it was, and when it was not.
PROBE_S: Final = 5.0
PROBE_AWAY_S: Final = 0.25

T = TypeVar("T")


class StreamMeter:
    """What happens to streams, as metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def connected(self, result: str) -> None:
        self._metrics.stream_connects[result].inc()

    def reconnected(self, result: str) -> None:
        self._metrics.stream_reconnects[result].inc()

    def closed(self, reason: str) -> None:
        self._metrics.stream_closes[reason].inc()


class Registry:
    """The sessions of this process, by id. `reachable`: whether the session service answered last time."""

    def __init__(self, place: Place, directory: Directory, random: Random) -> None:
        self.reachable = False
        self._place = place
        self._directory = directory
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._tls = tls_context(place.config.stream.ca_file)
        self._meter = StreamMeter(place.metrics)
        self._live: dict[str, LiveSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def reconfigure(self, config: Config) -> None:
        """For sessions that begin from now on."""
        self._place = self._place._replace(config=config)

    def start(self) -> None:
        self._spawn(self._probe())

    async def close(self) -> None:
        """Let go of every stream, at once."""
        for session in list(self._live.values()):
            session.abandon()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._directory.close()

    def live(self) -> Collection[LiveSession]:
        return self._live.values()

    def check(self, now: float) -> None:
        """Call once a second."""
        for session in self._live.values():
            session.client.check(now)

    async def resolve(self, choice: Existing | Create) -> SessionInfo:
        """Find the session, or create it. Raises GatewayError, also when it has as many legs as it may."""
        info = await self._find(choice)
        live = self._live.get(info.id)
        # What legs hear of each other is work for the real-time loop that grows with the square of their number.
        if live is not None and not live.ending and live.members >= self._place.config.sessions.max_legs:
            raise PeerFault(Fault.SESSION_FULL, f"the session has {live.members} calls already (sessions.max_legs)")
        return info

    async def _find(self, choice: Existing | Create) -> SessionInfo:
        if isinstance(choice, Create):
            return await self._ask(self._directory.create(choice.body))
        live = self._live.get(choice.session_id)
        if live is not None and live.is_ready and not live.ending:
            return SessionInfo(live.id, live.mode, Address("", ""))  # it is here: its stream is known
        return await self._ask(self._directory.get(choice.session_id))

    def obtain(self, info: SessionInfo) -> LiveSession:
        """The session as it is here; it comes here now if it is not."""
        live = self._live.get(info.id)
        if live is None or live.ending:
            live = LiveSession(info.id, info.mode, self._place, self._client_of(info), self._end, self._gone)
            self._live[info.id] = live
            live.client.start()
        return live

    def _client_of(self, info: SessionInfo) -> Callable[[LiveSession], StreamClient]:
        first = [info.stream] if info.stream.url else []

        async def address() -> Address:
            # The token that came with the session is good for the first attempt; later ones need a fresh one.
            return first.pop() if first else (await self._ask(self._directory.get(info.id))).stream

        def make(owner: LiveSession) -> StreamClient:
            place = self._place
            return StreamClient(owner, address, place.config.stream, self._tls, place.totals, self._meter, self._random)

        return make

    def _end(self, session_id: str, reason: str) -> None:
        self._spawn(self._end_there(session_id, reason))

    async def _end_there(self, session_id: str, reason: str) -> None:
        try:
            await self._ask(self._directory.end(session_id, reason))
        except GatewayError as error:
            if error.fault not in (Fault.SESSION_ENDED, Fault.SESSION_NOT_FOUND):
                self._place.log.warning("session_not_ended", session_id=session_id, message=error.message)

    def _gone(self, session: LiveSession) -> None:
        if self._live.get(session.id) is session:
            del self._live[session.id]

    async def _ask(self, request: Awaitable[T]) -> T:
        """A request to the session service, counted and timed."""
        metrics = self._place.metrics
        began = self._loop.time()
        result = "unreachable"
        try:
            answer = await request
            result = "ok"
        except GatewayError as error:
            if error.fault is not Fault.SERVICE_UNAVAILABLE:
                result = "refused"
            raise
        finally:
            self.reachable = result != "unreachable"
            metrics.directory_requests[result].inc()
            metrics.directory_latency.observe(self._loop.time() - began)
        return answer

    async def _probe(self) -> None:
        while True:
            self.reachable = await self._directory.reachable()
            await asyncio.sleep(PROBE_S if self.reachable else PROBE_AWAY_S)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
