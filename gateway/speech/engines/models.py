"""Models in worker processes, as a pool: jobs, one at a time for each process, and a bounded number that wait.

Owns who works on what, the patience with it, and when there is no room for more. A job that nobody waits for any more
is taken back; a process that does not come back from it is ended, and started anew by its keeper. Knows no stage's
meaning.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gateway.speech.engines import model_worker as worker
from gateway.speech.engines.orders import Done, Forget, Sound
from gateway.speech.engines.worker import Link, Worker, WorkerFailed
from gateway.speech.stages import EngineFault, Stage

#: Busier than this, over the window, is too busy for one more session.
FULL: Final = 0.85
WINDOW_S: Final = 10.0
#: Answers of one job that nobody has taken yet.
_ANSWERS: Final = 4096
#: Seconds until jobs that wait for a process that is being started are looked at again.
_AGAIN_S: Final = 0.2
#: A process that does not come back from a job after so many times the patience is stuck.
_STUCK: Final = 3


class Load:
    """How busy so many processes were lately. Times in seconds."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._spans: deque[tuple[float, float]] = deque()
        self._running: dict[int, float] = {}

    def begin(self, job: int, now: float) -> None:
        self._running[job] = now

    def end(self, job: int, now: float) -> None:
        began = self._running.pop(job, None)
        if began is not None:
            self._spans.append((began, now))

    def share(self, now: float) -> float:
        """0 … 1, of the last `WINDOW_S`."""
        since = now - WINDOW_S
        while self._spans and self._spans[0][1] <= since:
            self._spans.popleft()
        busy = sum(end - max(begin, since) for begin, end in self._spans)
        busy += sum(now - max(begin, since) for begin in self._running.values())
        return busy / (WINDOW_S * self._places)


@dataclass(eq=False)
class _Job:
    number: int
    orders: list[msgspec.Struct]
    answers: asyncio.Queue[worker.Text | Sound | Done] = field(default_factory=lambda: asyncio.Queue(_ANSWERS))
    given_up: bool = False


class _Place:
    """One process, and the job that it works on."""

    def __init__(self, pool: Pool, module: str, settings: str) -> None:
        self._pool = pool
        self.job: _Job | None = None
        self.worker = Worker(worker.__name__, worker.Word, self, module, settings)

    def heard(self, message: Any) -> None:
        job = self.job
        if job is None or message.number != job.number:
            return
        if isinstance(message, Done):
            self.job = None
            self._pool.came_back(job)
        if not job.given_up:
            try:
                job.answers.put_nowait(message)
            except asyncio.QueueFull:
                self._pool.give_up(job)

    def gone(self) -> None:
        job, self.job = self.job, None
        if job is not None:
            self._pool.came_back(job)
            if not job.given_up:
                job.answers.put_nowait(Done(job.number, "the worker has died"))

    @property
    def link(self) -> Link | None:
        """To send a job by; None: it has one, or is not there."""
        return self.worker.link if self.job is None else None


class Pool:
    """So many processes with the same model. settings: what its module's `load` gets."""

    def __init__(
        self, engine: str, stage: Stage, module: str, settings: dict[str, Any],
        *, workers: int, waiting: int, timeout_s: float,
    ) -> None:  # fmt: skip
        self.about: dict[str, Any] = {}
        self._engine, self._stage = engine, stage
        self._most_waiting = waiting
        self._timeout_s = timeout_s
        told = msgspec.json.encode(settings).decode()
        self._places = [_Place(self, module, told) for _ in range(workers)]
        self._waiting: deque[_Job] = deque()
        self._load = Load(workers)
        self._numbers = 0
        self._again: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Load the model, in all processes at once. Raises EngineFault, with what is missing."""
        starts = await asyncio.gather(*(place.worker.start() for place in self._places), return_exceptions=True)
        self.about = self._places[0].worker.about
        wrong = [place.worker.about["error"] for place in self._places if "error" in place.worker.about]
        for failure in starts:
            if isinstance(failure, WorkerFailed):
                wrong.append(str(failure))
            elif failure is not None:
                raise failure
        if wrong:
            await self.close()
            raise self._fault(wrong[0], retryable=False)

    async def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        await asyncio.gather(*(place.worker.close() for place in self._places))
        for job in [*self._waiting, *(place.job for place in self._places if place.job is not None)]:
            job.answers.put_nowait(Done(job.number, "the engine is closed"))
        self._waiting.clear()

    def full(self) -> bool:
        """Whether those who are here already keep it busy."""
        now = asyncio.get_running_loop().time()
        return len(self._waiting) >= len(self._places) or self._load.share(now) >= FULL

    async def run(
        self, make: Callable[[int], worker.Job], audio: bytes = b""
    ) -> AsyncGenerator[worker.Text | Sound, None]:
        """One job's answers as they come. make: gets the job's number. Raises EngineFault."""
        if len(self._waiting) >= self._most_waiting:
            raise self._fault("too many jobs wait already", retryable=True)
        self._numbers += 1
        pieces = [audio[at : at + worker.PIECE] for at in range(0, len(audio), worker.PIECE)]
        job = _Job(self._numbers, [*(worker.Audio(self._numbers, piece) for piece in pieces), make(self._numbers)])
        self._waiting.append(job)
        self._dispatch()
        over = False
        try:
            while True:
                async with asyncio.timeout(self._timeout_s):
                    answer = await job.answers.get()
                if isinstance(answer, Done):
                    over = True
                    if answer.error:
                        raise self._fault(answer.error, retryable=True)
                    return
                yield answer
        except TimeoutError:
            raise self._fault(f"nothing came for {self._timeout_s:g} s", retryable=True) from None
        finally:
            if not over:
                self.give_up(job)

    # ---- what places tell ----------------------------------------------------------------------------

    def came_back(self, job: _Job) -> None:
        """A process is free again."""
        self._load.end(job.number, asyncio.get_running_loop().time())
        self._dispatch()

    def give_up(self, job: _Job) -> None:
        """Nobody waits for it any more."""
        job.given_up = True
        if job in self._waiting:
            self._waiting.remove(job)
            return
        for place in self._places:
            if place.job is job and place.worker.link is not None:
                place.worker.link.send(Forget(job.number))
                asyncio.get_running_loop().call_later(_STUCK * self._timeout_s, self._unstick, place, job)

    def _unstick(self, place: _Place, job: _Job) -> None:
        if place.job is job:
            place.worker.kill()

    def _dispatch(self) -> None:
        for place in self._places:
            if not self._waiting:
                return
            link = place.link
            if link is not None:
                place.job = job = self._waiting.popleft()
                self._load.begin(job.number, asyncio.get_running_loop().time())
                for order in job.orders:
                    link.send(order)
        if self._waiting and all(place.job is None for place in self._places) and self._again is None:
            # Every process is being started anew; nobody says when one is ready.
            self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._dispatch()

    def _fault(self, message: str, *, retryable: bool) -> EngineFault:
        return EngineFault(self._stage, self._engine, message, retryable=retryable)
