"""Recognition by pocketsphinx, this process's side: an ear for each speaker, its voice to the worker and back.

Owns the ears and how many there may be. What hears is `hearing_worker.py`'s.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.speech.engines import hearing_worker as worker
from gateway.speech.engines.worker import Link, Ready, Worker, WorkerFailed, pair
from gateway.speech.interpreter import OCTETS_PER_MS
from gateway.speech.stages import EngineFault, Heard, Partial, Stage

#: Audio is sent to the worker in pieces of this.
PIECE: Final = 80 * OCTETS_PER_MS
#: Messages that wait for a worker that does not take them: eight seconds, and what the kernel holds. More is dropped.
BACKLOG: Final = 100
#: Answers that take longer than this, on average, say that there is no room for more; while they are so recent.
LATE_S: Final = 2.0
RECENT_S: Final = 15.0
#: Turns of one speaker that wait for their answer; one more and the oldest fails.
WAITING: Final = 4


class SphinxEar:
    """One speaker's process. A new one is asked for at the next turn when it dies."""

    def __init__(self, recognizer: SphinxRecognizer, language: str, partial: Callable[[Partial], None]) -> None:
        self._recognizer = recognizer
        self._language = language
        self._partial = partial
        self._link: Link | None = None
        self._piece = bytearray()
        self._turn = 0
        self._ends: deque[tuple[int, float, asyncio.Future[Heard]]] = deque()  # turn, when it ended, its answer
        self._closed = False
        self.dropped = 0  #: octets that the worker did not take
        self._connect()

    def feed(self, mulaw: bytes) -> None:
        self._piece += mulaw
        if len(self._piece) >= PIECE:
            self._send_piece()

    def pause(self) -> None:
        self._send_piece()
        if self._link is not None:
            self._link.send(worker.Pause())

    def end(self) -> asyncio.Future[Heard]:
        future: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        self._send_piece()
        if self._link is None:
            future.set_exception(self._fault("the worker has died"))
            return future
        self._link.send(worker.End(self._turn))
        self._ends.append((self._turn, asyncio.get_running_loop().time(), future))
        self._turn += 1
        if len(self._ends) > WAITING:
            _fail(self._ends.popleft()[2], self._fault("it does not keep up"))
        return future

    def drop(self) -> None:
        self._piece.clear()
        if self._link is not None:
            self._link.send(worker.Drop())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._recognizer.ears.discard(self)
            if self._link is not None:
                self._link.close()
            self._fail_all("the speaker has gone")

    def _connect(self) -> None:
        sock = self._recognizer.connect()
        self._link = None if sock is None else Link(sock, worker.Word, self._on_word, self._on_gone)
        self._turn = 0  # the new process counts from there

    def _send_piece(self) -> None:
        if not self._piece:
            return
        if self._link is None and not self._closed:
            self._connect()
        if self._link is None or self._link.backlog > BACKLOG:
            self.dropped += len(self._piece)
        else:
            self._link.send(worker.Audio(bytes(self._piece)))
        self._piece.clear()

    def _on_word(self, word: worker.Word) -> None:
        if isinstance(word, worker.Guess):
            if word.turn == self._turn:  # else its answer is on the way
                self._partial(Partial(word.text, word.stable, covered_ms=word.covered_ms))
            return
        while self._ends and self._ends[0][0] <= word.turn:
            turn, since, future = self._ends.popleft()
            self._recognizer.answered(asyncio.get_running_loop().time() - since)
            if not future.done() and turn == word.turn:
                future.set_result(Heard(word.text, self._language, word.confidence))

    def _on_gone(self) -> None:
        self._link = None
        self._fail_all("the worker has died")

    def _fail_all(self, why: str) -> None:
        while self._ends:
            _fail(self._ends.popleft()[2], self._fault(why))

    def _fault(self, why: str) -> EngineFault:
        return EngineFault(Stage.RECOGNITION, self._recognizer.engine, why, retryable=True)


def _fail(future: asyncio.Future[Heard], fault: EngineFault) -> None:
    if not future.done():
        future.set_exception(fault)
        future.exception()  # whoever waits hears of it; nobody may


class SphinxRecognizer:
    """English, by pocketsphinx's own model. Raises EngineFault at `start` when there is no pocketsphinx."""

    detects = False

    def __init__(self, engine: str, max_speakers: int) -> None:
        self.engine = engine
        self.languages: frozenset[str] = frozenset()
        self.ears: set[SphinxEar] = set()
        self._max = max_speakers
        self._late_s = 0.0
        self._answered_at = -RECENT_S
        self._worker = Worker(worker.__name__, Ready, self)

    async def start(self) -> None:
        try:
            await self._worker.start()
        except WorkerFailed as error:
            raise EngineFault(Stage.RECOGNITION, self.engine, str(error), retryable=False) from None
        self.languages = frozenset(self._worker.about["languages"])

    async def close(self) -> None:
        for ear in tuple(self.ears):
            ear.close()
        await self._worker.close()

    def full(self) -> bool:
        """No place, or the processors do not keep up with those who speak already."""
        recent = asyncio.get_running_loop().time() - self._answered_at < RECENT_S
        return len(self.ears) >= self._max or (recent and self._late_s > LATE_S)

    def answered(self, seconds: float) -> None:
        """An ear's answer came so long after the turn's end."""
        self._late_s += (seconds - self._late_s) / 8
        self._answered_at = asyncio.get_running_loop().time()

    def listen(self, language: str | None, partial: Callable[[Partial], None]) -> SphinxEar:
        if len(self.ears) >= self._max:
            raise EngineFault(
                Stage.RECOGNITION, self.engine, f"{self._max} speakers are listened to already", retryable=True
            )
        ear = SphinxEar(self, language or "en", partial)
        self.ears.add(ear)
        return ear

    def connect(self) -> socket.socket | None:
        """A fresh process for one speaker. None: there is none now."""
        door = self._worker.socket
        if door is None:
            return None
        ours, theirs = pair()
        with theirs:
            try:
                socket.send_fds(door, [b"speaker"], [theirs.fileno()])
            except OSError:  # it died this moment, or is stopped
                ours.close()
                return None
        return ours

    # ---- Owner -------------------------------------------------------------------------------------

    def heard(self, message: object) -> None:
        raise AssertionError(f"the first process says nothing but that it is ready, not {message!r}")

    def gone(self) -> None:
        """The children live on; who needs a new one waits for the next first process."""
