"""gateway/sessions/bounds.py"""

from __future__ import annotations

import msgspec
import pytest

from gateway.sessions.bounds import LARGEST, LONGEST, MANY, fault
from gateway.stream import messages as m


@pytest.mark.parametrize(
    "message",
    [
        m.Ping(),
        m.CallJoined("customer", "c" * LONGEST),
        m.CallLeft("agent", "call_1", "\n"),
        m.AudioCleared("agent", 0, LARGEST - 1, ["m"] * MANY),
    ],
)
def test_what_is_taken(message: msgspec.Struct) -> None:
    assert fault(message) is None


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (m.CallJoined("customer", "c" * (LONGEST + 1)), "call_id"),
        (m.CallJoined("cust\0mer", "call_1"), "speaker"),
        (m.CallLeft("agent", "call_1", "r" * 501), "reason"),
        (m.Dtmf("customer", "5", -1), "duration_ms"),
        (m.SpeechStarted("customer", LARGEST), "timestamp_ms"),
        (m.AudioCleared("agent", 0, 0, ["m"] * (MANY + 1)), "marks"),
        (m.AudioCleared("agent", 0, 0, ["ok", "m" * 501]), "marks"),
    ],
)
def test_what_is_not(message: msgspec.Struct, field: str) -> None:
    told = fault(message)
    assert told is not None
    assert told.startswith(field + " ")
