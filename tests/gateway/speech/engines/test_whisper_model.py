"""The library reads a model of the real format; what it hears is nonsense."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.speech.engines.model_worker import Hear, ModelFault, Speak
from gateway.speech.engines.whisper_model import Whisper, lacks, load
from tests.support.tiny_models import whisper_model

SETTINGS = {"threads": 1, "device": "cpu", "compute_type": "int8", "beam_size": 1}
SECOND = b"\x20\xa0" * 4000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    return load({"folder": str(whisper_model(tmp_path_factory.mktemp("whisper") / "tiny")), **SETTINGS})


def test_a_turn_is_heard(model: Whisper) -> None:
    assert "en" in model.about["languages"]
    (text,) = model.work(Hear(4, "en-GB", "before"), SECOND)
    assert (text.number, text.language) == (4, "en-GB")
    assert 0.0 <= text.confidence <= 1.0


def test_a_language_that_it_does_not_hear_is_said(model: Whisper) -> None:
    with pytest.raises(ModelFault, match="does not hear xx"):
        list(model.work(Hear(1, "xx", ""), SECOND))
    with pytest.raises(ModelFault, match="no model for Speak"):
        list(model.work(Speak(1, "hi", "en", None), b""))


def test_what_is_hardly_speech_is_left_out(model: Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    def segment(text: str, likely: float, nothing: float) -> Any:
        return SimpleNamespace(text=text, avg_logprob=likely, no_speech_prob=nothing)

    told = [segment(" Yes.", 0.0, 0.1), segment(" Thanks for watching!", -1.5, 0.9), segment(" No", -0.2, 0.9)]
    info = SimpleNamespace(language="es")
    monkeypatch.setattr(model._model, "transcribe", lambda samples, **options: (iter(told), info))
    (text,) = model.work(Hear(1, "en", ""), SECOND)
    assert text.text == "Yes. No"
    assert 0.8 < text.confidence < 1.0


def test_a_folder_that_is_no_model_is_said(tmp_path: Path) -> None:
    assert "no model.bin, no config.json, no tokenizer.json" in lacks(tmp_path)
    with pytest.raises(ModelFault, match="is it a Whisper model"):
        load({"folder": str(tmp_path), **SETTINGS})
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelFault, match=str(tmp_path)):
        load({"folder": str(tmp_path), **SETTINGS})
