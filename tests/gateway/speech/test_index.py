"""gateway/speech/index.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.index import Index, about, words
from gateway.speech.passages import Passage

TEXTS = {
    "returns.md": ["You may send goods back within thirty days.", "Refunds are paid to the card you paid with."],
    "hours.md": ["Our shops open at nine and close at eight.", "On Sundays all shops are closed."],
    "es.md": ["El envío a España cuesta cuatro euros."],
    "zh.md": ["退款需要五个工作日。", "商店九点开门。"],
}


@pytest.fixture
def index() -> Index:
    made = Index()
    for document, texts in TEXTS.items():
        made.put(document, [Passage(document, "", text) for text in texts])
    return made


def test_words() -> None:
    assert list(words("Él  niño’s CAFÉ_3")) == ["el", "nino", "s", "cafe", "3"]
    assert list(words("退款需要 ok")) == ["退款", "款需", "需要", "ok"]
    assert list(words("退")) == ["退"]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("how do I get a refund", "Refunds are paid to the card you paid with."),
        ("when do your shops open", "Our shops open at nine and close at eight."),
        ("are you closed on sunday", "On Sundays all shops are closed."),
        ("cuanto cuesta el envio", "El envío a España cuesta cuatro euros."),
        ("怎么退款", "退款需要五个工作日。"),
    ],
)
def test_the_passage_that_answers_comes_first(index: Index, question: str, text: str) -> None:
    hits = index.search(question)
    assert hits[0].passage.text == text
    assert 0 < hits[0].coverage <= 1
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_what_nobody_wrote_about_is_not_found(index: Index) -> None:
    assert index.search("helicopter insurance") == []
    assert index.search("") == []
    assert Index().search("anything") == []


def test_headings_count(index: Index) -> None:
    index.put("k.md", [Passage("k.md", "Warranty", "Two years on everything.")])
    assert index.search("what about warranty")[0].passage.source == "k.md"


def test_a_document_is_replaced_and_removed(index: Index) -> None:
    index.put("returns.md", [Passage("returns.md", "", "No returns any more.")])
    assert [hit.passage.text for hit in index.search("refund goods")] == []
    index.remove("hours.md")
    index.remove("never.md")
    assert index.documents == {"returns.md", "es.md", "zh.md"}
    assert len(index) == 4


_DOCUMENTS = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.text("ab \u00e9\u9000c", max_size=30), max_size=4))


@given(_DOCUMENTS, _DOCUMENTS, st.text("abc \u9000", max_size=20))
def test_history_leaves_no_trace(former: dict[str, list[str]], now: dict[str, list[str]], query: str) -> None:
    """An index that was changed into something answers as one that was built so."""
    changed, fresh = Index(), Index()
    for document, texts in former.items():
        changed.put(document, [Passage(document, "", text) for text in texts])
    for document in former:
        changed.remove(document)
    assert len(changed) == 0
    for index in (changed, fresh):
        for document, texts in now.items():
            index.put(document, [Passage(document, "", text) for text in texts])
    assert changed.search(query) == fresh.search(query)
    assert all(0 <= hit.coverage <= 1.0001 for hit in fresh.search(query))


def test_what_a_question_is_about(index: Index) -> None:
    assert about("where is my order")
    assert about("退款")
    assert not about("hello, thank you")
    assert not about("")
    assert TEXTS["returns.md"][0] in index.sample()
