"""An agent's voice in one listener's ear: clauses synthesized and sent in time, and how much of them was heard.

Owns pacing (never far ahead of what is played: play-out queues are bounded) and the account of one answer after the
other. A gateway tells what was played and what it dropped; where nobody tells, time does. Refuses to know what is
said and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.speech.interpreter import OCTETS_PER_MS, Sink
from gateway.speech.ledger import FIRST, Account, Clause
from gateway.speech.stages import EngineFault, Stage, Synthesizer

#: Milliseconds of speech that may wait to be played.
AHEAD_MS: Final = 10_000
#: How long the gateway may take to say what was cleared; and to say that all was heard, beyond the time it takes.
REPORT_S: Final = 0.6
GRACE_S: Final = 1.5


def _nobody(moment: str) -> None:
    """Asks when an answer is heard."""


class Voice:
    """name: whose words the sink says they are. find: who speaks a language. clock: seconds, never backwards. account:
    the listener's, which others may have sent something before."""

    def __init__(
        self,
        sink: Sink,
        name: str,
        listener: str,
        find: Callable[[str], Synthesizer | None],
        clock: Callable[[], float],
        account: Account,
        voice: str | None = None,
    ) -> None:
        self._sink, self._name, self._listener = sink, name, listener
        self._find, self._clock, self._voice = find, clock, voice
        self._account = account
        self._answer: list[Clause] = []
        self._plays_until = clock()
        self._position_ms = 0
        self._marks = 0
        self._first = self._last = ""  # marks behind an answer's first audio, and its last
        self._reach: Callable[[str], None] = _nobody
        self._heard_all = asyncio.Event()
        self._reported = asyncio.Event()

    @property
    def text(self) -> str:
        """All of the present answer that was begun to be said."""
        return " ".join(clause.text for clause in self._answer)

    @property
    def heard(self) -> str:
        """Of the present answer, what was heard."""
        return " ".join(text for clause in self._answer if (text := clause.heard_text()))

    @property
    def left_ms(self) -> int:
        """How much is still to be played, if play-out goes on in real time."""
        return max(0, round((self._plays_until - self._clock()) * 1000))

    def begin(self, reach: Callable[[str], None] = _nobody) -> None:
        """What follows is a new answer. reach: told its moments, `first_audio` and `heard`."""
        self._answer = []
        self._first, self._reach = "", reach

    async def say(self, text: str, language: str) -> None:
        """One clause; returns when it is on its way. Raises EngineFault."""
        synthesizer = self._find(language)
        if synthesizer is None:
            raise EngineFault(Stage.SYNTHESIS, "none", f"nobody speaks {language}", retryable=False)
        clause = Clause(text)
        self._answer.append(clause)
        try:
            async for audio in synthesizer.speak(text, language, voice=self._voice):
                await self._wait_for_room()
                if self._first:
                    self._send(clause, audio)
                    continue
                self._reach("first_audio")
                self._send(clause, audio[:FIRST])
                self._first = self._mark()
                if len(audio) > FIRST:
                    self._send(clause, audio[FIRST:])
        finally:
            clause.complete = True

    async def heard_out(self) -> None:
        """Wait until the listener has heard everything."""
        if not self._account.open_octets:
            return
        self._heard_all.clear()
        self._last = self._mark()
        try:
            async with asyncio.timeout(self.left_ms / 1000 + GRACE_S):
                await self._heard_all.wait()
        except TimeoutError:
            self._account.close()  # a stream that knows no marks

    async def cut_short(self) -> None:
        """Stop speaking now; returns when it is known what was heard."""
        if not self._account.open_octets:
            return
        left_ms = self.left_ms
        self._plays_until = self._clock()
        self._reported.clear()
        self._sink.clear(self._listener)
        try:
            async with asyncio.timeout(REPORT_S):
                await self._reported.wait()
        except TimeoutError:
            self._account.lose(left_ms * OCTETS_PER_MS)

    def give_up(self) -> None:
        """The listener has gone, or the session is over: what time says was heard is all that will be known."""
        self._account.lose(self.left_ms * OCTETS_PER_MS)

    def played(self, mark: str) -> None:
        if not self._account.played(mark):
            return
        if mark == self._first:
            self._reach("heard")
        elif mark == self._last:
            self._heard_all.set()

    def cleared(self, played_ms: int, dropped_ms: int) -> None:
        self._account.cleared(played_ms, dropped_ms)
        self._reported.set()

    def _send(self, clause: Clause, audio: bytes) -> None:
        self._sink.audio(self._name, self._listener, self._position_ms, audio)
        self._account.send(clause, len(audio))
        seconds = len(audio) / OCTETS_PER_MS / 1000
        self._position_ms += round(seconds * 1000)
        self._plays_until = max(self._plays_until, self._clock()) + seconds

    def _mark(self) -> str:
        """A mark behind everything that was sent."""
        self._marks += 1
        mark = f"{self._name}-{self._marks}"
        self._account.mark(mark)
        self._sink.mark(self._listener, mark)
        return mark

    async def _wait_for_room(self) -> None:
        while (ahead_ms := self.left_ms) > AHEAD_MS:  # noqa: ASYNC110  (nobody tells that time has passed)
            await asyncio.sleep((ahead_ms - AHEAD_MS) / 1000)
