"""gateway/speech/engines/offline.py: English is heard and spoken in Spanish, and what is missing is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.speech.engines.apertium import ApertiumTranslator
from gateway.speech.engines.offline import build
from gateway.speech.settings import OfflineEngine
from gateway.speech.stages import EngineFault, Stage
from tests.support.telephone import flite_telephone


def test_english_to_spanish_without_a_network(tmp_path: Path) -> None:
    speech = flite_telephone("The children are playing in the garden.", tmp_path)

    async def main() -> None:
        engine = build("offline", OfflineEngine(max_speakers=1))
        await engine.start()
        assert engine.recognizer is not None
        assert engine.translator is not None
        assert engine.synthesizer is not None
        assert engine.thinker is None
        ear = engine.recognizer.listen("en", lambda partial: None)
        assert engine.full()
        ear.feed(speech)
        heard = await ear.end()
        assert heard.text == "The children are playing in the garden"
        spanish = "".join([piece async for piece in engine.translator.translate(heard.text, "en", "es")])
        assert {"niños", "jardín"} <= set(spanish.split())
        audio = b"".join([chunk async for chunk in engine.synthesizer.speak(spanish, "es")])
        assert len(audio) > 8000
        assert "model" in engine.missing(Stage.RECOGNITION)
        await engine.close()

    asyncio.run(main())


def test_what_is_not_installed_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(self: ApertiumTranslator) -> None:
        raise EngineFault(Stage.TRANSLATION, "offline", "no apertium pair is installed", retryable=False)

    monkeypatch.setattr(ApertiumTranslator, "start", none)

    async def main() -> None:
        engine = build("offline", OfflineEngine())
        await engine.start()
        assert engine.translator is None
        assert engine.recognizer is not None
        assert "apt-get install apertium-eng-spa (no apertium pair is installed)" in engine.missing(Stage.TRANSLATION)
        await engine.close()

    asyncio.run(main())
