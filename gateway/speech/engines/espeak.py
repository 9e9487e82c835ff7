"""Synthesis by espeak-ng, this process's side: which voice speaks a language, and clauses on their way.

What speaks is `speaking_worker.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from itertools import count
from typing import Any, Final

from gateway.speech.engines import speaking_worker as worker
from gateway.speech.engines.orders import Done, Forget, Sound
from gateway.speech.engines.worker import Worker, WorkerFailed
from gateway.speech.stages import EngineFault, Stage, primary

#: Clauses that wait to be spoken; some hundred milliseconds of work.
WAITING: Final = 64
#: Where espeak-ng's name of a language is not the one that sessions use.
_OTHER_NAMES: Final = {"zh": "cmn", "no": "nb"}


def voice_of(language: str, voices: Iterable[str]) -> str | None:
    """A voice for a language: its own variant, for Spanish overseas the American one, else the language's."""
    known = {voice.lower(): voice for voice in voices}
    tag, base = language.lower(), primary(language)
    wanted = [tag]
    if base == "es" and tag not in ("es", "es-es"):
        wanted.append("es-419")
    wanted += ["en-us"] if tag == "en" else []
    wanted += [base, _OTHER_NAMES.get(base, base)]
    for name in wanted:
        if name in known:
            return known[name]
    return next((voice for voice in sorted(known.values()) if primary(voice) == base), None)


class EspeakSynthesizer:
    """Every language that the installed espeak-ng has a voice for."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.languages: frozenset[str] = frozenset()
        self._voices: tuple[str, ...] = ()
        self._numbers = count(1)
        self._clauses: dict[int, asyncio.Queue[Sound | Done]] = {}
        self._worker = Worker(worker.__name__, worker.Word, self)

    async def start(self) -> None:
        """Raises EngineFault when there is no espeak-ng."""
        try:
            await self._worker.start()
        except WorkerFailed as error:
            raise EngineFault(Stage.SYNTHESIS, self.engine, str(error), retryable=False) from None
        self._voices = tuple(self._worker.about["languages"])
        other = {name: code for code, name in _OTHER_NAMES.items()}
        bases = {primary(voice) for voice in self._voices}
        self.languages = frozenset(bases | {other[base] for base in bases if base in other})

    async def close(self) -> None:
        await self._worker.close()
        self.gone()

    async def speak(self, text: str, language: str, *, voice: str | None = None) -> AsyncGenerator[bytes, None]:
        """voice: a variant such as `f3` or `m7`."""
        link, name = self._worker.link, voice_of(language, self._voices)
        if name is None:
            raise self._fault(f"espeak-ng has no voice for {language}", retryable=False)
        if link is None:
            raise self._fault("the worker is being started", retryable=True)
        if len(self._clauses) >= WAITING:
            raise self._fault(f"{WAITING} clauses wait already", retryable=True)
        number = next(self._numbers)
        # Bounded by what espeak-ng can say of one clause: the text's length is the pipeline's to bound.
        queue: asyncio.Queue[Sound | Done] = asyncio.Queue()
        self._clauses[number] = queue
        variant = f"{name}+{voice}" if voice and voice[:1] in "fm" and voice[1:].isdigit() else name
        done = False
        try:
            link.send(worker.Say(number, text, variant))
            while not done:
                word = await queue.get()
                if isinstance(word, Sound):
                    yield word.mulaw
                else:
                    done = True
                    if word.error:
                        raise self._fault(word.error, retryable=True)
        finally:
            del self._clauses[number]
            if not done:
                link.send(Forget(number))

    def _fault(self, why: str, *, retryable: bool) -> EngineFault:
        return EngineFault(Stage.SYNTHESIS, self.engine, why, retryable=retryable)

    # ---- Owner -------------------------------------------------------------------------------------

    def heard(self, message: Any) -> None:
        queue = self._clauses.get(message.number)
        if queue is not None:
            queue.put_nowait(message)

    def gone(self) -> None:
        for number, queue in self._clauses.items():
            queue.put_nowait(Done(number, "the worker has died"))
