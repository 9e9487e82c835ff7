"""The libraries read a package of the real format; what it translates to is nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.speech.engines.argos_model import lacks, load, packages, ways
from gateway.speech.engines.model_worker import Hear, ModelFault, Translate
from tests.support.tiny_models import argos_package

SETTINGS = {"threads": 1, "device": "cpu", "compute_type": "default", "beam_size": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("argos")
    argos_package(path, "de", "en")
    argos_package(path, "en", "es")
    return path


def test_a_clause_is_translated_sentence_by_sentence(folder: Path) -> None:
    model = load({"folder": str(folder), **SETTINGS})
    assert sorted(model.about["pairs"]) == [("de", "en"), ("de", "es"), ("en", "es")]
    for source in ("en-US", "de"):
        texts = [one.text for one in model.work(Translate(1, "Good morning. Hello again!", source, "es-MX"), b"")]
        assert len(texts) == 2
        assert texts[1].startswith(" ")
        assert "▁" not in "".join(texts)


def test_a_way_that_there_is_not_is_said(folder: Path) -> None:
    model = load({"folder": str(folder), **SETTINGS})
    with pytest.raises(ModelFault, match="from es to de"):
        list(model.work(Translate(1, "hola", "es", "de"), b""))
    with pytest.raises(ModelFault, match="no model for Hear"):
        list(model.work(Hear(1, "en", ""), b""))


def test_two_packages_in_a_row_lead_over_english_if_they_can() -> None:
    found = ways({("de", "en"), ("de", "fr"), ("en", "es"), ("fr", "es"), ("es", "de")})
    assert found["de", "fr"] == [("de", "fr")]
    assert found["de", "es"] == [("de", "en"), ("en", "es")]
    assert found["es", "fr"] == [("es", "de"), ("de", "fr")]
    assert ("de", "de") not in found


def test_what_can_not_be_used_is_said(tmp_path: Path) -> None:
    assert f"{tmp_path} has no unpacked package" in lacks(tmp_path)
    for name, text in (("one", '{"from_code": "en", "to_code": "es"}'), ("two", "{}"), ("three", "no JSON")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.json").write_text(text)
    found, wrong = packages(tmp_path)
    assert not found
    assert wrong["one"] == "no model/model.bin, no sentencepiece.model"
    assert "KeyError" in wrong["two"]
    assert "three" in lacks(tmp_path)
    with pytest.raises(ModelFault, match="no unpacked package"):
        load({"folder": str(tmp_path), **SETTINGS})


def test_a_file_that_is_no_model_is_said(tmp_path: Path) -> None:
    package = argos_package(tmp_path, "en", "es")
    (package / "model" / "model.bin").write_bytes(b"no model")
    with pytest.raises(ModelFault, match="translate-en_es"):
        load({"folder": str(tmp_path), **SETTINGS})
