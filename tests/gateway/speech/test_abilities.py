"""gateway/speech/abilities.py"""

from __future__ import annotations

from typing import Any

from gateway.sessions.schema import LanguageView
from gateway.speech.abilities import abilities, lines
from gateway.speech.engines.registry import Engines
from gateway.speech.languages import TABLE
from gateway.speech.stages import Stage
from tests.support.engines import PretendEngine


def listed(*engines: PretendEngine) -> dict[str, dict[str, Any]]:
    order = {stage: [engine.name for engine in engines] for stage in Stage}
    entries = abilities(Engines({engine.name: engine for engine in engines}, order))
    for entry in entries:
        LanguageView.model_validate(entry, strict=True)
    return {entry["code"]: entry for entry in entries}


OFFLINE = PretendEngine("offline", hears={"en"}, pairs={("en", "es"), ("es", "en")}, speaks={"en", "es-MX", "ast"})
HOSTED = PretendEngine("hosted", hears={"*"}, detects=True, pairs={("*", "*")}, speaks={"es"}, thinks={"*"})


def test_a_small_engine() -> None:
    found = listed(OFFLINE)
    assert list(found) == ["ast", "en", "es"]
    assert found["en"] == {
        "code": "en", "name": "English", "native_name": "English", "recognition": ["offline"],
        "translation": {"to": ["es"], "from": ["es"]}, "synthesis": ["offline"], "thinking": [], "detection": None,
    }  # fmt: skip
    assert found["es"]["recognition"] == []
    assert found["es"]["synthesis"] == ["offline"]
    assert found["ast"]["name"] == "ast"


def test_engines_stand_in_their_order_and_any_is_every_language() -> None:
    found = listed(OFFLINE, HOSTED)
    assert {language.code for language in TABLE} <= found.keys()
    assert found["en"]["recognition"] == ["offline", "hosted"]
    assert found["es"]["synthesis"] == ["offline", "hosted"]
    assert found["ja"]["translation"] == {"to": ["*"], "from": ["*"]}
    assert (found["ja"]["thinking"], found["ja"]["detection"]) == (["hosted"], "speech")


def test_what_is_heard_by_an_engine_that_does_not_tell_is_found_out_by_its_words() -> None:
    found = listed(PretendEngine("deaf", hears={"en", "es"}))
    assert found["es"]["detection"] == "text"


def test_nothing_is_nothing() -> None:
    assert listed() == {}
    assert len(lines([])) == 1


def test_for_people() -> None:
    text = lines(listed(OFFLINE).values())
    assert text[0].split() == [
        "code",
        "language",
        "heard",
        "by",
        "spoken",
        "by",
        "translated",
        "to",
        "thought",
        "in",
        "by",
    ]
    assert text[2].split() == ["en", "English", "offline", "offline", "es", "-"]
