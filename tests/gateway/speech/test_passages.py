"""gateway/speech/passages.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.passages import LONGEST, passages, plain

DOCUMENT = """---
title: ignored
---
# Returns

You may send goods back within **thirty days**. See [our terms](https://example.com/terms).

## Refunds

Refunds take *five* working days.

```
curl https://example.com
```

- by card: `3` days
- by transfer: 5 days

| country | fee |
|---|---:|
| Spain | 4 euros |
| France | free |

Opening hours
-------------
Monday to Friday, nine to five.

[terms]: https://example.com
"""


def test_a_document_is_cut_at_its_headings() -> None:
    found = passages("returns.md", DOCUMENT)
    assert [(one.heading, one.text) for one in found] == [
        ("Returns", "You may send goods back within thirty days. See our terms."),
        (
            "Returns › Refunds",
            "Refunds take five working days. by card: 3 days. by transfer: 5 days. country, fee. Spain, 4 euros. "
            "France, free.",
        ),
        ("Returns › Opening hours", "Monday to Friday, nine to five."),
    ]
    assert found[1].where == "returns.md › Returns › Refunds"


def test_text_without_headings() -> None:
    (one,) = passages("a.md", "just words\nover two lines")
    assert (one.heading, one.text, one.where) == ("", "just words over two lines", "a.md")


def test_long_paragraphs_are_cut_at_sentences() -> None:
    sentence = "This is a sentence of some length that says nothing in particular at all. "
    found = passages("a.md", sentence * 20)
    assert len(found) > 2
    assert all(len(one.text) <= LONGEST and one.text.endswith("at all.") for one in found)


def test_code_is_not_read_out_even_without_an_end() -> None:
    assert [one.text for one in passages("a.md", "before\n~~~\nx = 1\n```\ny = 2\n")] == ["before"]


def test_markup() -> None:
    assert plain("a **bold** _word_, `code`, ~~gone~~ <b>b</b> ![pic](x.png) snake_case_name 2 * 3 * 4 \\*") == (
        "a bold word, code, gone b pic snake_case_name 2 * 3 * 4 *"
    )


_MARKUP = st.lists(st.sampled_from([*"#*_`[]()|>-=~\\\n ", "word ", "\n\n", "```", "1. ", "https://a "])).map("".join)


@given(_MARKUP | st.text(max_size=2000))
def test_no_text_raises_and_every_passage_can_be_said(markdown: str) -> None:
    for one in passages("a.md", markdown):
        assert 0 < len(one.text) <= LONGEST
        assert one.text == " ".join(one.text.split())
