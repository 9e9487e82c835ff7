"""An ear for engines that hear a whole piece of audio at a time, as Whisper does.

Owns what is sent when, and what is settled of it. Theory: when no more audio comes for a moment, for the pipeline keeps
silence to itself, and at each pause, all that is not settled is heard at once, while the endpointing still waits
whether the turn goes on. When it does not, the answer is there or on its way: the wait costs nothing. When it does,
what was heard up to a pause is settled if it reads like a finished sentence; else it is heard again together with what
follows, for half a sentence is easily misheard. A turn has one request under way. Knows no engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from gateway.speech.endpointing import WINDOW_MS, levels_db
from gateway.speech.interpreter import OCTETS_PER_MS
from gateway.speech.stages import EngineFault, Heard, Partial, Stage

#: Audio of a turn that is kept, the newest.
KEPT_OCTETS: Final = 130_000 * OCTETS_PER_MS
#: Turns of one speaker that wait for their answer. One more, and the oldest fails.
WAITING_TURNS: Final = 4
#: With less speech than this a piece is heard only when the turn has ended.
SHORTEST_MS: Final = 160
#: Speech that stands out for less than this is none.
NOTHING_MS: Final = 60
#: Characters of what was said before that are told with a piece.
PROMPT_LENGTH: Final = 200
_ENDINGS: Final = tuple(".?!;:。！？；：؟।")
_OPEN_ENDINGS: Final = ("...", "…", "--")


class Hear(Protocol):
    """One request. mulaw: the piece; before: what the speaker said just before it; guess: may be told the text so far.
    Raises EngineFault."""

    def __call__(
        self, mulaw: bytes, language: str | None, before: str, guess: Callable[[str], None], /
    ) -> Awaitable[Heard]: ...


def settled(text: str) -> bool:
    """Whether a text reads like finished sentences."""
    text = text.rstrip("\"'”’» ")
    return text.endswith(_ENDINGS) and not text.endswith(_OPEN_ENDINGS)


def speech_ms(mulaw: bytes | memoryview, loudest_db: float = -100.0) -> int:
    """How much of it stands out: above −48 dB, and not far below the loudest of it or of what else was said."""
    levels = levels_db(mulaw)
    floor = max(-48.0, max([loudest_db, *levels]) - 30.0)
    return WINDOW_MS * sum(level > floor for level in levels)


class PieceEar:
    """An `Ear` over requests for pieces. early_s: without audio for so long a piece is heard; 0: only at pauses."""

    def __init__(
        self, engine: str, hear: Hear, language: str | None, partial: Callable[[Partial], None], early_s: float = 0.0
    ) -> None:
        self._engine = engine
        self._hear = hear
        self._language = language
        self._partial = partial
        self._early_s = early_s
        self._ended: dict[_Turn, None] = {}  # those whose answer is waited for, oldest first
        self._turn = self._new()

    def feed(self, mulaw: bytes) -> None:
        self._turn.feed(mulaw)

    def pause(self) -> None:
        self._turn.pause()

    def end(self) -> asyncio.Future[Heard]:
        turn, self._turn = self._turn, self._new()
        if len(self._ended) >= WAITING_TURNS:
            behind = EngineFault(Stage.RECOGNITION, self._engine, "too far behind the speaker", retryable=True)
            next(iter(self._ended)).fail(behind)
        self._ended[turn] = None
        answer = turn.end()
        answer.add_done_callback(lambda _: self._ended.pop(turn, None))
        return answer

    def drop(self) -> None:
        turn, self._turn = self._turn, self._new()
        turn.give_up()

    def close(self) -> None:
        for turn in (self._turn, *self._ended):
            turn.give_up()

    def _new(self) -> _Turn:
        return _Turn(self._hear, self._language, self._partial, self._early_s)


class _Turn:
    """One turn, from its first audio to its answer. Positions are octets of its audio."""

    def __init__(self, hear: Hear, language: str | None, partial: Callable[[Partial], None], early_s: float) -> None:
        self._hear = hear
        self._language = language
        self._partial = partial
        self._early_s = early_s
        self._early: asyncio.TimerHandle | None = None
        self._audio = bytearray()
        self._lost = 0  # octets that fell off the front of `_audio`
        self._said: list[Heard] = []  # settled
        self._settled_at = 0  # what `_said` stands for ends here
        self._guess: Heard | None = None  # heard of what follows, up to `_guessed_at`, and not settled
        self._guessed_at = 0
        self._mark = 0  # the last pause, or what may become one
        self._pauses: list[int] = []
        self._loudest_db = -100.0
        self._answer: asyncio.Future[Heard] | None = None
        self._work: asyncio.Task[None] | None = None

    # ---- what the ear is told ----------------------------------------------------------------------

    def feed(self, mulaw: bytes) -> None:
        self._audio += mulaw
        surplus = len(self._audio) - KEPT_OCTETS
        if surplus > 0:
            del self._audio[:surplus]
            self._lost += surplus
        if self._early_s:
            self._stop_waiting()
            self._early = asyncio.get_running_loop().call_later(self._early_s, self._look)

    def pause(self) -> None:
        self._stop_waiting()
        self._pauses.append(self._length)
        if self._guess is not None and self._is_confirmed(self._guessed_at):
            self._settle_if_finished()
        self._look()

    def end(self) -> asyncio.Future[Heard]:
        self._stop_waiting()
        self._answer = asyncio.get_running_loop().create_future()
        self._answer.add_done_callback(lambda _: self.give_up())
        self._wake()
        return self._answer

    def fail(self, fault: EngineFault) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(fault)

    def give_up(self) -> None:
        """Nobody waits for this turn. Idempotent."""
        self._stop_waiting()
        if self._answer is not None and not self._answer.done():
            self._answer.cancel()
        if self._work is not None and self._work is not asyncio.current_task():
            self._work.cancel()

    def _stop_waiting(self) -> None:
        if self._early is not None:
            self._early.cancel()
            self._early = None

    def _look(self) -> None:
        """All that has come is to be heard."""
        self._mark = self._length
        self._wake()

    # ---- the work ----------------------------------------------------------------------------------

    @property
    def _length(self) -> int:
        return self._lost + len(self._audio)

    def _cut(self, begin: int, end: int) -> bytes:
        return bytes(memoryview(self._audio)[max(0, begin - self._lost) : max(0, end - self._lost)])

    def _wake(self) -> None:
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run(), name="hear a turn")

    async def _run(self) -> None:
        """Hear what there is to hear. A fault costs the turn only when it has ended: till then there are more tries."""
        try:
            while self._answer is None and await self._hear_up_to(self._mark, SHORTEST_MS):
                pass
            while self._answer is not None and await self._hear_up_to(self._length, NOTHING_MS):
                pass
        except EngineFault as fault:
            self.fail(fault)
            return
        if self._answer is not None and not self._answer.done():
            if self._guess is not None:
                self._settle(self._guess, self._guessed_at)
            self._answer.set_result(self._whole())

    async def _hear_up_to(self, end: int, least_ms: int) -> bool:
        """One request, unless what there is was heard already or is too short. Returns whether one was made."""
        known = self._settled_at if self._guess is None else self._guessed_at
        if end <= known or speech_ms(self._cut(known, end), self._loudest_db) < least_ms:
            return False
        piece = self._cut(self._settled_at, end)
        self._loudest_db = max([self._loudest_db, *levels_db(piece)])
        before = self._text
        heard = await self._hear(piece, self._language, before[-PROMPT_LENGTH:], self._tell)
        self._guess, self._guessed_at = heard, end
        if self._answer is None and not (self._is_confirmed(end) and self._settle_if_finished()):
            self._tell(heard.text, heard.language)
        return True

    def _is_confirmed(self, at: int) -> bool:
        """Whether the speaker paused there."""
        pause = next((one for one in self._pauses if one >= at), None)
        return pause is not None and speech_ms(self._cut(at, pause), self._loudest_db) < NOTHING_MS

    def _settle_if_finished(self) -> bool:
        assert self._guess is not None
        language = self._guess.language
        if not settled(self._guess.text):
            return False
        self._settle(self._guess, self._guessed_at)
        self._tell("", language)
        return True

    def _settle(self, heard: Heard, at: int) -> None:
        self._said.append(heard)
        self._settled_at, self._guess = at, None

    @property
    def _text(self) -> str:
        return " ".join(one.text for one in self._said if one.text)

    def _tell(self, unsettled: str, language: str | None = None) -> None:
        """Tell what is heard so far. After the turn's end nothing is told but the answer."""
        text = self._text
        if self._answer is None and (text or unsettled):
            whole = f"{text} {unsettled}".strip()
            self._partial(Partial(whole, len(text), language or self._language, self._settled_at // OCTETS_PER_MS))

    def _whole(self) -> Heard:
        told = [one for one in self._said if one.text]
        length = sum(len(one.text) for one in told)
        confidence = sum(one.confidence * len(one.text) for one in told) / length if length else 0.0
        spoken = next((one.language for one in (*told, *self._said)), self._language)
        return Heard(self._text, spoken or "und", confidence)
