"""The two ends of a live session, as interfaces: a stream below it, and above it whoever stores what happens.

Owns shapes only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gateway.sessions.lifecycle import Status
from gateway.sessions.transcripts import Turn

if TYPE_CHECKING:
    from gateway.sessions.live import LiveSession


class Peer(Protocol):
    """One connected stream."""

    faults: int
    speakers: set[str]

    def send(self, message: bytes, *, audio: bool = False) -> None:
        """Send or queue. audio: may be dropped, oldest first, for a peer that does not keep up."""

    def close(self, code: int, reason: str) -> None:
        """Close after what is queued."""


class Observer(Protocol):
    """Who must know what happens in a session, in the order in which it happens."""

    def changed(self, live: LiveSession, before: Status) -> None:
        """The status has changed; `before` is what it was."""

    def heard(self, live: LiveSession, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        """Audio of a speaker that was not heard before."""

    def said(self, live: LiveSession, speaker: str, target: str | None, at_ms: int, mulaw: bytes) -> None:
        """The interpreter's audio, as it leaves for the streams."""

    def noted(self, live: LiveSession, message: msgspec.Struct) -> None:
        """A message that belongs in the timeline: a leg, a digit, an interruption."""

    def spoken(self, live: LiveSession, turn: Turn) -> None:
        """A finished turn; when it was is the observer's to say."""

    def settled(
        self, live: LiveSession, segment_id: str, translation: tuple[str, str] | None, metadata: dict[str, Any]
    ) -> None:
        """What became of a turn that was spoken, see `Sink.settled`."""

    def acts(self, live: LiveSession) -> None:
        """`live.mode` is another."""

    def processing(self, live: LiveSession, running: bool) -> None:
        """The session's own agent begins or ends to work on an answer."""

    def streams(self, live: LiveSession, count: int) -> None:
        """A stream came or went; so many are left."""
