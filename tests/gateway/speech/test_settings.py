from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.speech.settings import OFFLINE, Endpointing, Rest, Speech


def test_the_offline_engine_serves_what_it_can_by_default() -> None:
    speech = Speech()
    assert speech.recognition == speech.translation == speech.synthesis == (OFFLINE,)
    assert speech.thinking == ()
    assert set(speech.engines) == {OFFLINE}


def test_the_offline_engine_is_there_beside_others() -> None:
    speech = Speech.model_validate({"engines": {"second": {"kind": "offline"}}, "recognition": ["second", OFFLINE]})
    assert set(speech.engines) == {OFFLINE, "second"}


def test_a_stage_names_engines_that_exist() -> None:
    with pytest.raises(ValidationError, match=r"no engine 'mine'.*offline"):
        Speech.model_validate({"translation": ["mine"]})


def test_a_clause_ends_no_later_than_its_turn() -> None:
    with pytest.raises(ValidationError, match="above hangover_ms"):
        Endpointing(hangover_ms=200, clause_ms=300)


def test_the_first_rest_is_the_shortest() -> None:
    with pytest.raises(ValidationError, match="above longest_s"):
        Rest(first_s=10, longest_s=5)
