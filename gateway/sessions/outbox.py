"""What waits for a stream that does not keep up: a bounded queue that drops audio and nothing else.

Owns order, bound and policy. Audio beyond the bound is dropped, oldest first, and counted; transcripts and
control messages stay, for a peer can not guess them. A peer so far behind that those alone fill the bound
is given up. Knows no socket.
"""

from __future__ import annotations

from collections import deque
from typing import Final

#: Octets that may wait for one stream, beyond what its transport holds.
BOUND: Final = 512 * 1024


class Outbox:
    """Messages in order. `dropped`: audio messages that were dropped."""

    __slots__ = ("_messages", "bound", "dropped", "octets")

    def __init__(self, bound: int = BOUND) -> None:
        self.bound = bound
        self.octets = 0
        self.dropped = 0
        self._messages: deque[tuple[bytes, bool]] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: bytes, audio: bool) -> bool:
        """Queue. False: even without any audio there is no room, the peer is lost."""
        self._messages.append((message, audio))
        self.octets += len(message)
        if self.octets > self.bound:
            self._shed()
        return self.octets <= self.bound

    def take(self) -> bytes | None:
        """The next message, or None."""
        if not self._messages:
            return None
        message, _audio = self._messages.popleft()
        self.octets -= len(message)
        return message

    def _shed(self) -> None:
        kept: deque[tuple[bytes, bool]] = deque()
        for message, audio in self._messages:
            if audio and self.octets > self.bound:
                self.octets -= len(message)
                self.dropped += 1
            else:
                kept.append((message, audio))
        self._messages = kept
