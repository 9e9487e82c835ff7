"""The shapes of the stream's messages, as contract §2 writes them."""

from __future__ import annotations

import msgspec
import pytest

from gateway.ops.labels import SERVER_TYPES
from gateway.stream import messages

#: Contract §2, client → server.
CLIENT_TYPES = {
    *("audio.input", "ping", "session.end", "dtmf", "mark.played", "audio.cleared", "audio.pushback"),
    *("speech.started", "speech.stopped", "call.joined", "call.left", "call.held", "call.resumed", "call.error"),
    "call.dialed",  # ours
}


def tags(union: object) -> set[str]:
    return {str(member.__struct_config__.tag) for member in union.__args__}  # type: ignore[attr-defined]


def test_every_type_of_the_contract_is_there() -> None:
    assert tags(messages.ClientMessage) == CLIENT_TYPES
    assert tags(messages.ServerMessage) == {*SERVER_TYPES, "error"}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (messages.Ping(), '{"type":"ping"}'),
        (
            messages.AudioInput(3, 60, "customer", messages.Audio("AAA=")),
            '{"type":"audio.input","sequence":3,"timestamp_ms":60,"speaker":"customer",'
            '"audio":{"payload":"AAA=","encoding":"mulaw","sample_rate_hz":8000}}',
        ),
        (messages.CallJoined("agent", "call_1"), '{"type":"call.joined","speaker":"agent","call_id":"call_1"}'),
        (
            messages.AudioCleared("agent", 120, 40, ["m"]),
            '{"type":"audio.cleared","target":"agent","played_ms":120,"dropped_ms":40,"marks":["m"]}',
        ),
    ],
)
def test_what_the_gateway_says(message: messages.ClientMessage, text: str) -> None:
    assert msgspec.json.encode(message).decode() == text
    assert msgspec.json.decode(text, type=messages.ClientMessage) == message


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (messages.AudioClear(), '{"type":"audio.clear"}'),
        (
            messages.SessionReady("sess_1", "ai_agent", "en", None),
            '{"type":"session.ready","session_id":"sess_1","mode":"ai_agent","source_language":"en"}',
        ),
        (
            messages.SessionEnded("sess_1", "timeout"),
            '{"type":"session.ended","session_id":"sess_1","reason":"timeout"}',
        ),
    ],
)
def test_what_the_service_says(message: messages.ServerMessage, text: str) -> None:
    assert msgspec.json.encode(message).decode() == text
    assert msgspec.json.decode(text, type=messages.ServerMessage) == message


def test_fields_of_tomorrow_are_ignored() -> None:
    text = '{"type":"mark","name":"m","target":"agent","colour":"blue"}'
    assert msgspec.json.decode(text, type=messages.ServerMessage) == messages.Mark("m", "agent")
