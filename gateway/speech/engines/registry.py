"""Engines from their configuration, and the choice among them.

Owns which module builds which section, starting and stopping, and who serves a stage in a language. Engines are
imported only when the configuration names them: their libraries may be optional.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Final

import structlog

from gateway.section import Section
from gateway.speech.engine_settings import ArgosEngine, OpenAiEngine, PiperEngine, WhisperEngine
from gateway.speech.settings import OfflineEngine, Speech
from gateway.speech.stages import (
    Engine,
    EngineFault,
    Recognizer,
    Stage,
    Synthesizer,
    Thinker,
    Translator,
    serves,
    translates,
)

_log = structlog.get_logger(__name__)

#: By the section's class: module and function that build the engine, `build(name, section) -> Engine`.
BUILDERS: Final[dict[type[Section], str]] = {
    OfflineEngine: "gateway.speech.engines.offline:build",
    OpenAiEngine: "gateway.speech.engines.openai:build",
    WhisperEngine: "gateway.speech.engines.local:build",
    ArgosEngine: "gateway.speech.engines.local:build",
    PiperEngine: "gateway.speech.engines.local:build",
}


def build(name: str, section: Section) -> Engine:
    """The engine of a section, not yet started."""
    module, _, function = BUILDERS[type(section)].partition(":")
    engine: Engine = getattr(import_module(module), function)(name, section)
    return engine


class Engines:
    """The engines of one process, in the order of each stage."""

    def __init__(self, engines: Mapping[str, Engine], order: Mapping[Stage, Iterable[str]]) -> None:
        self.by_name = dict(engines)
        self.order = {stage: tuple(order.get(stage, ())) for stage in Stage}

    @classmethod
    def of(cls, settings: Speech) -> Engines:
        """Those that some stage names; the others of the section are not built."""
        order = {stage: getattr(settings, stage) for stage in Stage}
        named = dict.fromkeys(name for names in order.values() for name in names)
        return cls({name: build(name, settings.engines[name]) for name in named}, order)

    async def start(self) -> None:
        """Start all at the same time. One that fails is left out, and said so."""

        async def one(name: str, engine: Engine) -> None:
            try:
                await engine.start()
            except EngineFault as fault:
                _log.error("engine_failed_to_start", engine=name, error=str(fault))

        await asyncio.gather(*(one(name, engine) for name, engine in self.by_name.items()))

    async def close(self) -> None:
        await asyncio.gather(*(engine.close() for engine in self.by_name.values()))

    # ---- the choice: who can do it, in the order of the stage -----------------------------------------

    def recognizers(self, language: str | None) -> list[Recognizer]:
        """Those that hear this language; None: that find the language out."""
        all_of_them = (engine.recognizer for engine in self._of(Stage.RECOGNITION))
        return [
            one
            for one in all_of_them
            if one is not None and (one.detects if language is None else serves(one.languages, language))
        ]

    def translators(self, source: str, target: str) -> list[Translator]:
        all_of_them = (engine.translator for engine in self._of(Stage.TRANSLATION))
        return [one for one in all_of_them if one is not None and translates(one.pairs, source, target)]

    def synthesizers(self, language: str) -> list[Synthesizer]:
        all_of_them = (engine.synthesizer for engine in self._of(Stage.SYNTHESIS))
        return [one for one in all_of_them if one is not None and serves(one.languages, language)]

    def thinkers(self, language: str | None = None) -> list[Thinker]:
        all_of_them = (engine.thinker for engine in self._of(Stage.THINKING))
        return [one for one in all_of_them if one is not None and (language is None or serves(one.languages, language))]

    # ---- and the first of them -----------------------------------------------------------------------

    def recognizer(self, language: str | None) -> Recognizer | None:
        return next(iter(self.recognizers(language)), None)

    def translator(self, source: str, target: str) -> Translator | None:
        return next(iter(self.translators(source, target)), None)

    def synthesizer(self, language: str) -> Synthesizer | None:
        return next(iter(self.synthesizers(language)), None)

    def thinker(self, language: str | None = None) -> Thinker | None:
        return next(iter(self.thinkers(language)), None)

    def _of(self, stage: Stage) -> Iterable[Engine]:
        return (self.by_name[name] for name in self.order[stage])
