"""Sending webhooks (contract §3): signature, schedule, circuit per endpoint, and the loop that delivers.

Owns when and how; what is stored is `deliveries.py`'s, where a URL may lead is `egress.py`'s. Time and
randomness are arguments, the request is made by a `Post` that the composition root gives.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from gateway.sessions import deliveries
from gateway.sessions.database import Database
from gateway.sessions.deliveries import Delivery

_log = structlog.get_logger(__name__)

TIMEOUT_S: Final = 30.0
#: Seconds before the second, third … eighth attempt, counted from the one before.
DELAYS_S: Final = (60, 300, 1800, 7200, 18_000, 36_000, 86_400)
#: Requests under way at once: to one endpoint, and in all.
PER_ENDPOINT: Final = 8
IN_ALL: Final = 64
#: Failures in a row after which an endpoint is spared, and for how long.
OPEN_AFTER: Final = 5
OPEN_S: Final = 30.0


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The value of `Kallglot-Signature`."""
    signed = f"{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def next_delay(attempts: int, jitter: float) -> float | None:
    """Seconds to wait after this many attempts, None when there are no more. jitter: 0 … 1, adds up to 10 %."""
    if attempts > len(DELAYS_S):
        return None
    return DELAYS_S[attempts - 1] * (1.0 + 0.1 * jitter)


class Circuit:
    """One endpoint: closed, or open for a while after failures in a row; then one attempt decides."""

    __slots__ = ("busy", "failures", "open_until")

    def __init__(self) -> None:
        self.failures = 0
        self.open_until = 0.0
        self.busy = 0

    def admits(self, now: float) -> bool:
        if self.failures < OPEN_AFTER:
            return self.busy < PER_ENDPOINT
        return now >= self.open_until and not self.busy

    def settled(self, good: bool, now: float) -> None:
        if good:
            self.failures = 0
        else:
            self.failures += 1
            if self.failures >= OPEN_AFTER:
                self.open_until = now + OPEN_S


@dataclass(frozen=True)
class Answer:
    """What came of a request. refused: the URL leads where it must not; trying again is no use."""

    status: int | None
    text: str
    refused: bool = False

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Post(Protocol):
    async def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Make the request; every failure is an Answer."""


class Dispatcher:
    """Delivers what is due. `secret`: for organizations that have none of their own."""

    def __init__(
        self,
        database: Database,
        post: Post,
        clock: Callable[[], float],
        *,
        secret: str | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._post = post
        self._clock = clock
        self._secret = secret
        self._jitter = jitter
        self._circuits: dict[str, Circuit] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self.counts = {"delivered": 0, "failed": 0, "dead": 0, "refused": 0}

    @property
    def under_way(self) -> int:
        return len(self._tasks)

    def wake(self) -> None:
        """Something was stored: look now."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled: at once when woken, else once a second."""
        while True:
            try:
                more = await self.step()
            except OperationalError as error:
                _log.warning("webhook_queue_unavailable", error=type(error).__name__)
                more = 0
            if not more:
                # Not wait_for: before Python 3.12 it forgets a cancellation that comes with the wake-up.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._wake.wait()
            self._wake.clear()

    async def step(self) -> int:
        """Start what is due now; returns how many requests were begun."""
        now = self._clock()
        room = IN_ALL - len(self._tasks)
        if room <= 0:
            return 0
        spared = frozenset(url for url, circuit in self._circuits.items() if not circuit.admits(now))
        taken, secrets = await self._database.run(_claim, now, room, spared)
        surplus = []
        for delivery in taken:
            circuit = self._circuits.setdefault(delivery.url, Circuit())
            if not circuit.admits(now):
                surplus.append(delivery.number)  # more for one endpoint than it is to get at once
                continue
            circuit.busy += 1
            secret = secrets.get(delivery.organization_id, self._secret)
            task = asyncio.create_task(self._deliver(delivery, circuit, secret))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if surplus:
            await self._database.run(deliveries.release, surplus)
        self._forget_idle(now)
        return len(taken) - len(surplus)

    async def close(self, patience_s: float) -> None:
        """Wait for what is under way; what is not done by then is sent again by the next process."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=patience_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _deliver(self, delivery: Delivery, circuit: Circuit, secret: str | None) -> None:
        body = delivery.body.encode()
        try:
            answer = await self._post(delivery.url, body, self._headers(delivery, body, secret))
        finally:
            circuit.busy -= 1
        now = self._clock()
        circuit.settled(answer.good or answer.refused, now)
        attempts = delivery.attempts + 1
        delay = None if answer.refused else next_delay(attempts, self._jitter())
        result = answer.text if answer.status is None else f"HTTP {answer.status}"
        if answer.good:
            self.counts["delivered"] += 1
            await self._settle(delivery, "delivered", attempts, now, result)
        elif delay is None:
            self.counts["refused" if answer.refused else "dead"] += 1
            _log.error("webhook_given_up", delivery_id=delivery.id, type=delivery.type, result=result)
            await self._settle(delivery, "dead", attempts, now, result)
        else:
            self.counts["failed"] += 1
            await self._settle(delivery, "pending", attempts, now + delay, result)
        self.wake()

    async def _settle(self, delivery: Delivery, state: str, attempts: int, next_at: float, result: str) -> None:
        outcome = deliveries.Outcome(state, attempts, next_at, result)
        await self._database.run(deliveries.settle, delivery.number, self._clock(), outcome)

    def _headers(self, delivery: Delivery, body: bytes, secret: str | None) -> dict[str, str]:
        timestamp = int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "glotgate-webhooks",
            "Kallglot-Webhook-Id": delivery.id,
            "Kallglot-Retry-Count": str(delivery.attempts),
            "Kallglot-Original-Timestamp": str(int(delivery.created_at)),
        }
        if secret:
            headers["Kallglot-Signature"] = signature(secret, timestamp, body)
        return headers

    def _forget_idle(self, now: float) -> None:
        """Closed circuits need no memory, nor do endpoints that nobody has tried for an hour."""
        for url, circuit in tuple(self._circuits.items()):
            if not circuit.busy and (not circuit.failures or now - circuit.open_until > 3600):
                del self._circuits[url]


def _claim(
    connection: Connection, now: float, limit: int, spared: frozenset[str]
) -> tuple[list[Delivery], dict[str, str]]:
    taken = deliveries.claim(connection, now, limit, spared)
    return taken, deliveries.secrets_of(connection, {one.organization_id for one in taken})
