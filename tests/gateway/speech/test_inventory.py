from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.section import Section
from gateway.speech import inventory
from gateway.speech.settings import Speech
from gateway.speech.stages import EngineFault, Stage
from tests.support.engines import PretendEngine


def told(monkeypatch: pytest.MonkeyPatch, engines: dict[str, PretendEngine], **stages: Any) -> list[str]:
    def build(name: str, section: Section) -> PretendEngine:
        return engines[name]

    monkeypatch.setattr(inventory, "build", build)
    sections = {name: {"kind": "openai", "recognition": {"model": "m"}} for name in engines}
    order = {"recognition": [], "translation": [], "synthesis": []} | stages
    return asyncio.run(inventory.report(Speech.model_validate({"engines": sections, **order})))


def test_each_engine_says_what_it_can_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    some = PretendEngine("some", hears={"en-US", "es"}, pairs={("en", "es"), ("es", "en")}, speaks={"*"})
    monkeypatch.setattr(some, "missing", lambda stage: "other languages need a model")  # what is there needs no hint
    monkeypatch.setattr(some, "trouble", lambda stage: "no answer" if stage is Stage.RECOGNITION else "")
    none = PretendEngine("none")
    monkeypatch.setattr(none, "missing", lambda stage: f"install {stage}")
    lines = told(
        monkeypatch,
        {"some": some, "none": none},
        recognition=["some"],
        translation=["none", "some"],
        synthesis=["some"],
    )
    assert lines == [
        "engine some (openai)",
        "  recognition: en, es (no answer)",
        "  translation: en→es, es→en",
        "  synthesis: any language",
        "engine none (openai)",
        "  translation: NOT HAD: install translation",
        "engine offline (offline): no stage names it",
    ]
    assert some.closed
    assert none.closed


def test_one_that_does_not_start_and_stages_without_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = EngineFault(Stage.RECOGNITION, "bad", "there is no folder /x", retryable=False)
    bad = PretendEngine("bad", hears={"en"}, fails=fault)
    lines = told(monkeypatch, {"bad": bad}, recognition=["bad"])
    assert lines[:2] == ["engine bad (openai)", "  DOES NOT START: there is no folder /x"]
    assert lines[3:] == ["no engine is named for translation", "no engine is named for synthesis"]
    assert bad.closed


def test_many_are_counted_and_any_pair_is_any(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {"af", "ar", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et"}
    many = PretendEngine("many", hears=codes, pairs={("*", "*")}, thinks={"*"})
    lines = told(monkeypatch, {"many": many}, recognition=["many"], translation=["many"], thinking=["many"])
    assert lines[1:4] == [
        "  recognition: 13 languages",
        "  translation: from any language to any",
        "  thinking: any language",
    ]


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = PretendEngine("broken", fails=ValueError("a defect"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a defect"):
        told(monkeypatch, {"broken": broken}, recognition=["broken"])
