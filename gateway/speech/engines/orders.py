"""The orders to a worker process that does one job after the other, seen from the worker.

Owns the reading of its channel between two pieces of work, what waits, and what is given up because nobody waits for it
any more. What a job is, and how it is done, is the worker's. A job is a message with a `number`.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.speech.engines.worker import say

_LARGEST: Final = 256 * 1024


class Forget(msgspec.Struct, tag="forget"):
    """Nobody waits for this job any more."""

    number: int


class Sound(msgspec.Struct, tag="sound"):
    number: int
    mulaw: bytes


class Done(msgspec.Struct, tag="done"):
    """error: empty when all of it was done."""

    number: int
    error: str = ""


class Orders:
    """Those of one channel. incoming: the messages that may come. aside: takes those that are neither a job nor
    `Forget`, and says whether it did. forgotten: told the number of a job that nobody waits for."""

    def __init__(
        self,
        sock: socket.socket,
        incoming: Any,
        aside: Callable[[Any], bool] = lambda order: False,
        forgotten: Callable[[int], object] = lambda number: None,
    ) -> None:
        self._sock = sock
        self._decoder = msgspec.msgpack.Decoder(incoming)
        self._aside, self._told_forgotten = aside, forgotten
        self._waiting: deque[Any] = deque()
        self._forgotten: set[int] = set()
        self._current = 0

    def next(self) -> Any | None:
        """The next job, as soon as there is one. None: the channel has closed."""
        while self._read(wait=not self._waiting):
            if not self._waiting:
                continue
            job = self._waiting.popleft()
            self._current = job.number
            if job.number not in self._forgotten:
                return job
            if not self.done("forgotten"):
                break
        return None

    def wanted(self) -> bool:
        """Between two pieces of work: whether anybody still waits for the present job."""
        return self._read(wait=False) and self._current not in self._forgotten

    def answer(self, word: msgspec.Struct) -> bool:
        """A piece of the present job. False: the channel has closed."""
        return say(self._sock, word)

    def done(self, error: str = "") -> bool:
        """The present job is over. False: the channel has closed."""
        number, self._current = self._current, 0
        self._forgotten.discard(number)
        return say(self._sock, Done(number, error))

    def _read(self, *, wait: bool) -> bool:
        """Take the orders that are there; wait: for one at least. False: the channel has closed."""
        while True:
            try:
                data = self._sock.recv(_LARGEST, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not data:
                return False
            self._take(self._decoder.decode(data))
            wait = False

    def _take(self, order: Any) -> None:
        if isinstance(order, Forget):
            self._told_forgotten(order.number)
            if order.number in (self._current, *(job.number for job in self._waiting)):  # not of one that is done
                self._forgotten.add(order.number)
        elif not self._aside(order):
            self._waiting.append(order)
