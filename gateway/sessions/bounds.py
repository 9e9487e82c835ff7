"""What a message of the session stream may be like beyond its types: how long, how many, how large.

Owns the limits for everything but audio, whose own are checked where it is used. Without them a peer could
fill timelines and tables by the megabyte, or write what PostgreSQL can not store.
"""

from __future__ import annotations

from typing import Final

import msgspec

#: Characters of a field, entries of a list, and the first number that is too large for JSON's other readers.
LONGEST: Final = 500
MANY: Final = 256
LARGEST: Final = 2**53


def fault(message: msgspec.Struct) -> str | None:
    """What is wrong with a message, for its sender; None: nothing."""
    for name in message.__struct_fields__:
        value = getattr(message, name)
        entries = value if isinstance(value, list) else [value]
        if len(entries) > MANY:
            return f"{name} may have {MANY} entries"
        for entry in entries:
            if isinstance(entry, str) and (len(entry) > LONGEST or "\0" in entry):
                return f"{name} may have {LONGEST} characters, and no NUL"
            if isinstance(entry, int) and not 0 <= entry < LARGEST:
                return f"{name} must be 0 … 2^53"
    return None
