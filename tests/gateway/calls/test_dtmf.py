"""Key presses in SIP INFO."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.dtmf import MAX_MS, Press, read_info


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", Press("5", 160)),
        ("application/dtmf-relay", "signal = #\nduration = 40", Press("#", 40)),
        ("Application/DTMF-Relay; x=y", "Duration=90\r\nSignal=d", Press("D", 90)),
        ("application/dtmf-relay", "Signal=10", Press("*", 100)),
        ("application/dtmf-relay", "Signal=11\nDuration=999999", Press("#", MAX_MS)),
        ("application/dtmf-relay", "Signal=16", None),
        ("application/dtmf-relay", "", None),
        ("application/dtmf", " 7\r\n", Press("7", 100)),
        ("application/dtmf", "77", None),
        ("text/plain", "5", None),
    ],
)
def test_bodies(content_type: str, body: str, expected: Press | None) -> None:
    assert read_info(content_type, body) == expected


@given(st.sampled_from(["application/dtmf", "application/dtmf-relay"]), st.text(max_size=100))
def test_no_body_raises(content_type: str, body: str) -> None:
    read_info(content_type, body)
