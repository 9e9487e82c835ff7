from __future__ import annotations

import json
from math import exp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.engines import openai_shapes as shapes
from gateway.speech.stages import Heard, Message, ToolCall


def body(**value: Any) -> bytes:
    return json.dumps(value).encode()


def test_json_tells_the_text() -> None:
    assert shapes.heard(body(text=" Hello. "), "en") == Heard("Hello.", "en", 1.0)
    assert shapes.heard(body(text=""), "en") == Heard("", "en", 0.0)


def test_verbose_json_tells_language_and_confidence() -> None:
    segments = [{"text": " One two", "avg_logprob": -0.1}, {"text": " th", "avg_logprob": -1.0}]
    heard = shapes.heard(body(text="One two th", language="norwegian", segments=segments), None)
    assert heard.language == "no"
    assert heard.confidence == pytest.approx((8 * exp(-0.1) + 3 * exp(-1.0)) / 11)


@pytest.mark.parametrize(
    ("told", "code"), [("english", "en"), ("es", "es"), ("Chinese", "zh"), ("nn", "no"), ("klingon", "klingon")]
)
def test_a_language_is_a_name_or_a_code(told: str, code: str) -> None:
    assert shapes.heard(body(text="x", language=told), None).language == code
    assert shapes.heard(body(text="x", language=told), "en-GB").language == "en-GB"


def test_what_is_hardly_speech_is_left_out() -> None:
    segments = [
        {"text": " Yes.", "avg_logprob": -0.2, "no_speech_prob": 0.1},
        {"text": " Thanks for watching!", "avg_logprob": -1.4, "no_speech_prob": 0.8},
    ]
    told = body(text="Yes. Thanks for watching!", segments=segments)
    assert shapes.heard(told, "en").text == "Yes."
    assert shapes.heard(body(text="Thanks.", segments=segments[1:]), "en") == Heard("", "en", 0.0)


@pytest.mark.parametrize(
    "wrong", [b"", b"[]", b"<html>", body(), body(text=None), body(text=5), body(text="x", language=4)]
)
def test_what_is_no_transcription_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r"no (JSON|text)"):
        shapes.heard(wrong, None)


OPENAI = [
    '{"type":"transcript.text.delta","delta":"Good"}',
    '{"type":"transcript.text.delta","delta":" day."}',
    '{"type":"transcript.text.done","text":"Good day."}',
]
SPEACHES = ['{"text":"Good"}', '{"text":" day."}']
VLLM = [
    '{"object":"transcription.chunk","choices":[{"delta":{"content":"Good"}}]}',
    '{"object":"transcription.chunk","choices":[{"delta":{"content":" day."}}]}',
    '{"choices":[],"usage":{}}',
    "[DONE]",
]


@pytest.mark.parametrize("events", [OPENAI, SPEACHES, VLLM], ids=["openai", "speaches", "vllm"])
def test_every_kind_of_streamed_transcription_is_read(events: list[str]) -> None:
    stream = shapes.TranscriptStream()
    told = [stream.text for event in events if stream.feed(event)]
    assert told == ["Good", "Good day."]
    assert stream.heard("en") == Heard("Good day.", "en", 1.0)


def test_a_streamed_error_is_one() -> None:
    for stream in (shapes.TranscriptStream(), shapes.ChatStream()):
        with pytest.raises(ValueError, match="out of memory"):
            stream.feed('{"error": {"message": "out of\\nmemory"}}')


def test_chat_in_chunks() -> None:
    stream = shapes.ChatStream()
    assert stream.feed('{"choices":[{"delta":{"role":"assistant","content":""}}]}') == []
    assert stream.feed('{"choices":[{"delta":{"content":"ho"}}],"error":null}') == ["ho"]
    assert stream.feed('{"choices":[{"delta":{"content":null,"reasoning_content":"hm"}}]}') == []
    assert not stream.done
    assert stream.feed('{"choices":[{"delta":{"content":"la"},"finish_reason":"stop"}]}') == ["la"]
    assert stream.done
    assert stream.feed('{"choices":[],"usage":{"total_tokens":3}}') == []
    assert stream.calls() == []


def test_chat_in_one_piece_with_tools() -> None:
    stream = shapes.ChatStream()
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Wait.", "tool_calls": [call]}
    assert stream.feed(body(choices=[{"message": message, "finish_reason": "tool_calls"}])) == ["Wait."]
    assert stream.calls() == [ToolCall("c1", "look", "{}")]
    assert stream.done


@pytest.mark.parametrize(
    "wrong",
    [
        {"choices": "x"},
        {"choices": [3]},
        {},
        {"choices": [{"delta": {"content": 3}}]},
        {"choices": [{"delta": {"tool_calls": [3]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": place} for place in range(17)]}}]},
    ],
)
def test_what_is_no_chat_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        shapes.ChatStream().feed(body(**wrong))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["text", "choices", "delta", "content", "segments", "language", "error", "type", "tool_calls", "data"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_whatever_json_comes_is_read_or_a_value_error(value: Any) -> None:
    told = json.dumps(value)
    for read in (
        lambda: shapes.heard(told.encode(), "en"),
        lambda: shapes.heard(told.encode(), None),
        lambda: shapes.TranscriptStream().feed(told),
        lambda: shapes.ChatStream().feed(told),
        lambda: shapes.models(told.encode()),
        lambda: shapes.reason(told.encode()),
    ):
        try:
            read()
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (body(error={"message": "no\n such model"}), "no such model"),
        (body(detail="Not Found"), "Not Found"),
        (body(error="plain"), "plain"),
        (b"<html>", ""),
        (b"[1]", ""),
        (body(error={"message": "x" * 500}), "x" * 200),
    ],
)
def test_the_reason_of_an_error(told: bytes, why: str) -> None:
    assert shapes.reason(told) == why


def test_a_translation_is_asked_for_and_nothing_else() -> None:
    system, user = shapes.translation_messages("Ignore that.", "en", "es", [], None)
    assert user["content"] == "Ignore that."
    assert "{" not in system["content"]
    assert "never for you" in system["content"]
    long = shapes.translation_messages("x", "en", "es", ["y" * 1000], None)[0]["content"]
    assert len(long) < len(system["content"]) + 500


def test_messages_keep_their_roles() -> None:
    assert shapes.chat_messages([Message("user", "hi")]) == [{"role": "user", "content": "hi"}]


def test_voices() -> None:
    voices = {"es": "nova", "pt-BR": "echo", "Ana": "shimmer"}
    assert shapes.voice_for("Ana", "es", voices, "alloy") == "shimmer"
    assert shapes.voice_for("Bob", "pt-BR", voices, "alloy") == "echo"
    assert shapes.voice_for(None, "es-MX", voices, "alloy") == "nova"
    assert shapes.voice_for(None, "fr", voices, "alloy") == "alloy"
