"""The engines of local models, with real processes; the models are tiny ones of the real formats, or pretended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.speech.engine_settings import ArgosEngine, PiperEngine, WhisperEngine
from gateway.speech.engines import local
from gateway.speech.engines.local import Local, build
from gateway.speech.stages import EngineFault, Stage
from tests.gateway.speech.engines.test_pieces import WORDS
from tests.support.tiny_models import piper_voice


def story(engine: Local, test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await engine.start()
        try:
            await test()
        finally:
            await engine.close()

    asyncio.run(main())


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every kind is served by the pretended model."""
    import tests.support.pretend_model as model

    monkeypatch.setattr(model, "lacks", lambda folder: "", raising=False)
    monkeypatch.setattr(local, "_MODULE", "tests.support.pretend_model")
    return tmp_path


def test_piper_speaks_in_a_process_of_its_own(tmp_path: Path) -> None:
    piper_voice(tmp_path)
    engine = build("piper", PiperEngine(folder=tmp_path, threads=1, timeout_s=7.5))

    async def test() -> None:
        assert engine.synthesizer is not None
        assert engine.synthesizer.languages == {"es-MX"}
        assert engine.recognizer is engine.translator is engine.thinker is None
        assert not engine.full()
        assert len(b"".join([chunk async for chunk in engine.synthesizer.speak("Hola.", "es")])) > 800
        assert [chunk async for chunk in engine.synthesizer.speak(" ", "es")] == []
        assert engine.missing(Stage.TRANSLATION) == "piper serves synthesis only"
        assert "have other languages" in engine.missing(Stage.SYNTHESIS)

    story(engine, test)


def test_whisper_hears_turn_by_turn(pretended: Path) -> None:
    engine = build("ear", WhisperEngine(folder=pretended, languages=("es",), timeout_s=7.5))

    async def test() -> None:
        assert engine.recognizer is not None
        assert engine.recognizer.languages == {"es"}
        assert engine.recognizer.detects
        ear = engine.recognizer.listen(None, lambda guess: None)
        ear.feed(WORDS)
        heard = await ear.end()
        assert (heard.text, heard.language, heard.confidence) == (f"{len(WORDS)} octets after ''", "es", 0.5)
        ear.close()

    story(engine, test)


def test_argos_translates(pretended: Path) -> None:
    engine = build("words", ArgosEngine(folder=pretended, timeout_s=7.5))

    async def test() -> None:
        assert engine.translator is not None
        assert engine.translator.pairs == {("en", "es")}
        assert [piece async for piece in engine.translator.translate("good day", "en", "es")] == ["GOOD", "DAY"]
        assert [piece async for piece in engine.translator.translate("", "en", "es")] == []
        with pytest.raises(EngineFault, match="translation by words: no such word"):
            _ = [piece async for piece in engine.translator.translate("bad", "en", "es")]

    story(engine, test)


@pytest.mark.parametrize(
    ("section", "stage"),
    [(WhisperEngine, Stage.RECOGNITION), (ArgosEngine, Stage.TRANSLATION), (PiperEngine, Stage.SYNTHESIS)],
)
def test_a_folder_that_is_not_there_or_empty_is_named(section: Any, stage: Stage, tmp_path: Path) -> None:
    for folder, told in ((tmp_path / "gone", "there is no folder"), (tmp_path, "has no")):
        engine = build("mine", section(folder=folder))
        with pytest.raises(EngineFault, match=told) as caught:
            asyncio.run(engine.start())
        assert str(folder) in caught.value.message
        assert caught.value.stage is stage
        assert not caught.value.retryable
        assert engine.missing(stage) == caught.value.message
        assert not engine.full()


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(EngineFault, match=r"faster_whisper is not installed: pip install 'glotgate\[whisper\]'"):
        asyncio.run(build("mine", WhisperEngine(folder=tmp_path)).start())
