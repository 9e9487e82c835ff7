"""One party as an agent hears it: its turns, their words and their language, and the moment when it means to interrupt.

Owns endpointing and ear of that party, and the order of its turns. Refuses to know what is done about them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from gateway.speech.detection import Choice, TextDetector, combined, count_words
from gateway.speech.endpointing import WINDOW_MS, Endpointer, Started, Tuning, Utterance, levels_db
from gateway.speech.interpreter import OCTETS_PER_MS
from gateway.speech.stages import Ear, EngineFault, Heard, Partial, Recognizer

#: Speech that lasts so long means to interrupt; a cough and an “uh-huh” do not.
MEANT_MS: Final = 240
#: How far below the loudest moment of a turn its voice may be.
_SOFTEST_DB: Final = 20.0
#: Turns that may wait to be understood; beyond it the oldest is given up.
WAITING: Final = 8


class Turn(NamedTuple):
    """A turn that was understood; without text it was no speech. Times are of the speaker's media clock."""

    text: str
    language: str
    confidence: float
    start_ms: int
    end_ms: int


class Listener(Protocol):
    def speaks(self) -> None:
        """The party means to speak: whoever is speaking to it stops."""

    def partly(self, partial: Partial, at_ms: int) -> None:
        """What is understood so far."""

    def said(self, turn: Turn) -> None:
        """A turn has ended and is understood."""

    def misheard(self, fault: EngineFault) -> None:
        """A turn is lost."""


class Tongue:
    """The language of one party: given, or found out. among: those that can be served, the likeliest first."""

    def __init__(self, given: str | None, among: Sequence[str], detector: TextDetector) -> None:
        self.given = given
        self._among = among
        self._choice = Choice(among)
        self._detector = detector

    @property
    def language(self) -> str:
        """As far as it is known."""
        return self.given or self._choice.language or self._among[0]

    async def hear(self, heard: Heard, spoken: bool) -> str:
        """One more utterance. spoken: the engine found its language out by itself."""
        if self.given is not None or len(self._among) == 1:
            return self.language
        words = count_words(heard.text)
        guessed = await asyncio.to_thread(self._detector.guess, heard.text, self._among)
        return self._choice.hear(combined(heard.language if spoken else None, guessed, words), words)


class Caller:
    """Feed it audio. Raises EngineFault when the recognizer has no room for one more."""

    def __init__(self, recognizer: Recognizer, tongue: Tongue, listener: Listener, tuning: Tuning) -> None:
        self._listener = listener
        self._tongue = tongue
        self._detects = tongue.given is None and recognizer.detects
        asked = None if self._detects else tongue.language
        self._ear: Ear = recognizer.listen(asked, self._partial)
        self._endpointer = Endpointer(tuning)
        self._preroll: deque[bytes] = deque()
        self._preroll_octets = 0
        self._keep = (tuning.preroll_ms + tuning.onset_ms) * OCTETS_PER_MS
        self._began_ms = 0
        self._voiced_ms = 0
        self._loudest_db = 0.0
        self._turns: deque[tuple[asyncio.Future[Heard], Utterance]] = deque()
        self._understanding: asyncio.Task[None] | None = None
        self.given_up = 0

    @property
    def is_speaking(self) -> bool:
        """A turn is in progress that means to be one."""
        return self._endpointer.speaking and self._voiced_ms >= MEANT_MS

    def audio(self, timestamp_ms: int, mulaw: bytes) -> None:
        was_speaking = self._endpointer.speaking
        events = self._endpointer.push(timestamp_ms, mulaw)
        if was_speaking:
            self._ear.feed(mulaw)
            self._listen_for_intent(mulaw)
        else:
            self._remember(mulaw)
        for event in events:
            if isinstance(event, Started):
                self._began_ms, self._voiced_ms, self._loudest_db = event.at_ms, 0, -100.0
                self._ear.feed(b"".join(self._preroll))
                self._preroll.clear()
                self._preroll_octets = 0
            elif isinstance(event, Utterance):
                self._end(event)

    def close(self) -> None:
        """The party has gone; what it said last is not answered."""
        for future, _ in self._turns:
            future.cancel()
        self._turns.clear()
        if self._understanding is not None:
            self._understanding.cancel()
        self._ear.close()

    def _listen_for_intent(self, mulaw: bytes) -> None:
        """Count the voice of the turn in progress; the pause that may end it is no voice."""
        before = self._voiced_ms
        for level in levels_db(mulaw):
            self._loudest_db = max(self._loudest_db, level)
            if level > self._loudest_db - _SOFTEST_DB:
                self._voiced_ms += WINDOW_MS
        if before < MEANT_MS <= self._voiced_ms:
            self._listener.speaks()

    def _remember(self, mulaw: bytes) -> None:
        self._preroll.append(mulaw)
        self._preroll_octets += len(mulaw)
        while self._preroll_octets - len(self._preroll[0]) >= self._keep:
            self._preroll_octets -= len(self._preroll.popleft())

    def _end(self, utterance: Utterance) -> None:
        self._turns.append((self._ear.end(), utterance))
        if len(self._turns) > WAITING:
            self._turns.popleft()[0].cancel()
            self.given_up += 1
        if self._understanding is None or self._understanding.done():
            self._understanding = asyncio.create_task(self._understand())

    async def _understand(self) -> None:
        """Turn after turn, in their order."""
        while self._turns:
            future, utterance = self._turns[0]
            try:
                heard = await asyncio.shield(future)
                language = await self._tongue.hear(heard, self._detects) if heard.text else self._tongue.language
            except EngineFault as fault:
                self._listener.misheard(fault)
            except asyncio.CancelledError:
                if not future.cancelled():
                    raise  # it is we who are cancelled
            else:
                said = Turn(heard.text, language, heard.confidence, utterance.start_ms, utterance.end_ms)
                self._listener.said(said)
            if self._turns and self._turns[0][0] is future:
                self._turns.popleft()

    def _partial(self, partial: Partial) -> None:
        self._listener.partly(partial, self._began_ms)
