"""gateway/speech/phrases.py"""

from __future__ import annotations

import pytest

from gateway.speech import phrases
from gateway.speech.passages import Passage


@pytest.mark.parametrize("name", sorted(phrases._PHRASES))
def test_every_phrase_has_the_same_languages(name: str) -> None:
    assert phrases._PHRASES[name].keys() == phrases._PHRASES["trouble"].keys()
    assert phrases.phrase(name, "es-MX") == ("es-MX", phrases._PHRASES[name]["es"])
    assert phrases.phrase(name, "sw")[0] == "en"


def test_prompts_name_the_language_and_keep_the_instructions() -> None:
    prompt = phrases.for_agent("  Sell bicycles. ", "es-MX")
    assert prompt.startswith("Sell bicycles.\n\n")
    assert "Answer in Spanish (MX)" in prompt


def test_passages_are_in_the_prompt_with_where_they_stand() -> None:
    prompt = phrases.for_help("", [Passage("a.md", "Fees", "Four euros.")], "en")
    assert "[1] a.md › Fees\nFour euros." in prompt
    assert not prompt.startswith("\n")
    assert "no passage" in phrases.for_help("Be brief.", [], "en")
