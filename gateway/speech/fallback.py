"""Every stage's engines as one: the first that is well serves, the next takes over when it fails.

Owns the order, who is left alone for a while (a breaker for each engine and stage) and what is counted and logged of
it. Its recognizers, translators, synthesizers and thinkers keep the promises of `stages.py`, so who uses them need not
know how many stand behind. Once a piece of an answer was handed on, no other engine gets that request: half an answer
can not be taken back. Recognition is the exception, see `ears.py`. Time is an argument. Knows no particular engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import structlog

from gateway.speech.ears import TurnByTurn, all_rest
from gateway.speech.engines.registry import Engines
from gateway.speech.resilience import Breaker, Limits, State
from gateway.speech.stages import (
    EngineFault,
    Message,
    Partial,
    Recognizer,
    Stage,
    Synthesizer,
    Thinker,
    Tool,
    ToolCall,
    Translator,
)

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

#: How a request of an engine can end. `passed_over`: it was not made, the engine rests.
RESULTS: Final = ("ok", "failed", "given_up", "passed_over")
_SAID: Final = {State.OPEN: "engine_rests", State.HALF_OPEN: "engine_is_tried_again", State.CLOSED: "engine_is_well"}


class Health:
    """How the engines do. clock: seconds, never backwards. counts: (stage, engine, result) → so many."""

    def __init__(self, clock: Callable[[], float], limits: Limits) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self._clock = clock
        self._limits = limits
        self._breakers: dict[tuple[Stage, str], Breaker] = {}

    def admit(self, stage: Stage, engine: str) -> bool:
        """Whether to ask this engine now. If so, `answered` or `gave_up` must follow."""
        if self._breaker(stage, engine).admit(self._clock()):
            return True
        self.counts[stage, engine, "passed_over"] += 1
        return False

    def answered(self, stage: Stage, engine: str, fault: EngineFault | None = None) -> None:
        """A request is over, well or not."""
        breaker = self._breaker(stage, engine)
        if fault is None:
            breaker.succeeded()
        else:
            breaker.failed(self._clock())
            _log.debug("engine_request_failed", stage=stage, engine=engine, error=fault.message)
        self.counts[stage, engine, "ok" if fault is None else "failed"] += 1

    def gave_up(self, stage: Stage, engine: str) -> None:
        """A request is over because nobody waits for its answer."""
        self._breaker(stage, engine).gave_up()
        self.counts[stage, engine, "given_up"] += 1

    def resting(self) -> dict[tuple[str, ...], float]:
        """(stage, engine) → 1 for who is left alone now, 0 for the others."""
        now = self._clock()
        return {key: float(breaker.rests(now)) for key, breaker in self._breakers.items()}

    def know(self, stage: Stage, engine: str) -> None:
        """This engine may be asked some day: its counts begin at zero."""
        self._breaker(stage, engine)
        self.counts.update(dict.fromkeys(((stage, engine, result) for result in RESULTS), 0))

    def _breaker(self, stage: Stage, engine: str) -> Breaker:
        known = self._breakers.get((stage, engine))
        if known is None:
            known = self._breakers[stage, engine] = Breaker(self._limits, partial(_tell, stage, engine))
        return known


def _tell(stage: Stage, engine: str, before: State, after: State) -> None:
    tell = _log.warning if after is State.OPEN else _log.info
    tell(_SAID[after], stage=str(stage), engine=engine)


class Chains:
    """The choice of engines, like `Engines`, each stage with its fallbacks."""

    def __init__(self, engines: Engines, health: Health) -> None:
        self._engines = engines
        self._health = health
        for stage, names in engines.order.items():
            for name in names:
                health.know(stage, name)

    def recognizer(self, language: str | None) -> Recognizer | None:
        found = self._engines.recognizers(language)
        return RecognizerChain(found, self._health) if found else None

    def translator(self, source: str, target: str) -> Translator | None:
        found = self._engines.translators(source, target)
        return TranslatorChain(found, self._health) if found else None

    def synthesizer(self, language: str) -> Synthesizer | None:
        found = self._engines.synthesizers(language)
        return SynthesizerChain(found, self._health) if found else None

    def thinker(self, language: str | None = None) -> Thinker | None:
        found = self._engines.thinkers(language)
        return ThinkerChain(found, self._health) if found else None


class RecognizerChain:
    """The first of these, and its fallbacks."""

    def __init__(self, recognizers: Sequence[Recognizer], health: Health) -> None:
        self.engine = recognizers[0].engine
        self.languages = recognizers[0].languages.union(*(one.languages for one in recognizers))
        self.detects = any(one.detects for one in recognizers)
        self._recognizers = recognizers
        self._health = health

    def listen(self, language: str | None, partial: Callable[[Partial], None]) -> TurnByTurn:
        return TurnByTurn(self._recognizers, self._health, language, partial)


class TranslatorChain:
    def __init__(self, translators: Sequence[Translator], health: Health) -> None:
        self.engine = translators[0].engine
        self.pairs = translators[0].pairs.union(*(one.pairs for one in translators))
        self._translators = translators
        self._health = health

    def translate(self, text: str, source: str, target: str, *, context: Sequence[str] = ()) -> AsyncIterator[str]:
        asks = [
            (one.engine, partial(one.translate, text, source, target, context=context)) for one in self._translators
        ]
        return _first_well(self._health, Stage.TRANSLATION, asks)


class SynthesizerChain:
    def __init__(self, synthesizers: Sequence[Synthesizer], health: Health) -> None:
        self.engine = synthesizers[0].engine
        self.languages = synthesizers[0].languages.union(*(one.languages for one in synthesizers))
        self._synthesizers = synthesizers
        self._health = health

    def speak(self, text: str, language: str, *, voice: str | None = None) -> AsyncIterator[bytes]:
        asks = [(one.engine, partial(one.speak, text, language, voice=voice)) for one in self._synthesizers]
        return _first_well(self._health, Stage.SYNTHESIS, asks)


class ThinkerChain:
    def __init__(self, thinkers: Sequence[Thinker], health: Health) -> None:
        self.engine = thinkers[0].engine
        self.languages = thinkers[0].languages.union(*(one.languages for one in thinkers))
        self._thinkers = thinkers
        self._health = health

    def think(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), temperature: float | None = None
    ) -> AsyncIterator[str | ToolCall]:
        asks = [
            (one.engine, partial(one.think, messages, tools=tools, temperature=temperature)) for one in self._thinkers
        ]
        return _first_well(self._health, Stage.THINKING, asks)


async def _first_well(
    health: Health, stage: Stage, asks: Sequence[tuple[str, Callable[[], AsyncIterator[_T]]]]
) -> AsyncGenerator[_T, None]:
    """The answer of the first engine that begins one. Raises EngineFault: the last one's, or that all rest."""
    last: EngineFault | None = None
    for engine, ask in asks:
        if not health.admit(stage, engine):
            continue
        begun = over = False
        pieces = ask()
        try:
            async for piece in pieces:
                begun = True
                yield piece
            over = True
            health.answered(stage, engine)
            return
        except EngineFault as fault:
            over = True
            health.answered(stage, engine, fault)
            if begun:
                raise
            last = fault
        finally:
            if not over:  # closed or cancelled by who asked; a first piece is proof enough that the engine is well
                if begun:
                    health.answered(stage, engine)
                else:
                    health.gave_up(stage, engine)
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
    raise last or all_rest(stage, [engine for engine, _ in asks])
