"""What happens in sessions, written behind the event loop: in order, many jobs in one transaction.

One commit for many jobs is what lets a disk keep up: a commit takes longer than the writing.

Owns the queue between the loop, which may not wait for a disk, and the database. Bounded: beyond the
bound a write is refused and counted, for the database has been away for long by then. While it is away,
writes wait and are tried again. Knows no table.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from gateway.errors import Fault, LocalFault, PeerFault
from gateway.sessions.database import Database

P = ParamSpec("P")
T = TypeVar("T")
_log = structlog.get_logger(__name__)

BOUND: Final = 100_000
_BATCH: Final = 200
_RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)

_Entry = tuple[Callable[..., Any], tuple[Any, ...], asyncio.Future[Any]]


class Journal:
    """Give jobs with `write`; `run` carries them out, until `close` was called and nothing waits any more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Entry] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self.refused = 0
        self.failed = 0

    @property
    def backlog(self) -> int:
        return len(self._waiting)

    def write(
        self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Queue `job(connection, …)`. The future has its result once it is committed; nobody has to wait.

        A job may be carried out more than once before it is committed: it must change nothing but the database.
        """
        assert not kwargs, "journal jobs take positional arguments"
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= BOUND:
            self.refused += 1
            future.set_exception(LocalFault(Fault.INTERNAL, "the database does not keep up"))
            future.exception()  # counted here: nobody need ask
        else:
            self._waiting.append((job, args, future))
            self._wake.set()
        return future

    async def run(self) -> None:
        """Never cancel this: a batch that is with the database would be carried out twice."""
        while True:
            await self._drain()
            if self._closing:
                return
            await self._wake.wait()
            self._wake.clear()

    def close(self) -> None:
        """Let `run` return once everything is written."""
        self._closing = True
        self._wake.set()

    async def _drain(self) -> None:
        tries = 0
        while self._waiting:
            batch = [self._waiting[i] for i in range(min(_BATCH, len(self._waiting)))]
            try:
                outcomes = await self._database.run(_carry_out, batch)
            except OperationalError as error:
                # The database is away (or locked for longer than its time-out): what waits, waits on.
                delay = _RETRY_S[min(tries, len(_RETRY_S) - 1)]
                _log.warning("database_unavailable", retry_s=delay, waiting=self.backlog, error=type(error).__name__)
                tries += 1
                await asyncio.sleep(delay)
                continue
            tries = 0
            for (job, _args, future), (result, failure) in zip(batch, outcomes, strict=True):
                self._waiting.popleft()
                if failure is not None and not isinstance(failure, PeerFault):
                    self.failed += 1
                    _log.error("journal_write_failed", job=job.__name__, error=repr(failure))
                if future.done():  # its waiter was cancelled
                    continue
                if failure is None:
                    future.set_result(result)
                else:
                    future.set_exception(failure)
                    future.exception()


def _carry_out(connection: Connection, batch: list[_Entry]) -> list[tuple[Any, Exception | None]]:
    """All jobs in one savepoint; only when one of them fails, again with each in its own."""
    try:
        with connection.begin_nested():
            return [(job(connection, *args), None) for job, args, _future in batch]
    except OperationalError:
        raise
    except Exception:  # whose it is, and what it is, comes out below
        return _one_by_one(connection, batch)


def _one_by_one(connection: Connection, batch: list[_Entry]) -> list[tuple[Any, Exception | None]]:
    """Each job in a savepoint of its own, so that one that fails does not undo its neighbours."""
    outcomes: list[tuple[Any, Exception | None]] = []
    for job, args, _future in batch:
        try:
            with connection.begin_nested():
                outcomes.append((job(connection, *args), None))
        except OperationalError:
            raise
        except Exception as failure:  # told to its writer, and logged when it is a bug; the others go on
            outcomes.append((None, failure))
    return outcomes
