"""gateway/speech/detection.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.detection import STRONG_WORDS, Choice, TextDetector, combined, count_words
from gateway.speech.languages import TABLE

AMONG = ("en", "es", "de-DE")


def strong(code: str) -> dict[str, float]:
    return {code: 0.99}


def test_the_first_utterance_decides() -> None:
    choice = Choice(AMONG)
    assert choice.language is None
    assert choice.hear({"es": 0.9, "en": 0.1}, 5) == "es"
    assert choice.firm


def test_the_code_is_the_one_that_is_served() -> None:
    assert Choice(AMONG).hear(strong("de"), 5) == "de-DE"


def test_nothing_known_is_the_likeliest_for_now() -> None:
    choice = Choice(AMONG)
    assert choice.hear({}, 1) == "en"
    assert not choice.firm
    assert choice.hear({"es": 0.6, "en": 0.2}, 2) == "es"


def test_a_weak_decision_stays_while_nothing_is_better() -> None:
    choice = Choice(AMONG)
    choice.hear({"es": 0.4, "en": 0.3}, 1)
    assert choice.hear({"en": 0.45}, 1) == "es"
    assert choice.hear({"en": 0.9}, 6) == "en"
    assert choice.firm


def test_one_short_utterance_does_not_change_a_firm_decision() -> None:
    choice = Choice(AMONG)
    choice.hear(strong("en"), 6)
    assert choice.hear(strong("es"), 3) == "en"
    assert choice.hear({"es": 0.9}, 50) == "en"  # many words, but not strong


def test_a_long_one_does_and_several_short_ones_in_a_row() -> None:
    choice = Choice(AMONG)
    choice.hear(strong("en"), 6)
    assert choice.hear(strong("es"), STRONG_WORDS) == "es"
    assert choice.hear(strong("en"), STRONG_WORDS - 1) == "es"
    assert choice.hear(strong("en"), 1) == "en"


def test_doubt_is_wiped_out_by_what_holds_and_starts_anew_for_a_third() -> None:
    choice = Choice(AMONG)
    choice.hear(strong("en"), 6)
    choice.hear(strong("es"), 7)
    choice.hear(strong("en"), 1)
    assert choice.hear(strong("es"), 7) == "en"
    assert choice.hear(strong("de"), 7) == "en"
    assert choice.hear(strong("es"), 7) == "en"


def test_voice_and_words_together() -> None:
    agreed = combined("es-MX", {"es": 0.98, "pt": 0.02}, 6)
    assert agreed["es"] > 0.95
    disagreed = combined("gl", {"es": 0.98}, 6)
    assert max(disagreed.values()) < 0.8
    assert combined(None, {"es": 0.9}, 6) == {"es": 0.9}
    assert combined("en", {}, 1)["en"] > 0.5


@given(
    st.sampled_from(["en", "es-MX"]),
    st.dictionaries(st.sampled_from(["en", "es"]), st.floats(0, 0.5)),
    st.integers(0, 9),
)
def test_together_they_are_still_probabilities(spoken: str, guessed: dict[str, float], words: int) -> None:
    assert all(0 <= p <= 1 for p in combined(spoken, guessed, words).values())


_EVIDENCE = st.dictionaries(st.sampled_from(["en", "es", "de", "fr"]), st.floats(0, 1))


@given(st.lists(st.tuples(_EVIDENCE, st.integers(0, 30)), min_size=1))
def test_what_is_decided_can_be_served_and_changes_on_strong_evidence_only(
    utterances: list[tuple[dict[str, float], int]],
) -> None:
    choice = Choice(AMONG)
    for evidence, words in utterances:
        before, firm = choice.language, choice.firm
        after = choice.hear(evidence, words)
        assert after in AMONG
        assert not firm or choice.firm
        if firm and after != before:
            assert evidence[after[:2]] >= 0.95


@pytest.fixture(scope="module")
def detector() -> TextDetector:
    return TextDetector()


EVERYTHING = [language.code for language in TABLE]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("I need help with my account", "en"),
        ("quiero hablar con un agente", "es"),
        ("ich habe eine Frage zu meiner Rechnung", "de"),
        ("je voudrais parler avec quelqu'un", "fr"),
        ("dzień dobry mam pytanie", "pl"),
        ("где мой заказ", "ru"),
        ("你好我想订餐", "zh"),
    ],
)
def test_a_sentence_is_enough(detector: TextDetector, text: str, code: str) -> None:
    evidence = detector.guess(text, EVERYTHING)
    assert max(evidence, key=evidence.__getitem__) == code
    assert evidence[code] > 0.6


@pytest.mark.parametrize(
    ("text", "code"), [("Hello?", "en"), ("hola", "es"), ("Oui.", "fr"), ("Yes, please!", "en"), ("喂", "zh")]
)
def test_so_is_how_people_answer_the_telephone(detector: TextDetector, text: str, code: str) -> None:
    evidence = detector.guess(text, ["en-US", "es-MX", "fr", "zh"])
    assert max(evidence, key=evidence.__getitem__) == code
    assert evidence[code] > 0.5


@given(st.text(max_size=60), st.sets(st.sampled_from(EVERYTHING)))
def test_a_guess_is_a_probability_of_what_was_asked_for(text: str, among: set[str]) -> None:
    evidence = _SHARED.guess(text, among)
    assert set(evidence) <= among
    assert all(p >= 0 for p in evidence.values())
    assert sum(evidence.values()) <= 1.0001


_SHARED = TextDetector()


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("good morning", 2), ("你好我想订餐", 3), ("สวัสดี", 3), ("ok 你好", 2)]
)
def test_words(text: str, count: int) -> None:
    assert count_words(text) == count
