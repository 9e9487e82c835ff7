from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.speech.engine_settings import OpenAiEngine

SECRET = "sk-very-secret"


def test_a_key_is_not_shown() -> None:
    engine = OpenAiEngine.model_validate({"kind": "openai", "api_key": SECRET})
    assert SECRET not in repr(engine)
    assert SECRET not in str(engine.model_dump())


@pytest.mark.parametrize("key", ["sk two", "sk\nline", "sk-ñ", "sk\x00"])
def test_a_key_that_no_header_takes_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValidationError, match="printable ASCII") as told:
        OpenAiEngine.model_validate({"kind": "openai", "api_key": key})
    assert key not in str(told.value)


def test_a_stage_that_is_not_named_is_not_had() -> None:
    engine = OpenAiEngine.model_validate({"kind": "openai", "translation": {"model": "m"}})
    assert engine.recognition is None
    assert engine.translation is not None
    assert engine.translation.languages == ("*",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "ftp://x"},
        {"recognition": {"model": "m", "timeout_s": 0}},
        {"recognition": {"model": "m", "timeout_s": 8}},
        {"recognition": {"model": "m", "languages": []}},
        {"synthesis": {"model": "m"}},
        {"retries": 6},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OpenAiEngine.model_validate({"kind": "openai"} | wrong)
