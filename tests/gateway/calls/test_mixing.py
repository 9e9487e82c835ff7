"""Who hears whose original, per mode."""

from __future__ import annotations

from typing import Literal

import pytest

from gateway.calls.mixing import Member, gains, linear, original_gain
from rtp.control import SetGains

LEGS = [Member("customer", 3, 30), Member("agent", 5, 50), Member("participant-3", 6, 60)]
DUCKED = 10 ** (-18 / 20)


def test_decibels() -> None:
    assert linear(0) == 1.0
    assert linear(-20) == pytest.approx(0.1)
    assert linear("off") == 0.0


@pytest.mark.parametrize(
    ("mode", "listener", "expected"),
    [
        ("bidirectional_translation", "customer", DUCKED),
        ("bidirectional_translation", "agent", DUCKED),
        ("assistive_translation", "customer", 0.0),
        ("assistive_translation", "agent", 1.0),
        ("assistive_translation", "participant-3", 1.0),
        ("ai_agent", "customer", 1.0),
        ("help_chat_voice", "agent", 1.0),
        ("a mode of tomorrow", "agent", 0.0),
    ],
)
def test_the_table(mode: str, listener: str, expected: float) -> None:
    assert original_gain(mode, listener, -18.0) == pytest.approx(expected)


def test_everyone_hears_everyone_else() -> None:
    commands = gains("bidirectional_translation", LEGS, -18.0)
    assert [(c.row, c.generation, c.own_gain) for c in commands] == [(3, 30, 1.0), (5, 50, 1.0), (6, 60, 1.0)]
    assert [[s[:2] for s in c.sources] for c in commands] == [
        [(5, 50), (6, 60)],
        [(3, 30), (6, 60)],
        [(3, 30), (5, 50)],
    ]
    assert all(s[2] == s[3] == pytest.approx(DUCKED) for c in commands for s in c.sources)


@pytest.mark.parametrize(("mode", "gain"), [("bidirectional_translation", "off"), ("a mode of tomorrow", -18.0)])
def test_nobody_hears_an_original(mode: str, gain: float | Literal["off"]) -> None:
    assert gains(mode, LEGS[:2], gain) == [SetGains(3, 30, 1.0, []), SetGains(5, 50, 1.0, [])]
