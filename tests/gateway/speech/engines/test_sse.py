from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.engines.sse import LIMIT, EventStream

STREAM = (
    b': a comment\r\ndata: {"a":1}\r\n\r\nevent: named\ndata:no space\nid: 7\n\n'
    b"data: two\ndata: lines\n\n\n\ndata: \xc3\xb1\r\rdata: [DONE]\n\n"
)
EVENTS = ['{"a":1}', "no space", "two\nlines", "ñ", "[DONE]"]


def test_the_data_of_each_event() -> None:
    assert EventStream().feed(STREAM) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_wherever_it_is_cut(cuts: list[int]) -> None:
    stream, events = EventStream(), []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        events += stream.feed(STREAM[start:end])
    assert events == EVENTS


def test_an_event_that_has_not_ended_is_none() -> None:
    stream = EventStream()
    assert stream.feed(b"data: half") == []
    assert stream.feed(b"\n") == []
    assert stream.feed(b"\n") == ["half"]


@given(st.binary(max_size=300))
def test_whatever_comes_is_events_or_a_value_error(octets: bytes) -> None:
    try:
        events = EventStream().feed(octets)
    except ValueError:
        return
    assert all(isinstance(event, str) for event in events)


@pytest.mark.parametrize("piece", [b"x" * 10_000, b"data: " + b"x" * 10_000 + b"\n"])
def test_an_event_without_an_end_is_refused(piece: bytes) -> None:
    stream = EventStream()
    for _ in range(LIMIT // len(piece)):
        stream.feed(piece)
    with pytest.raises(ValueError, match="no end"):
        stream.feed(2 * piece)
