"""One speaker's recognition with fallbacks: which engine hears a turn, and who hears it again when that one fails.

Owns the turn's audio until it is understood: it is what the next engine gets. What an engine had committed to
(`Partial.stable`) stays, for it may be translated and spoken already; the next one hears only what follows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from gateway.speech.interpreter import OCTETS_PER_MS
from gateway.speech.stages import Ear, EngineFault, Heard, Partial, Recognizer, Stage

#: Audio of a turn that is kept for a fallback, the newest: longer than any turn that the endpointing lets through.
KEPT_OCTETS: Final = 130_000 * OCTETS_PER_MS


class Referee(Protocol):
    """Who may be asked, and how it went: `fallback.Health`."""

    def admit(self, stage: Stage, engine: str) -> bool: ...
    def answered(self, stage: Stage, engine: str, fault: EngineFault | None = None) -> None: ...
    def gave_up(self, stage: Stage, engine: str) -> None: ...


@dataclass
class _Turn:
    """committed: the text that stays; covered_ms: so much of the audio it stands for; paused_ms: the last pause."""

    place: int  # of the engine that hears it, in the order; −1: none does
    audio: bytearray = field(default_factory=bytearray)
    lost: int = 0  # octets that fell off the front of `audio`
    committed: str = ""
    covered_ms: int = 0
    paused_ms: int = 0

    def keep(self, mulaw: bytes) -> None:
        self.audio += mulaw
        surplus = len(self.audio) - KEPT_OCTETS
        if surplus > 0:
            del self.audio[:surplus]
            self.lost += surplus

    @property
    def length_ms(self) -> int:
        return (self.lost + len(self.audio)) // OCTETS_PER_MS

    def rest(self) -> bytes:
        """The audio that nothing was committed for."""
        return bytes(memoryview(self.audio)[max(0, self.covered_ms * OCTETS_PER_MS - self.lost) :])


class TurnByTurn:
    """An `Ear` over several recognizers. Raises EngineFault at once when none of those that are well has room."""

    def __init__(
        self,
        recognizers: Sequence[Recognizer],
        referee: Referee,
        language: str | None,
        partial: Callable[[Partial], None],
    ) -> None:
        self._recognizers = recognizers
        self._referee = referee
        self._language = language
        self._partial = partial
        self._turn: _Turn | None = None
        self._ear: Ear | None = None
        self._place = -1  # whose ear `_ear` is
        self._answers: set[asyncio.Task[Heard]] = set()
        self._open()

    def feed(self, mulaw: bytes) -> None:
        if self._turn is None:
            self._turn = _Turn(self._begin())
        self._turn.keep(mulaw)
        if self._ear is not None and self._turn.place >= 0:
            self._ear.feed(mulaw)

    def pause(self) -> None:
        turn = self._turn
        if turn is not None:
            turn.paused_ms = turn.length_ms
            if self._ear is not None and turn.place >= 0:
                self._ear.pause()

    def end(self) -> asyncio.Future[Heard]:
        turn, self._turn = self._turn or _Turn(self._begin()), None
        asked = self._ear.end() if self._ear is not None and turn.place >= 0 else None
        answer = asyncio.ensure_future(self._answer(turn, asked))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        return answer

    def drop(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and turn.place >= 0:
            self._referee.gave_up(Stage.RECOGNITION, self._recognizers[turn.place].engine)
            if self._ear is not None:
                self._ear.drop()

    def close(self) -> None:
        self.drop()
        for answer in tuple(self._answers):
            answer.cancel()
        self._shut()

    # ---- who hears ---------------------------------------------------------------------------------

    def _open(self) -> None:
        """Before the first turn: a place at the first engine that has one."""
        fault: EngineFault | None = None
        for place, recognizer in enumerate(self._recognizers):
            try:
                self._ear, self._place = recognizer.listen(self._language, self._hears(place)), place
                return
            except EngineFault as full:
                fault = full
        if fault is not None:
            raise fault

    def _begin(self) -> int:
        """A turn begins: the place of the engine that is to hear it, −1 when all rest or are full."""
        for place, recognizer in enumerate(self._recognizers):
            if not self._referee.admit(Stage.RECOGNITION, recognizer.engine):
                continue
            if place == self._place:
                return place
            try:
                ear = recognizer.listen(self._language, self._hears(place))
            except EngineFault as full:
                self._referee.answered(Stage.RECOGNITION, recognizer.engine, full)
                continue
            self._shut()
            self._ear, self._place = ear, place
            return place
        return -1

    def _shut(self) -> None:
        if self._ear is not None:
            # Turns that the old engine still works on are answered before its ear is closed.
            pending, ear = tuple(self._answers), self._ear
            self._ear, self._place = None, -1
            if pending and not all(answer.cancelling() for answer in pending):
                waiting = asyncio.gather(*pending, return_exceptions=True)
                waiting.add_done_callback(lambda _: ear.close())
            else:
                ear.close()

    def _hears(self, place: int) -> Callable[[Partial], None]:
        def partial(guess: Partial) -> None:
            turn = self._turn
            if turn is None or turn.place != place:
                return  # of a turn that has ended: its answer is on the way
            if guess.stable > len(turn.committed):
                turn.committed = guess.text[: guess.stable]
                turn.covered_ms = guess.covered_ms or turn.paused_ms
            self._partial(guess)

        return partial

    # ---- the answer --------------------------------------------------------------------------------

    async def _answer(self, turn: _Turn, asked: asyncio.Future[Heard] | None) -> Heard:
        fault: EngineFault | None = None
        if asked is not None:
            try:
                return await self._judged(turn.place, asked)
            except EngineFault as failed:
                fault = failed
        for place, recognizer in enumerate(self._recognizers):
            if place == turn.place or not self._referee.admit(Stage.RECOGNITION, recognizer.engine):
                continue
            try:
                ear = recognizer.listen(self._language, lambda guess: None)
            except EngineFault as full:
                self._referee.answered(Stage.RECOGNITION, recognizer.engine, full)
                fault = full
                continue
            try:
                ear.feed(turn.rest())
                return _joined(turn.committed, await self._judged(place, ear.end()))
            except EngineFault as failed:
                fault = failed
            finally:
                ear.close()
        raise fault or all_rest(Stage.RECOGNITION, [one.engine for one in self._recognizers])

    async def _judged(self, place: int, asked: asyncio.Future[Heard]) -> Heard:
        engine = self._recognizers[place].engine
        try:
            heard = await asked
        except EngineFault as fault:
            self._referee.answered(Stage.RECOGNITION, engine, fault)
            raise
        except asyncio.CancelledError:
            self._referee.gave_up(Stage.RECOGNITION, engine)
            raise
        self._referee.answered(Stage.RECOGNITION, engine)
        return heard


def all_rest(stage: Stage, engines: Sequence[str]) -> EngineFault:
    """The fault when there is nobody to ask."""
    return EngineFault(stage, " and ".join(engines), "left alone for a while after failures", retryable=True)


def _joined(committed: str, heard: Heard) -> Heard:
    if not committed:
        return heard
    space = "" if not heard.text or committed.endswith(" ") else " "
    return replace(heard, text=committed + space + heard.text)
