"""gateway/stream/vendors.py"""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stream import messages as m
from gateway.stream.vendors import Dialect, is_vendor, speaks

OCTETS = base64.b64encode(b"\x55" * 160).decode()

TWILIO_START: dict[str, Any] = {
    "event": "start", "sequenceNumber": "1", "streamSid": "MZ1",
    "start": {
        "streamSid": "MZ1", "accountSid": "AC1", "callSid": "CA1", "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "kst_x", "speaker": "agent"},
    },
}  # fmt: skip
TELNYX_START: dict[str, Any] = {
    "event": "start", "sequence_number": "1", "stream_id": "s-1",
    "start": {
        "call_control_id": "v3:abc", "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    },
}  # fmt: skip


def read(dialect: Dialect, message: dict[str, Any]) -> Any:
    return dialect.read(msgspec.json.encode(message))


def write(dialect: Dialect, message: msgspec.Struct) -> Any:
    made = dialect.write(msgspec.json.encode(message))
    return None if made is None else msgspec.json.decode(made)


def started(start: dict[str, Any], speaker: str = "customer") -> Dialect:
    dialect = Dialect()
    assert read(dialect, start) is None
    dialect.speaker = speaker
    return dialect


def media(payload: str = OCTETS, timestamp: str = "40", **more: Any) -> dict[str, Any]:
    return {"event": "media", "media": {"track": "inbound", "payload": payload, "timestamp": timestamp} | more}


def test_twilio() -> None:
    dialect = started(TWILIO_START)
    assert (dialect.token, dialect.wanted_speaker, dialect.call_id) == ("kst_x", "agent", "CA1")
    assert dialect.joined() == m.CallJoined("customer", "CA1")
    assert read(dialect, media()) == m.AudioInput(1, 40, "customer", m.Audio(OCTETS))
    assert read(dialect, media(timestamp="60")) == m.AudioInput(2, 60, "customer", m.Audio(OCTETS))
    assert read(dialect, {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "5"}}) == m.Dtmf(
        "customer", "5", 0
    )
    assert read(dialect, {"event": "mark", "mark": {"name": "a"}}) == m.MarkPlayed("a", "customer")
    output = m.AudioOutput("agent", m.Audio(OCTETS), target="customer")
    assert write(dialect, output) == {"event": "media", "streamSid": "MZ1", "media": {"payload": OCTETS}}
    assert write(dialect, m.Mark("b", "customer")) == {
        "event": "mark", "streamSid": "MZ1", "mark": {"name": "b"},
    }  # fmt: skip
    assert write(dialect, m.AudioClear()) == {"event": "clear", "streamSid": "MZ1"}
    assert read(dialect, {"event": "stop", "stop": {}}) == m.CallLeft("customer", "CA1", "stop")
    assert read(dialect, media()) is None


def test_telnyx() -> None:
    dialect = started(TELNYX_START)
    assert dialect.call_id == "v3:abc"
    assert read(dialect, media(timestamp="0")) == m.AudioInput(1, 0, "customer", m.Audio(OCTETS))
    output = m.AudioOutput("agent", m.Audio(OCTETS))
    assert write(dialect, output) == {"event": "media", "stream_id": "s-1", "media": {"payload": OCTETS}}
    assert write(dialect, m.AudioClear("customer")) == {"event": "clear", "stream_id": "s-1"}


@pytest.mark.parametrize(
    ("message", "mine"),
    [
        (m.AudioOutput("agent", m.Audio(OCTETS)), True),
        (m.AudioOutput("customer", m.Audio(OCTETS)), False),
        (m.AudioOutput("customer", m.Audio(OCTETS), target="customer"), True),
        (m.AudioOutput("agent", m.Audio(OCTETS), target="agent"), False),
        (m.Mark("x", "agent"), False),
        (m.AudioClear("agent"), False),
        (m.SessionReady("sess_1"), False),
        (m.TranscriptFinal("s", "1", "agent", "en", "hi", 0), False),
        (m.SessionEnded("s"), False),
    ],
)
def test_a_leg_gets_what_it_is_to_hear(message: msgspec.Struct, mine: bool) -> None:
    assert (write(started(TWILIO_START), message) is not None) == mine


@pytest.mark.parametrize(
    "message",
    [
        {"event": "media"}, {"event": "media", "media": []}, media(timestamp="x"), media(timestamp=""),
        media(timestamp="-5"), media(timestamp="9" * 16), media(payload=5),  # type: ignore[arg-type]
        {"event": "dtmf"}, {"event": "start"},
        {"event": "start", "start": {"mediaFormat": {"encoding": "audio/l16", "sampleRate": 16000}}},
        {"event": "start", "start": {"customParameters": "x"}},
    ],
)  # fmt: skip
def test_what_can_not_be_understood(message: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(started(TWILIO_START), message)


def test_nothing_counts_before_start_and_our_own_audio_never() -> None:
    dialect = Dialect()
    for message in ({"event": "connected", "protocol": "Call"}, media(), {"event": "stop"}):
        assert read(dialect, message) is None
    assert read(started(TWILIO_START), media(track="outbound")) is None
    assert read(started(TWILIO_START), {"event": "unheard-of"}) is None


@given(st.binary(max_size=80) | st.dictionaries(st.text(), st.text()).map(msgspec.json.encode))
def test_any_octets_are_a_message_nothing_or_a_value_error(text: bytes) -> None:
    dialect = started(TWILIO_START)
    speaks(text)
    try:
        dialect.read(text)
    except ValueError:
        return


def test_who_is_a_vendor() -> None:
    assert is_vendor({"x-twilio-signature": "x"})
    assert is_vendor({"user-agent": "Telnyx-Media/1.0"})
    assert not is_vendor({"user-agent": "python"})
    assert speaks(b'{"event":"connected","protocol":"Call","version":"1.0.0"}')
    assert speaks(msgspec.json.encode(TELNYX_START))
    for text in (b'{"type":"ping"}', b'{"event":"start","type":"x"}', b'{"event":"media"}', b"[]", b"{"):
        assert not speaks(text)
