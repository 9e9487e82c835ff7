"""gateway/speech/spoken.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.spoken import LONGEST, Answer, Sentences, sayable


def cut(text: str, size: int = 3) -> list[str]:
    sentences = Sentences()
    found = []
    for at in range(0, len(text), size):
        found += sentences.push(text[at : at + size])
    return found + sentences.flush()


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Good morning. How can I help you?", ["Good morning.", "How can I help you?"]),
        ("Dr. Smith is in. No. 5 is 3.5 metres.", ["Dr. Smith is in.", "No. 5 is 3.5 metres."]),
        ("Yes. It is open until eight.", ["Yes. It is open until eight."]),
        ("您好。有什么可以帮您？", ["您好。", "有什么可以帮您？"]),
        ("one\ntwo", ["one", "two"]),
        ("  \n ", []),
    ],
)
def test_clauses_end_where_a_voice_pauses(text: str, clauses: list[str]) -> None:
    assert cut(text) == clauses


def test_a_finished_sentence_does_not_wait_for_the_next() -> None:
    sentences = Sentences()
    assert sentences.push("Let me have a look. ") == ["Let me have a look."]


def test_a_long_sentence_is_cut_at_a_comma() -> None:
    text = "This is a sentence that goes on for quite a while before it pauses, and then it goes on again. "
    assert cut(text)[0].endswith("pauses,")


@given(st.text(st.sampled_from("ab .,!?。\n\"1'"), max_size=900), st.integers(1, 50))
def test_nothing_is_lost_however_it_comes(text: str, size: int) -> None:
    clauses = cut(text, size)
    assert "".join("".join(clauses).split()) == "".join(text.split())
    assert all(0 < len(clause) <= LONGEST and clause == clause.strip() for clause in clauses)


def test_sayable() -> None:
    assert sayable("3 metres")
    assert not sayable(' ... " —')


def answer(*clauses: tuple[str, int]) -> Answer:
    made = Answer()
    for text, ms in clauses:
        made.clause(text)
        made.audio(ms, now=100.0)
    return made


@pytest.mark.parametrize(
    ("dropped_ms", "heard"),
    [
        (0, "one two three four"),
        (250, "one two three"),
        (500, "one two"),
        (600, "one"),
        (1100, ""),
        (1500, ""),
        (9000, ""),
    ],
)
def test_what_was_heard(dropped_ms: int, heard: str) -> None:
    assert answer(("one two", 1000), ("three four", 500)).heard(dropped_ms) == heard


def test_a_clause_without_audio_was_not_heard() -> None:
    made = answer(("one two", 1000))
    made.clause("three four")
    assert made.heard(0) == "one two"
    assert made.text == "one two three four"


def test_time() -> None:
    made = Answer()
    assert made.left_ms(5.0) == 0
    made.clause("one")
    made.audio(1000, now=10.0)
    made.audio(500, now=10.1)
    assert made.left_ms(10.5) == 1000
    assert made.left_ms(12.0) == 0


@given(st.lists(st.tuples(st.text("ab ", max_size=20), st.integers(0, 3000)), max_size=6), st.integers(0, 20_000))
def test_more_dropped_is_never_more_heard(clauses: list[tuple[str, int]], dropped_ms: int) -> None:
    made = answer(*clauses)
    heard = made.heard(dropped_ms).split()
    assert heard == made.text.split()[: len(heard)] or any(ms == 0 for _, ms in clauses)
    assert len(made.heard(dropped_ms + 100).split()) <= len(heard)
    assert made.heard(made.sent_ms + 1) == ""
