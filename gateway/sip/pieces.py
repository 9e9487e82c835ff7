"""A configuration that arrives in pieces, for a message has a bound and a list of trunks has none.

Pure: bytes in, a configuration out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from gateway.config import Config
from gateway.sip.events import Reconfigure

PIECE: Final = 64 * 1024
#: Far above any configuration; a sender that never ends must not fill the memory.
MAX_SIZE: Final = 16 * 1024 * 1024


def cut(data: bytes) -> Iterator[Reconfigure]:
    """The messages that carry a configuration's JSON, in order."""
    for at in range(0, max(1, len(data)), PIECE):
        yield Reconfigure(data[at : at + PIECE], at + PIECE >= len(data))


class Collector:
    """Puts the pieces together."""

    def __init__(self) -> None:
        self._data = bytearray()

    def take(self, message: Reconfigure) -> Config | None:
        """The configuration, once it is whole. Raises ValueError when it is none."""
        self._data += message.piece
        if len(self._data) > MAX_SIZE:
            self._data.clear()
            raise ValueError("a configuration without an end")
        if not message.last:
            return None
        data = bytes(self._data)
        self._data.clear()
        return Config.model_validate(json.loads(data))
