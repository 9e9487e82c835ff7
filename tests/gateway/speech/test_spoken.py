"""gateway/speech/spoken.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.spoken import LONGEST, Sentences, sayable


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
