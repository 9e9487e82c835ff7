"""Key presses as RTP events (RFC 4733), in and out, one leg each.

In, an event is known by its timestamp, never by its marker or end: any one of its packets, in any order, makes
one press. It is told when its end is seen, when a newer one begins, or when it falls silent. Out, a press is a
schedule of one packet a frame. Owns the 4-octet payload. Refuses to know sequence numbers, and the audio:
it only says which span of media time the tone covers, so that it can be silenced.
"""

from __future__ import annotations

import struct
from collections import deque
from itertools import islice
from typing import Final, NamedTuple

from rtp.serial import delta32

DIGITS: Final = "0123456789*#ABCD"  # RFC 4733 §3.2, by event code
SILENT_NS: Final = 200_000_000  #: an event without a packet for so long is over: its ends are lost
QUEUE: Final = 64  #: digits that wait to be sent

_FRAME: Final = 160  # samples; also the update interval
_ENDS: Final = 3  # RFC 4733 §2.5.1.4: the last packet is sent three times
_VOLUME: Final = 10  # −10 dBm0
_SEGMENT: Final = 0xFFFF  # RFC 4733 §2.5.1.3: a longer event goes on with a new timestamp
_REMEMBERED: Final = 16  # events that are over, whose late packets still come
_MOST: Final = _REMEMBERED // 2  # events of one packet that are looked at
_BLOCK: Final = struct.Struct(">BBH")


class Press(NamedTuple):
    """One key press. timestamp: RTP, of its start; samples: its length as far as it is known."""

    digit: str
    timestamp: int
    samples: int


class Span(NamedTuple):
    """Media time that is a tone and not speech: RTP timestamp and samples."""

    timestamp: int
    samples: int


class Heard(NamedTuple):
    """What a packet brought. bad: it is no telephone-event payload; presses: those that are over now."""

    bad: bool
    presses: list[Press]
    tone: Span | None


class _Open:
    """The event that is under way."""

    def __init__(self, code: int, timestamp: int) -> None:
        self.code = code
        self.timestamp = timestamp  # of its first segment
        self.segment = timestamp
        self.before = 0  # samples of the segments that are over
        self.duration = 0  # of this segment

    def press(self) -> Press:
        return Press(DIGITS[self.code], self.timestamp, self.before + self.duration)


class EventReceiver:
    """The receiving side of one leg."""

    def __init__(self) -> None:
        self._open: _Open | None = None
        self._heard_ns = 0
        self._over: deque[int] = deque(maxlen=_REMEMBERED)

    @property
    def receiving(self) -> bool:
        """Whether an event is under way; `poll` is needed while it is."""
        return self._open is not None

    def feed(self, timestamp: int, payload: bytes | memoryview, now_ns: int) -> Heard:
        """Take the payload of one RTP packet. timestamp: of the packet, 32 bits."""
        if len(payload) < _BLOCK.size or len(payload) % _BLOCK.size:
            return Heard(True, [], None)
        presses: list[Press] = []
        tone: Span | None = None
        for code, flags, duration in islice(_BLOCK.iter_unpack(payload), _MOST):
            ended = bool(flags & 0x80)
            if code < len(DIGITS):
                spoken = self._take(code, timestamp, duration, ended, presses, now_ns)
                tone = tone or spoken
            # §2.5.1.5: events may follow each other in a packet; all but the last are over.
            if not ended:
                break
            timestamp = (timestamp + duration) & 0xFFFF_FFFF
        return Heard(False, presses, tone)

    def poll(self, now_ns: int) -> Press | None:
        """The press whose end was lost, once it has been silent for long enough."""
        if self._open is None or now_ns - self._heard_ns < SILENT_NS:
            return None
        return self._finish(self._open)

    def _take(
        self, code: int, timestamp: int, duration: int, ended: bool, presses: list[Press], now_ns: int
    ) -> Span | None:
        if timestamp in self._over:
            return None
        event = self._open
        if event is not None and timestamp != event.segment:
            newer = delta32(timestamp, event.segment)
            if newer < 0:  # a straggler of an event of which nothing else came
                self._over.append(timestamp)
                presses.append(Press(DIGITS[code], timestamp, duration))
                return Span(timestamp, duration)
            if code == event.code and _SEGMENT - _FRAME <= newer <= _SEGMENT + 1:
                self._over.append(event.segment)
                event.segment = timestamp
                event.before += newer
                event.duration = 0
            else:
                presses.append(self._finish(event))
                event = None
        if event is None:
            event = self._open = _Open(code, timestamp)
        event.duration = max(event.duration, duration)
        self._heard_ns = now_ns
        span = Span(event.segment, event.duration)
        if ended:
            presses.append(self._finish(event))
        return span

    def _finish(self, event: _Open) -> Press:
        self._over.append(event.segment)
        self._open = None
        return event.press()


class EventPacket(NamedTuple):
    """Sent in place of this frame's audio. timestamp: of the RTP header, the start of the press."""

    marker: bool
    timestamp: int
    payload: bytes


class _Tone(NamedTuple):
    code: int
    frames: int
    gap: int


class EventSender:
    """The sending side of one leg: ask it once a frame while it is `active`."""

    def __init__(self) -> None:
        self._queue: deque[_Tone] = deque()
        self._tone: _Tone | None = None
        self._frame = 0  # since the present tone began
        self._timestamp = 0
        self.sent = 0  #: presses completed

    @property
    def active(self) -> bool:
        return self._tone is not None or bool(self._queue)

    def queue(self, digits: str, duration_ms: int, gap_ms: int) -> int:
        """Append digits; how many were taken. Others than 0-9 * # A-D, and those beyond `QUEUE`, are not.

        Both times are rounded to frames of 20 ms and are at least 40 ms, which receivers need.
        """
        codes = [DIGITS.index(digit) for digit in digits.upper() if digit in DIGITS]
        taken = codes[: QUEUE - len(self._queue)]
        frames, gap = (max(2, round(min(ms, 8000) / 20)) for ms in (duration_ms, gap_ms))
        self._queue.extend(_Tone(code, frames, gap) for code in taken)
        return len(taken)

    def frame(self, timestamp: int) -> EventPacket | None:
        """What to send in this frame instead of audio. timestamp: of the frame, 32 bits."""
        if self._tone is None:
            if not self._queue:
                return None
            self._tone, self._frame, self._timestamp = self._queue.popleft(), 0, timestamp
        code, frames, gap = self._tone
        at = self._frame
        self._frame += 1
        if self._frame >= frames + gap:
            self._tone = None
        if at >= frames - 1 + _ENDS:
            return None  # the gap goes on after the last end: audio
        ended = at >= frames - 1
        self.sent += at == frames - 1
        block = _BLOCK.pack(code, (0x80 if ended else 0) | _VOLUME, min(at + 1, frames) * _FRAME)
        return EventPacket(at == 0, self._timestamp, block)
