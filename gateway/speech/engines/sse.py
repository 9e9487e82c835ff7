"""Server-sent events, as far as engines speak them: bytes in, the data of each event out.

Owns the line protocol (WHATWG HTML §9.2.6). Sans-IO. Event names and ids are passed over: the engines whose streams are
read here say everything in the data.
"""

from __future__ import annotations

import re
from typing import Final

#: Octets that an event may have. Beyond it the peer is not sane.
LIMIT: Final = 1_000_000
_LINE: Final = re.compile(rb"\r\n|\n|\r(?!$)")  # a CR at the very end may be half of a CRLF


class EventStream:
    """Feed what comes, get what is complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, octets: bytes) -> list[str]:
        """The data of the events that end here. Raises ValueError: too long, or not UTF-8."""
        *lines, self._rest = _LINE.split(self._rest + octets)
        events: list[str] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data).decode())
                self._data, self._size = [], 0
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
        if self._size + len(self._rest) > LIMIT:
            raise ValueError("an event that has no end")
        return events
