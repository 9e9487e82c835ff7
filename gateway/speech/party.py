"""One speaker of an interpreted session: from audio to turns whose words are known.

Owns endpointing and the ear, and the order in which turns are handed on. Each turn is handed on when it begins, and
fills up: with clauses while it is spoken, with its whole text when it has ended. Knows no listener and no translation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from gateway.speech.means import Means
from gateway.speech.stages import Ear, EngineFault, Heard, Partial, Stage
from gateway.speech.tongue import Tongue
from gateway.speech.turn import Turn
from gateway.speech.turns import Began, Ended, Paused, Spoke, Turns

#: Seconds that an engine may take to understand a turn after its end.
PATIENCE_S: Final = 8.0
#: Speech that is shorter than this is none: a knock, a cough.
SHORTEST_MS: Final = 100
#: Speech that lasts so long means to interrupt who is being heard.
INTERRUPTS_MS: Final = 300
#: Turns that wait to be understood; one more is not listened to.
WAITING: Final = 8


class Listener(Protocol):
    """What a party tells."""

    def began(self, turn: Turn) -> None:
        """A turn has begun."""

    def interrupts(self, turn: Turn) -> None:
        """It is meant: who speaks to this party may stop."""

    def guessed(self, turn: Turn) -> None:
        """`turn.guess` is new."""

    def understood(self, turn: Turn) -> None:
        """Its text is known; without text it was no speech, or `failed`."""

    def failed(self, fault: EngineFault) -> None:
        """An engine's fault, of which a turn suffers."""

    def worked(self, stage: Stage) -> None:
        """An engine did its part."""


class Party:
    """One speaker. new_id: of a segment."""

    def __init__(self, name: str, tongue: Tongue, means: Means, listener: Listener, new_id: Callable[[], str]) -> None:
        self.name = name
        self.tongue = tongue
        self.missed = 0  #: turns that were not listened to
        self._recognizer = means.recognizer(tongue)
        self._listener = listener
        self._clock = means.clock
        self._new_id = new_id
        self._turns = Turns(means.tuning, means.clause_ms)
        self._ear: Ear | None = None
        self._turn: Turn | None = None
        self._meant = False
        self._understanding: set[asyncio.Task[None]] = set()
        self._gone = False

    @property
    def detects(self) -> bool:
        return self._recognizer is not None and self._recognizer.detects and self.tongue.given is None

    @property
    def can_hear(self) -> bool:
        """Whether there is an engine for its language."""
        return self._recognizer is not None

    @property
    def is_speaking(self) -> bool:
        return self._turns.speaking

    @property
    def means_to_speak(self) -> bool:
        """A turn is in progress that is no knock and no cough."""
        return self._turn is not None and self._meant

    def hear(self, timestamp_ms: int, mulaw: bytes) -> None:
        """The next audio."""
        until_ms = timestamp_ms + len(mulaw) // 8
        for event in self._turns.push(timestamp_ms, mulaw):
            self._take(event, until_ms)

    def leave(self) -> None:
        """No more audio. What was said still is understood."""
        events = self._turns.flush()
        for event in events:
            self._take(event, max((end.end_ms for end in events if isinstance(end, Ended)), default=0))
        self._gone = True
        self._close_when_done()

    def close(self) -> Turn | None:
        """At once. The turn in progress, with what was guessed of it."""
        for task in self._understanding:
            task.cancel()
        if self._ear is not None:
            self._ear.close()
            self._ear = None
        turn, self._turn = self._turn, None
        return turn

    # ---- the turn in progress ----------------------------------------------------------------------

    def _take(self, event: object, until_ms: int) -> None:
        if isinstance(event, Began):
            self._begin(event)
        elif self._turn is None or self._ear is None:
            return
        elif isinstance(event, Spoke):
            self._ear.feed(event.mulaw)
            if not self._meant and event.voiced_ms >= INTERRUPTS_MS:
                self._meant = True
                self._listener.interrupts(self._turn)
        elif isinstance(event, Paused):
            self._ear.pause()
        elif isinstance(event, Ended):
            self._end(self._turn, self._ear, event, until_ms)

    def _begin(self, event: Began) -> None:
        self._turn, self._meant = None, False
        if self._recognizer is None:
            return
        if len(self._understanding) >= WAITING:
            self.missed += 1
            return
        if self._ear is None:
            try:
                self._ear = self._recognizer.listen(None if self.detects else self.tongue.language, self._guess)
            except EngineFault as fault:
                self._listener.failed(fault)
                return
        self._turn = Turn(self._new_id(), self.name, self.tongue.language, event.at_ms)
        self._listener.began(self._turn)

    def _guess(self, partial: Partial) -> None:
        turn = self._turn
        if turn is None:
            return
        if partial.text and partial.text != turn.guess:
            turn.guess = partial.text
            self._listener.guessed(turn)
        turn.stabilize(partial.text, partial.stable)

    def _end(self, turn: Turn, ear: Ear, event: Ended, until_ms: int) -> None:
        self._turn = None
        turn.end_ms = event.end_ms
        turn.ended_at = self._clock() - (until_ms - event.end_ms) / 1000
        if event.voiced_ms < SHORTEST_MS and not turn.guess:
            ear.drop()
            self._hand_on(turn)
            return
        task = asyncio.create_task(self._understand(turn, ear.end()))
        self._understanding.add(task)
        task.add_done_callback(self._done)

    async def _understand(self, turn: Turn, answer: asyncio.Future[Heard]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                heard = await answer
            turn.text, turn.confidence = " ".join(heard.text.split()), heard.confidence
            if turn.text:
                turn.language = await self.tongue.hear(heard, self.detects)
            self._listener.worked(Stage.RECOGNITION)
        except (EngineFault, TimeoutError) as error:
            assert self._recognizer is not None
            turn.failed = True
            turn.text = turn.guess
            late = EngineFault(
                Stage.RECOGNITION, self._recognizer.engine, f"no answer in {PATIENCE_S:.0f} s", retryable=True
            )
            self._listener.failed(error if isinstance(error, EngineFault) else late)
        finally:
            turn.reach("final", self._clock())
            self._hand_on(turn)

    def _hand_on(self, turn: Turn) -> None:
        rest = turn.rest()
        if rest:
            turn.clauses.put_nowait(rest)
        turn.clauses.put_nowait(None)
        turn.understood = True
        self._listener.understood(turn)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._understanding.discard(task)
        if self._gone:
            self._close_when_done()

    def _close_when_done(self) -> None:
        if not self._understanding and self._ear is not None:
            self._ear.close()
            self._ear = None
