"""The offline engine: what Debian and PyPI carry, without a network, a key or a download of models.

Owns which of its three parts are there, and what is said of those that are not.
"""

from __future__ import annotations

import asyncio
import os

import structlog

from gateway.section import Section
from gateway.speech.engines.apertium import ApertiumTranslator
from gateway.speech.engines.base import Base
from gateway.speech.engines.espeak import EspeakSynthesizer
from gateway.speech.engines.sphinx import SphinxRecognizer
from gateway.speech.settings import OfflineEngine
from gateway.speech.stages import EngineFault, Stage

_log = structlog.get_logger(__name__)

#: A speaker takes a quarter of a processor while he speaks, and people take turns.
SPEAKERS_PER_CPU = 8
#: Pairs that are loaded at the start; further ones with the first clause that wants them.
_WARM = 4

_HINTS = {
    Stage.RECOGNITION: (
        "the offline engine hears English only, by pocketsphinx's own model; recognition of another language needs a "
        "model: see speech.engines in the configuration"
    ),
    Stage.TRANSLATION: (
        "the offline engine translates the pairs of the apertium packages that are installed, such as by "
        "apt-get install apertium-eng-spa"
    ),
    Stage.SYNTHESIS: "the offline engine speaks by espeak-ng: apt-get install espeak-ng",
    Stage.THINKING: "the offline engine does not think",
}


class Offline(Base):
    """An `Engine`."""

    def __init__(self, name: str, max_speakers: int) -> None:
        super().__init__(name)
        self._ears = SphinxRecognizer(name, max_speakers)
        self._apertium = ApertiumTranslator(name)
        self._espeak = EspeakSynthesizer(name)
        self._absent: dict[Stage, str] = {}

    async def start(self) -> None:
        """Whatever is installed. Never fails: what is not there is said in `missing`."""
        parts = (self._ears, self._apertium, self._espeak)
        for fault in await asyncio.gather(*(part.start() for part in parts), return_exceptions=True):
            if isinstance(fault, EngineFault):
                self._absent[fault.stage] = fault.message
                _log.warning("engine_part_missing", engine=self.name, stage=str(fault.stage), error=fault.message)
            elif fault is not None:
                raise fault
        if Stage.RECOGNITION not in self._absent:
            self.recognizer = self._ears
        if Stage.SYNTHESIS not in self._absent:
            self.synthesizer = self._espeak
        if Stage.TRANSLATION not in self._absent:
            self.translator = self._apertium
            for pair in sorted(self._apertium.pairs)[:_WARM]:
                try:
                    await self._apertium.warm(*pair)
                except EngineFault as fault:
                    _log.warning("engine_part_missing", engine=self.name, pair=pair, error=fault.message)

    async def close(self) -> None:
        await asyncio.gather(self._ears.close(), self._apertium.close(), self._espeak.close())

    def missing(self, stage: Stage) -> str:
        absent = self._absent.get(stage)
        return f"{_HINTS[stage]} ({absent})" if absent else _HINTS[stage]

    def full(self) -> bool:
        return self.recognizer is not None and self._ears.full()


def build(name: str, section: Section) -> Offline:
    """The engine of a section."""
    assert isinstance(section, OfflineEngine)
    return Offline(name, section.max_speakers or SPEAKERS_PER_CPU * (os.cpu_count() or 1))
