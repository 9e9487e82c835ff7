"""What each leg of a session hears besides its own translated stream: one small matrix per session mode.

| mode | who listens | other legs' originals | its own stream |
|---|---|---|---|
| `bidirectional_translation` | everyone | at `media.original_gain_db`, constantly (default −18 dB, may be off) | 0 dB |
| `assistive_translation` | the customer | not at all | 0 dB |
| | everyone else | at 0 dB | 0 dB |
| `ai_agent`, `help_chat_voice` | everyone: a second leg is a human who took over | at 0 dB | 0 dB |

The original is ducked constantly and not only under translated speech: a translation begins seconds after the
words that it translates, so those would be heard twice, once loud and once translated. Owns this table;
refuses to know how a gain is applied (`rtp/mix.py`) and how many legs there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from rtp.control import SetGains

CUSTOMER: Final = "customer"


class Member(NamedTuple):
    """A leg of a session: who speaks on it, and its row."""

    speaker: str
    row: int
    generation: int


def linear(decibels: float | Literal["off"]) -> float:
    """A gain in dB as a factor."""
    return 0.0 if decibels == "off" else 10.0 ** (decibels / 20.0)


def original_gain(mode: str, listener: str, original_gain_db: float | Literal["off"]) -> float:
    """At which factor a listener hears the originals of the other legs."""
    if mode == "bidirectional_translation":
        return linear(original_gain_db)
    if mode == "assistive_translation" and listener != CUSTOMER:
        return 1.0
    if mode in ("ai_agent", "help_chat_voice"):
        return 1.0
    return 0.0


def gains(mode: str, members: Sequence[Member], original_gain_db: float | Literal["off"]) -> list[SetGains]:
    """The whole matrix of a session, one command per leg."""
    commands = []
    for listener in members:
        gain = original_gain(mode, listener.speaker, original_gain_db)
        others = [member for member in members if member is not listener and gain > 0]
        sources = [(other.row, other.generation, gain, gain) for other in others]
        commands.append(SetGains(listener.row, listener.generation, 1.0, sources))
    return commands
