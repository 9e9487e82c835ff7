"""The library reads a voice of the real format; what the voice says is a tone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.speech.engines.model_worker import Hear, ModelFault, Speak
from gateway.speech.engines.piper_model import lacks, load, voices
from tests.support.tiny_models import piper_voice

SETTINGS = {"threads": 1}


def test_a_clause_is_spoken_sentence_by_sentence(tmp_path: Path) -> None:
    piper_voice(tmp_path)
    model = load({"folder": str(tmp_path), **SETTINGS})
    assert model.about == {"languages": ["es-MX"], "voices": ["es_MX-tiny-low"]}
    sounds = list(model.work(Speak(3, "Hola amigo. Buenos dias.", "es-ES", None), b""))
    assert [sound.number for sound in sounds] == [3, 3]
    assert all(len(sound.mulaw) > 800 for sound in sounds)


def test_a_voice_goes_by_its_name_then_by_language(tmp_path: Path) -> None:
    for name, code in (("es_MX-one", "es_MX"), ("es_ES-two", "es_ES"), ("en_US-three", "en_US")):
        piper_voice(tmp_path / name, name, code)
    model = load({"folder": str(tmp_path), **SETTINGS})
    assert model.about["languages"] == ["en-US", "es-ES", "es-MX"]
    by_name, voiced = model._voices, model._voice
    assert voiced(Speak(1, "", "es", "en_US-three")) is by_name["en_US-three"][1]
    assert voiced(Speak(1, "", "es-ES", "nobody")) is by_name["es_ES-two"][1]
    assert voiced(Speak(1, "", "en", None)) is by_name["en_US-three"][1]
    with pytest.raises(ModelFault, match="no voice speaks fr"):
        voiced(Speak(1, "", "fr", None))


def test_what_can_not_be_used_is_said(tmp_path: Path) -> None:
    assert f"{tmp_path} has no voice" in lacks(tmp_path)
    piper_voice(tmp_path, "zh_CN-far", "zh_CN", "pinyin")
    (tmp_path / "alone.onnx").write_bytes(b"")
    found, wrong = voices(tmp_path)
    assert not found
    assert "prepared by pinyin" in wrong["zh_CN-far.onnx"]
    assert "FileNotFoundError" in wrong["alone.onnx"]
    with pytest.raises(ModelFault, match="prepared by pinyin"):
        load({"folder": str(tmp_path), **SETTINGS})


def test_a_voice_without_a_language_has_that_of_its_phonemes(tmp_path: Path) -> None:
    piper_voice(tmp_path, code="")
    path = next(tmp_path.glob("*.json"))
    path.write_text(path.read_text().replace('"voice": ""', '"voice": "en-gb"'))
    assert [voice.language for voice in voices(tmp_path)[0]] == ["en-gb"]


def test_a_file_that_is_no_model_is_said(tmp_path: Path) -> None:
    piper_voice(tmp_path).write_bytes(b"no model at all")
    with pytest.raises(ModelFault, match=r"es_MX-tiny-low\.onnx"):
        load({"folder": str(tmp_path), **SETTINGS})


def test_it_only_speaks(tmp_path: Path) -> None:
    piper_voice(tmp_path)
    with pytest.raises(ModelFault, match="no model for Hear"):
        list(load({"folder": str(tmp_path), **SETTINGS}).work(Hear(1, "en", ""), b""))
