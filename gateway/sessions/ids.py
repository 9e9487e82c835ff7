"""Identifiers: a prefix and a ULID (48 bits of Unix milliseconds, 80 random bits, Crockford base 32).

Owns their making and their syntax. Sorting ids of one kind sorts them by creation.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_BITS: Final = (1 << 48) - 1
#: What follows the prefix of every id.
ULID_PATTERN: Final = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
_SESSION: Final = re.compile(f"sess_{ULID_PATTERN}")


def new_id(prefix: str, now: float) -> str:
    """A fresh id such as `sess_01J…`. now: Unix seconds."""
    value = ((int(now * 1000) & _TIME_BITS) << 80) | secrets.randbits(80)
    return prefix + "_" + "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def is_session_id(text: str) -> bool:
    return _SESSION.fullmatch(text) is not None
