"""gateway/speech/terms.py"""

from __future__ import annotations

import pytest

from gateway.speech.terms import Terms, differ, listeners

EN_ES = Terms("bidirectional_translation", "en", "es")


def test_who_speaks_what() -> None:
    terms = Terms("bidirectional_translation", "en", "es", {"expert": "fr", "other": None})
    assert terms.language_of("customer") == "en"
    assert terms.language_of("agent") == "es"
    assert terms.language_of("expert") == "fr"
    assert terms.language_of("other") == terms.language_of("participant-3") == "es"


def test_each_hears_the_other_in_his_own_language() -> None:
    languages = {"customer": "en", "agent": "es"}
    assert listeners(EN_ES, "customer", languages, languages) == {"es": ["agent"]}
    assert listeners(EN_ES, "agent", languages, languages) == {"en": ["customer"]}


def test_three_parties_in_two_languages() -> None:
    languages = {"customer": "en", "agent": "es-MX", "expert": "es-MX", "guest": "en-GB"}
    assert listeners(EN_ES, "customer", languages, languages) == {"es-MX": ["agent", "expert"]}
    assert listeners(EN_ES, "agent", languages, languages) == {"en": ["customer"], "en-GB": ["guest"]}


def test_a_lone_party_hears_itself_as_the_other_would() -> None:
    assert listeners(EN_ES, "customer", ["customer"], {"customer": "en"}) == {"es": ["customer"]}
    assert listeners(Terms("bidirectional_translation", "en"), "customer", ["customer"], {"customer": "en"}) == {}


def test_who_shares_a_language_needs_no_interpreter() -> None:
    languages = {"customer": "en", "agent": "en-US"}
    assert listeners(EN_ES, "customer", languages, languages) == {}


@pytest.mark.parametrize(
    ("one", "other", "expected"), [("en", "es", True), ("en-GB", "en", False), (None, "en", False)]
)
def test_what_differs(one: str | None, other: str | None, expected: bool) -> None:
    assert differ(one, other) is expected


def test_the_agent_of_an_assistive_session_reads() -> None:
    assert not Terms("assistive_translation").is_voiced("agent")
    assert Terms("assistive_translation").is_voiced("customer")
    assert EN_ES.is_voiced("agent")
