from __future__ import annotations

import asyncio

import pytest

from gateway.section import Section
from gateway.speech.engines.registry import BUILDERS, Engines
from gateway.speech.settings import EngineSection, Speech
from gateway.speech.stages import EngineFault, Stage
from tests.support.engines import PretendEngine


def engines(*all_of_them: PretendEngine) -> Engines:
    names = [engine.name for engine in all_of_them]
    return Engines({engine.name: engine for engine in all_of_them}, dict.fromkeys(Stage, names))


def test_the_first_that_can_do_the_language_serves() -> None:
    english = PretendEngine("english", hears={"en"}, pairs={("en", "es")}, speaks={"en"})
    spanish = PretendEngine(
        "spanish", hears={"es"}, detects=True, pairs={("*", "*")}, speaks={"en", "es"}, thinks={"*"}
    )
    both = engines(english, spanish)
    assert both.recognizer("en-US") is english.recognizer
    assert both.recognizer("es") is spanish.recognizer
    assert both.recognizer("fr") is None
    assert both.recognizer(None) is spanish.recognizer
    assert both.translator("en", "es") is english.translator
    assert both.translator("es", "en") is spanish.translator
    assert both.synthesizer("en") is english.synthesizer
    assert both.synthesizer("es") is spanish.synthesizer
    assert both.thinker("es") is spanish.thinker


def test_an_engine_without_a_stage_is_passed_over() -> None:
    none = engines(PretendEngine("mute"))
    assert none.recognizer("en") is None
    assert none.translator("en", "es") is None
    assert none.synthesizer("en") is None
    assert none.thinker() is None


def test_one_that_fails_to_start_leaves_the_others_running() -> None:
    bad = PretendEngine("bad", fails=EngineFault(Stage.RECOGNITION, "bad", "no model", retryable=False))
    good = PretendEngine("good", hears={"en"})
    asyncio.run(engines(bad, good).start())
    assert good.started


def test_only_engines_that_a_stage_names_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(name: str, section: Section) -> PretendEngine:
        built.append(name)
        return PretendEngine(name)

    monkeypatch.setattr("gateway.speech.engines.registry.build", build)
    Engines.of(Speech.model_validate({"engines": {"spare": {"kind": "offline"}}}))
    assert built == ["offline"]


def test_every_kind_has_a_builder() -> None:
    from typing import get_args

    kinds = {one for one in (EngineSection, *get_args(EngineSection)) if isinstance(one, type)}
    for annotated in get_args(EngineSection):
        kinds |= {one for one in get_args(annotated) if isinstance(one, type)}
    assert {kind for kind in kinds if issubclass(kind, Section)} == set(BUILDERS)
