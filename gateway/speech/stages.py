"""The stages between one party's voice and the other's ear, as interfaces: recognition, translation, synthesis,
and thinking, which answers instead of translating.

Owns what an engine promises, and its fault. The promises that all share:
- Everything is called on the event loop's thread and never holds it: what computes does so in a worker process,
  what waits does so asynchronously. Every queue inside has a bound.
- Audio is one channel of G.711 mu-law at 8000 Hz, in and out. An engine converts for itself (`resampling.py`).
- Languages are BCP 47 tags. An engine declares what it can do by primary tags (`en`), whole ones (`es-MX`) or `*`.
- Awaitables may be cancelled and iterators closed at any time: the engine then frees what it held for them.
- What goes wrong is an `EngineFault`; any other exception is a defect.
Knows no session, no stream and no particular engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, Protocol

#: Declared by an engine that takes whatever language it is given.
ANY: Final = "*"


class Stage(StrEnum):
    """The names are configuration keys and metric labels."""

    RECOGNITION = "recognition"
    TRANSLATION = "translation"
    SYNTHESIS = "synthesis"
    THINKING = "thinking"


class EngineFault(Exception):
    """An engine did not do its part. retryable: the same request may succeed later, or at another engine."""

    def __init__(self, stage: Stage, engine: str, message: str, *, retryable: bool) -> None:
        super().__init__(f"{stage} by {engine}: {message}")
        self.stage = stage
        self.engine = engine
        self.message = message
        self.retryable = retryable


def primary(tag: str) -> str:
    """The language of a tag, without region or script: `es` of `es-MX`."""
    return tag.partition("-")[0].lower()


def serves(declared: Collection[str], tag: str) -> bool:
    """Whether an engine that declared these languages can do this one. `es` serves `es-MX`, and `es-MX` serves `es`;
    `es-ES` does not serve `es-MX`."""
    wanted = tag.lower()
    return any(
        one == ANY or one.lower() == wanted or (primary(one) == primary(wanted) and ("-" in one) + ("-" in wanted) < 2)
        for one in declared
    )


def translates(declared: Collection[tuple[str, str]], source: str, target: str) -> bool:
    """Whether one of the declared pairs, (from, to), serves this one."""
    return any(serves((one,), source) and serves((other,), target) for one, other in declared)


# ---- recognition -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Partial:
    """What is heard so far of the turn in progress. stable: so many characters of it will not change any more.

    covered_ms: so much of the turn's audio the stable part stands for; 0: all up to the last pause.
    """

    text: str
    stable: int = 0
    language: str | None = None
    covered_ms: int = 0


@dataclass(frozen=True)
class Heard:
    """A whole turn. It begins with the last partial's stable part. An empty text: that was no speech.

    language: as asked for, or as detected. confidence: 0 … 1.
    """

    text: str
    language: str
    confidence: float


class Ear(Protocol):
    """One speaker's recognition, turn after turn."""

    def feed(self, mulaw: bytes) -> None:
        """The turn's next audio, any length; the first begins a turn. Never blocks: bounded, the oldest is dropped."""

    def pause(self) -> None:
        """The speaker pauses within the turn. An engine that can now commits to what it heard (`Partial.stable`)."""

    def end(self) -> asyncio.Future[Heard]:
        """The turn ends here; what is fed afterwards belongs to the next, even before this one is answered.

        Fails with EngineFault. Cancelling it gives the turn up.
        """

    def drop(self) -> None:
        """Forget the turn in progress."""

    def close(self) -> None:
        """The speaker has gone."""


class Recognizer(Protocol):
    """Speech to text. languages: as declared. detects: may be asked to find the language out itself."""

    engine: str
    languages: frozenset[str]
    detects: bool

    def listen(self, language: str | None, partial: Callable[[Partial], None]) -> Ear:
        """A speaker's ear. language None: find out. partial: told of guesses, on the loop's thread, never after a
        turn's `Heard`. Raises EngineFault when there is no room for one more."""


# ---- translation -------------------------------------------------------------------------------------


class Translator(Protocol):
    """Text to text, a clause or a few at a time. pairs: (from, to), as declared."""

    engine: str
    pairs: frozenset[tuple[str, str]]

    def translate(self, text: str, source: str, target: str, *, context: Sequence[str] = ()) -> AsyncIterator[str]:
        """The translation, in pieces as they come, whose concatenation it is.

        context: what the same speaker said just before, oldest first, for engines that can use it.
        """


# ---- synthesis ---------------------------------------------------------------------------------------


class Synthesizer(Protocol):
    """Text to speech. languages: as declared."""

    engine: str
    languages: frozenset[str]

    def speak(self, text: str, language: str, *, voice: str | None = None) -> AsyncIterator[bytes]:
        """The clause spoken: mu-law in chunks of any length, the first as early as it can be had.

        voice: a name that the engine knows; one that it does not know is as None.
        """


# ---- thinking ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tool:
    """What a thinker may ask for. parameters: a JSON schema of the arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """A thinker asks for a tool. arguments: JSON text, as the thinker wrote it; to be validated by who runs it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    """One of a conversation. calls: what an assistant's message asked for. call_id: what a tool's message answers."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None


class Thinker(Protocol):
    """A conversation's next turn. languages: as declared."""

    engine: str
    languages: frozenset[str]

    def think(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), temperature: float | None = None
    ) -> AsyncIterator[str | ToolCall]:
        """The answer in pieces of text as they come, and the tools that are asked for."""


# ---- engines -----------------------------------------------------------------------------------------


class Engine(Protocol):
    """What the configuration names: one product, which does one stage or several. None: not that stage."""

    name: str
    recognizer: Recognizer | None
    translator: Translator | None
    synthesizer: Synthesizer | None
    thinker: Thinker | None

    async def start(self) -> None:
        """Load and warm up. Afterwards the stages and what they declare are known.

        An engine that finds parts of itself missing starts without them, logs why, and says so in `missing`.
        """

    async def close(self) -> None:
        """Free everything; what is in progress fails."""

    def missing(self, stage: Stage) -> str:
        """Why a stage, or a language of it, can not be had here: a sentence for people, empty when nothing is known."""

    def trouble(self, stage: Stage) -> str:
        """What is wrong with a stage that can be had: its endpoint does not answer. Empty: nothing is known."""

    def full(self) -> bool:
        """No room for one more session now: its creation is answered 503."""
