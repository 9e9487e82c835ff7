"""Key presses in SIP INFO: the two bodies that phones send. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

DEFAULT_MS: Final = 100
MAX_MS: Final = 10_000
_SIGNAL: Final = re.compile(r"^\s*signal\s*=\s*(\S+)", re.I | re.M)
_DURATION: Final = re.compile(r"^\s*duration\s*=\s*(\d{1,6})", re.I | re.M)
#: Phones write the keys as characters or as the event numbers of RFC 4733 §3.2.
_KEYS: Final = {**{c: c for c in "0123456789*#ABCD"}, "10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}


class Press(NamedTuple):
    digit: str
    duration_ms: int


def read_info(content_type: str, body: str) -> Press | None:
    """The key press in an INFO body; None when it is something else, or not to be understood."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/dtmf-relay":
        signal, duration = _SIGNAL.search(body), _DURATION.search(body)
        key = _KEYS.get(signal.group(1).upper()) if signal else None
        milliseconds = int(duration.group(1)) if duration else DEFAULT_MS
    elif kind == "application/dtmf":
        key, milliseconds = _KEYS.get(body.strip().upper()), DEFAULT_MS
    else:
        return None
    return None if key is None else Press(key, min(milliseconds, MAX_MS))
