"""The engines of local models: faster-whisper, piper, and packages of Argos Translate, from folders on disk.

Owns which stage each of them serves, and what is said when a folder or a library is missing. The models run in worker
processes (`models.py`), loaded once; a process that serves streams never waits for one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import structlog

from gateway.speech.engine_settings import ArgosEngine, PiperEngine, WhisperEngine
from gateway.speech.engines import model_worker as worker
from gateway.speech.engines.base import Base
from gateway.speech.engines.models import Pool
from gateway.speech.engines.orders import Sound
from gateway.speech.engines.pieces import PieceEar
from gateway.speech.stages import ANY, EngineFault, Heard, Partial, Stage, serves

_log = structlog.get_logger(__name__)

#: What loads the models of a kind, here and in the worker processes.
_MODULE: Final = "gateway.speech.engines.{kind}_model"
_STAGES: Final = {"whisper": Stage.RECOGNITION, "piper": Stage.SYNTHESIS, "argos": Stage.TRANSLATION}


class LocalRecognizer:
    def __init__(self, engine: str, pool: Pool, wanted: Sequence[str]) -> None:
        self.engine = engine
        known = pool.about["languages"]
        self.languages = frozenset(known if ANY in wanted else (one for one in known if serves(wanted, one)))
        self.detects = bool(pool.about["detects"])
        self._pool = pool

    def listen(self, language: str | None, partial: Callable[[Partial], None]) -> PieceEar:
        return PieceEar(self.engine, self._hear, language, partial)

    async def _hear(self, octets: bytes, language: str | None, before: str, guess: Callable[[str], None]) -> Heard:
        async with aclosing(self._pool.run(lambda number: worker.Hear(number, language, before), octets)) as answers:
            heard = [answer async for answer in answers if isinstance(answer, worker.Text)]
        if not heard:
            raise EngineFault(Stage.RECOGNITION, self.engine, "no answer", retryable=True)
        return Heard(heard[-1].text, heard[-1].language, heard[-1].confidence)


class LocalTranslator:
    def __init__(self, engine: str, pool: Pool) -> None:
        self.engine = engine
        self.pairs = frozenset((str(one), str(other)) for one, other in pool.about["pairs"])
        self._pool = pool

    async def translate(
        self, text: str, source: str, target: str, *, context: Sequence[str] = ()
    ) -> AsyncIterator[str]:
        if not text.strip():
            return
        async with aclosing(self._pool.run(lambda number: worker.Translate(number, text, source, target))) as answers:
            async for answer in answers:
                if isinstance(answer, worker.Text):
                    yield answer.text


class LocalSynthesizer:
    def __init__(self, engine: str, pool: Pool) -> None:
        self.engine = engine
        self.languages = frozenset(pool.about["languages"])
        self._pool = pool

    async def speak(self, text: str, language: str, *, voice: str | None = None) -> AsyncIterator[bytes]:
        if not text.strip():
            return
        async with aclosing(self._pool.run(lambda number: worker.Speak(number, text, language, voice))) as answers:
            async for answer in answers:
                if isinstance(answer, Sound):
                    yield answer.mulaw


class Local(Base):
    """An `Engine` of one stage."""

    def __init__(self, name: str, section: WhisperEngine | PiperEngine | ArgosEngine) -> None:
        super().__init__(name)
        self._section = section
        self._stage = _STAGES[section.kind]
        self._module = _MODULE.format(kind=section.kind)
        self._pool: Pool | None = None
        self._why = ""

    async def start(self) -> None:
        try:
            await self._start()
        except EngineFault as fault:
            self._why = fault.message
            raise

    async def _start(self) -> None:
        section = self._section
        fault = partial(EngineFault, self._stage, self.name, retryable=False)
        model: Any = import_module(self._module)
        absent = [library for library in model.LIBRARIES if find_spec(library) is None]
        if absent:
            raise fault(f"{', '.join(absent)} is not installed: pip install 'glotgate[{section.kind}]'")
        if not section.folder.is_dir():
            raise fault(f"speech.engines.{self.name}.folder: there is no folder {section.folder}")
        if lacking := model.lacks(section.folder):
            raise fault(lacking)
        settings = section.model_dump(mode="json", exclude={"kind", "workers", "waiting", "timeout_s"})
        self._pool = pool = Pool(
            self.name, self._stage, self._module, settings,
            workers=section.workers, waiting=section.waiting, timeout_s=section.timeout_s,
        )  # fmt: skip
        await pool.start()
        if isinstance(section, WhisperEngine):
            self.recognizer = LocalRecognizer(self.name, pool, section.languages)
        elif isinstance(section, ArgosEngine):
            self.translator = LocalTranslator(self.name, pool)
        else:
            self.synthesizer = LocalSynthesizer(self.name, pool)
        _log.info("model_loaded", engine=self.name, folder=str(section.folder), workers=section.workers)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    def missing(self, stage: Stage) -> str:
        if stage is not self._stage:
            return f"{self.name} serves {self._stage} only"
        return self._why or f"the models in {self._section.folder} have other languages"

    def full(self) -> bool:
        return self._pool is not None and self._pool.full()


def build(name: str, section: WhisperEngine | PiperEngine | ArgosEngine) -> Local:
    return Local(name, section)
