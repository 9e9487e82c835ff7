"""A pretended engine: says at once what it is told to say, so that what is made of engines can be tested."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from gateway.speech.engines.base import Base
from gateway.speech.stages import EngineFault, Heard, Message, Partial, Stage, Tool, ToolCall

TONE = bytes(range(128, 168)) * 4  # 20 ms of something that is not silence


class PretendEar:
    """Hears whatever its engine was told to hear, when the turn ends."""

    def __init__(self, engine: PretendEngine, language: str, partial: Callable[[Partial], None]) -> None:
        self.engine, self.language, self.partial = engine, language, partial
        self.fed = bytearray()
        self.pauses = self.dropped = 0
        self.closed = False
        self.ends: list[asyncio.Future[Heard]] = []

    def feed(self, mulaw: bytes) -> None:
        self.fed += mulaw

    def pause(self) -> None:
        self.pauses += 1

    def end(self) -> asyncio.Future[Heard]:
        future: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        self.ends.append(future)
        if self.engine.hears_next:
            outcome = self.engine.hears_next.pop(0)
            if isinstance(outcome, EngineFault):
                future.set_exception(outcome)
            else:
                future.set_result(Heard(outcome, self.language, 0.9))
        return future

    def drop(self) -> None:
        self.dropped += 1

    def close(self) -> None:
        self.closed = True


class PretendRecognizer:
    def __init__(self, engine: PretendEngine, languages: set[str], detects: bool) -> None:
        self.engine = engine.name
        self.languages = frozenset(languages)
        self.detects = detects
        self.ears: list[PretendEar] = []
        self._engine = engine

    def listen(self, language: str | None, partial: Callable[[Partial], None]) -> PretendEar:
        self.ears.append(PretendEar(self._engine, language or "en", partial))
        return self.ears[-1]


class PretendTranslator:
    """`hello` from en to es is `[es hello]`."""

    def __init__(self, engine: PretendEngine, pairs: set[tuple[str, str]]) -> None:
        self.engine = engine.name
        self.pairs = frozenset(pairs)
        self.asked: list[tuple[str, str, str]] = []
        self._engine = engine

    async def translate(
        self, text: str, source: str, target: str, *, context: Sequence[str] = ()
    ) -> AsyncIterator[str]:
        self.asked.append((text, source, target))
        await self._engine.work(Stage.TRANSLATION)
        yield f"[{target} {text}]"


class PretendSynthesizer:
    """20 ms of a tone a word."""

    def __init__(self, engine: PretendEngine, languages: set[str]) -> None:
        self.engine = engine.name
        self.languages = frozenset(languages)
        self.asked: list[tuple[str, str]] = []
        self._engine = engine

    async def speak(self, text: str, language: str, *, voice: str | None = None) -> AsyncIterator[bytes]:
        self.asked.append((text, language))
        for _ in text.split():
            await self._engine.work(Stage.SYNTHESIS)
            yield TONE


class PretendThinker:
    def __init__(self, engine: PretendEngine, languages: set[str]) -> None:
        self.engine = engine.name
        self.languages = frozenset(languages)
        self.asked: list[list[Message]] = []
        self._engine = engine

    async def think(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), temperature: float | None = None
    ) -> AsyncIterator[str | ToolCall]:
        self.asked.append(list(messages))
        await self._engine.work(Stage.THINKING)
        for piece in self._engine.thinks_next.pop(0):
            yield piece


class PretendEngine(Base):
    """hears_next: what the next turns are heard as, text or fault. stalls: stages that wait until `go` is set.
    faults: by stage, raised once each, first come first."""

    recognizer: PretendRecognizer | None
    translator: PretendTranslator | None
    synthesizer: PretendSynthesizer | None
    thinker: PretendThinker | None

    def __init__(
        self,
        name: str,
        *,
        hears: set[str] = frozenset(),  # type: ignore[assignment]
        detects: bool = False,
        pairs: set[tuple[str, str]] = frozenset(),  # type: ignore[assignment]
        speaks: set[str] = frozenset(),  # type: ignore[assignment]
        thinks: set[str] = frozenset(),  # type: ignore[assignment]
        fails: EngineFault | None = None,
    ) -> None:
        super().__init__(name)
        self.recognizer = PretendRecognizer(self, hears, detects) if hears or detects else None
        self.translator = PretendTranslator(self, pairs) if pairs else None
        self.synthesizer = PretendSynthesizer(self, speaks) if speaks else None
        self.thinker = PretendThinker(self, thinks) if thinks else None
        self.hears_next: list[str | EngineFault] = []
        self.thinks_next: list[list[str | ToolCall]] = []
        self.stalls: set[Stage] = set()
        self.faults: dict[Stage, list[EngineFault]] = {}
        self.go = asyncio.Event()
        self.started = self.closed = self.is_full = False
        self._fails = fails

    async def start(self) -> None:
        if self._fails is not None:
            raise self._fails
        self.started = True

    async def close(self) -> None:
        self.closed = True

    def full(self) -> bool:
        return self.is_full

    async def work(self, stage: Stage) -> None:
        faults = self.faults.get(stage)
        if faults:
            raise faults.pop(0)
        if stage in self.stalls:
            await self.go.wait()
