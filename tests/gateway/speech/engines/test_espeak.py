"""gateway/speech/engines/espeak.py, with the real espeak-ng."""

from __future__ import annotations

import asyncio
import os
import signal

import numpy as np
import pytest

from gateway.speech import mulaw
from gateway.speech.engines import espeak as module
from gateway.speech.engines.espeak import EspeakSynthesizer, voice_of
from gateway.speech.stages import EngineFault, serves

VOICES = ("cmn", "en-029", "en-gb", "en-us", "es", "es-419", "fr-fr", "nb", "pt", "pt-br")


@pytest.mark.parametrize(
    ("language", "voice"),
    [
        ("es", "es"),
        ("es-ES", "es"),
        ("es-MX", "es-419"),
        ("en", "en-us"),
        ("en-GB", "en-gb"),
        ("pt-BR", "pt-br"),
        ("fr", "fr-fr"),
        ("zh", "cmn"),
        ("no", "nb"),
        ("tlh", None),
    ],
)
def test_which_voice_speaks_a_language(language: str, voice: str | None) -> None:
    assert voice_of(language, VOICES) == voice


def test_a_clause_is_spoken_and_one_nobody_wants_is_given_up() -> None:
    async def main() -> None:
        synthesizer = EspeakSynthesizer("offline")
        await synthesizer.start()
        assert all(serves(synthesizer.languages, code) for code in ("es", "es-MX", "en", "de", "zh"))
        audio = b"".join([chunk async for chunk in synthesizer.speak("Buenos días", "es-MX")])
        assert 400 < len(audio) // 8 < 2000
        samples = mulaw.decode(audio).astype(float)
        assert np.sqrt(np.mean(samples**2)) > 500
        deep = b"".join([chunk async for chunk in synthesizer.speak("Buenos días", "es", voice="m7")])
        assert deep != audio
        async for _ in synthesizer.speak("uno dos tres " * 200, "es"):
            break
        again = b"".join([chunk async for chunk in synthesizer.speak("Hola", "es")])
        assert len(again) > 800
        with pytest.raises(EngineFault, match="no voice for tlh"):
            await anext(synthesizer.speak("nuqneH", "tlh"))
        await synthesizer.close()
        with pytest.raises(EngineFault, match="being started"):
            await anext(synthesizer.speak("Hola", "es"))

    asyncio.run(main())


def test_clauses_fail_with_the_worker_and_the_next_one_has_a_new_one() -> None:
    async def main() -> None:
        synthesizer = EspeakSynthesizer("offline")
        await synthesizer.start()
        process = synthesizer._worker._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        waiting = synthesizer.speak("Hola", "es")
        answer = asyncio.ensure_future(anext(waiting))
        await asyncio.sleep(0)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(EngineFault, match="died"):
            await answer
        for _ in range(1000):
            if synthesizer._worker.link is not None:
                break
            await asyncio.sleep(0.01)
        assert b"".join([chunk async for chunk in synthesizer.speak("Hola", "es")])
        await synthesizer.close()

    asyncio.run(main())


def test_clauses_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 0)

    async def main() -> None:
        synthesizer = EspeakSynthesizer("offline")
        await synthesizer.start()
        with pytest.raises(EngineFault, match="wait already"):
            await anext(synthesizer.speak("Hola", "es"))
        await synthesizer.close()

    asyncio.run(main())
