"""The call record: one JSON line when a call is over, for billing, reports and the question "what happened".

Owns the record's fields and the file that it goes to. Refuses to know why a call ended the way it did.
The file is opened for each line, so that it may be rotated at any time; a line is one write, so that several
processes may share it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

#: Fields of `rtp.plane.STATS` that say when something was; a record has its own times.
_TIMES = frozenset({"generation", "opened_ns", "first_packet_ns", "last_packet_ns"})


class Identity(NamedTuple):
    """Who and what a call is; fixed when it begins."""

    call_id: str
    sip_call_id: str
    direction: str
    from_uri: str
    to_uri: str
    source: str
    transport: str
    route: str  #: the route that created the session, "" when it existed


class Ending(NamedTuple):
    """How it went. Times are Unix seconds; None: has not happened."""

    session_id: str
    speaker: str
    started: float
    answered: float | None
    ended: float
    outcome: str
    end_reason: str
    sip_code: int
    codec: str
    unexpected: int


def build(identity: Identity, ending: Ending, media: Mapping[str, float]) -> dict[str, Any]:
    """The record. media: the leg's last statistics, `rtp.plane.STATS` by name; empty without a leg."""
    answered = ending.answered
    return {
        **identity._asdict(),
        "session_id": ending.session_id,
        "speaker": ending.speaker,
        "started_at": _iso(ending.started),
        "answered_at": None if answered is None else _iso(answered),
        "ended_at": _iso(ending.ended),
        "setup_ms": None if answered is None else round((answered - ending.started) * 1000),
        "duration_s": 0.0 if answered is None else round(ending.ended - answered, 3),
        "outcome": ending.outcome,
        "end_reason": ending.end_reason,
        "sip_code": ending.sip_code,
        "codec": ending.codec,
        "unexpected_events": ending.unexpected,
        "media": {name: _number(value) for name, value in media.items() if name not in _TIMES},
        "quality": _quality(media),
    }


def write(path: Path, record: dict[str, Any]) -> None:
    """Append the record as a line. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, msgspec.json.encode(record) + b"\n")
    finally:
        os.close(fd)


def _quality(media: Mapping[str, float]) -> dict[str, float | None]:
    """What a report wants first. None: not known."""
    get = media.get
    return {
        "mos": _number(get("mos_mean", 0.0)) or None,
        "r_factor": _number(get("r_mean", 0.0)) or None,
        "loss": _ratio(max(0.0, get("packets_lost", 0.0)), get("packets_expected", 0.0)),
        "concealed": _ratio(get("frames_concealed", 0.0), get("frames_up", 0.0)),
        "jitter_ms": _number(media["jitter_ms"]) if "jitter_ms" in media else None,
        "rtt_ms": _number(get("rtt_ms", 0.0)) or None,
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None


def _number(value: float) -> float:
    return round(value, 3) if isinstance(value, float) else value


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
