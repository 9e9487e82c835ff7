"""The engine over the datagrams of one leg, without sockets, on the clock of the capture.

Owns the virtual clock and the account of what became of each packet. Refuses to know capture files and how the account
is printed. Deterministic: nothing in it is random and no clock is read.

A datagram is drained by the slot after its arrival, as the real loop does, alone, so that what the engine counts
between two of them says what it did with one. Whether a packet was played is known once the cursor has passed it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rig.streams import header_of
from rtp import control, plane
from rtp.errors import LABELS, RejectReason
from rtp.inbox import LONGEST, Batch
from rtp.loop import LOOKS
from rtp.plane import FRAME, UPLINK_FRAMES, Plane
from rtp.seldom import Seldom
from rtp.settings import Settings
from rtp.table import EVENT, KINDS, NOISE, Table
from rtp.tick import FRAME_MS, Tick

PAYLOAD_TYPES = {0: "PCMU", 8: "PCMA", 13: "CN", 101: "telephone-event"}
#: What is heard goes on for so long behind the last packet: presses without an end are given up after 200 ms.
AFTER_MS = 300
#: A gap without a packet that is longer is no call any more.
MAX_GAP_S = 3600

#: What can become of a packet, and what that means.
WHATS = {
    "played": "heard, or for the most part",
    "unplayed": "stored, and never asked for",
    "skipped": "stored, and the cursor passed over it",
    "late": "its play time had passed",
    "duplicate": "had come before",
    "rejected": "not used, for the reason that is named",
    "event": "of a key press (RFC 4733)",
    "noise": "comfort noise (RFC 3389)",
    "rtcp": "RTCP on the RTP port (RFC 5761)",
    "empty": "without a payload: a keepalive (RFC 6263)",
}

_MS = 1_000_000


@dataclass
class PacketLine:
    """One packet. what: one of `WHATS`; reason: why it was rejected. notes: start, restart, new-ssrc, reordered.

    at_ms: since the first packet. waited_ms: from its arrival to the frame that has its beginning.
    """

    at_ms: float
    packet: int
    octets: int
    what: str = ""
    sequence: int | None = None
    timestamp: int | None = None
    ssrc: str | None = None
    payload_type: int | None = None
    reason: str | None = None
    notes: list[str] = field(default_factory=list)
    waited_ms: float | None = None


@dataclass
class FrameLine:
    """Frames in a row that are not simply what arrived. heard: concealed, patched (a part is missing), noise,
    shortened, lengthened, skipped (the cursor passed over a hole). media_ms: media time of the first one.
    """

    at_ms: float
    frames: int
    heard: str
    media_ms: int


@dataclass
class EventLine:
    """What the engine told its controller. event: digit, speech-started, speech-stopped."""

    at_ms: float
    event: str
    media_ms: int
    digit: str | None = None
    duration_ms: int | None = None


Line = PacketLine | FrameLine | EventLine


@dataclass
class Account:
    """lines: in the order in which things happened. summary: the leg's statistics. heard: mu-law, 8000 Hz."""

    lines: list[Line]
    summary: dict[str, Any]
    heard: bytes


class Replay:
    """One run: `run` once. payload_types: numbers to PCMU, PCMA, CN, telephone-event."""

    def __init__(self, settings: Settings, payload_types: dict[int, str]) -> None:
        fd = plane.create(1)
        try:
            self._plane = Plane(fd, 1)
        finally:
            os.close(fd)
        self._table = Table(self._plane, settings)
        self._seldom = Seldom(self._table, self._told, vad_events=settings.vad_events)
        self._tick = Tick(self._table, self._seldom)
        self._slot_ns = FRAME_MS * _MS // settings.slots_per_frame
        self._look_ns = self._slot_ns // LOOKS
        self._number = 0  # of the slot
        self._captured_ns = 0  # when a frame was last captured
        self._origin_ns = self._now_ns  # when the first packet arrives
        self._lines: list[Line] = []
        self._last: dict[str, FrameLine] = {}  # by what was heard
        self._stored: list[tuple[int, int, PacketLine]] = []  # position, end, line: of packets not played yet
        self._frames = bytearray()
        row = self._table.open(self._now_ns, np.random.default_rng(0))
        assert row == 0
        self._rows = np.array([row], np.intp)
        self._table.receiving[row] = True
        for number, name in payload_types.items():
            self._table.accept[row, number] = KINDS[name]
        self._seldom.open(row)

    def run(self, datagrams: Iterable[tuple[int, int, bytes]]) -> Account:
        """datagrams: packet number, arrival in ns on any clock, payload; sorted by arrival.

        Raises ValueError when there is none, or when an hour passes without one.
        """
        first = before = None
        for packet, time_ns, payload in datagrams:
            if first is None or before is None:
                first = before = time_ns
            if time_ns - before > MAX_GAP_S * 1_000_000_000:
                raise ValueError(f"no packet for more than an hour before packet {packet}")
            before = time_ns
            arrival_ns = self._origin_ns + time_ns - first
            while self._now_ns < arrival_ns:
                self._finish_slot()
                self._number += 1
                self._begin_slot()
            self._deliver(packet, arrival_ns, payload)
        if first is None:
            raise ValueError("there is nothing to replay")
        self._drain()
        return Account(self._in_order(), self._summary(), bytes(self._frames))

    @property
    def _now_ns(self) -> int:
        return 1_000_000_000 + self._number * self._slot_ns

    @property
    def _slot(self) -> int:
        return self._number % self._table.slots

    def _at_ms(self, time_ns: int) -> float:
        return round((time_ns - self._origin_ns) / _MS, 3)

    def _begin_slot(self) -> None:
        self._seldom.unix_ns = self._now_ns
        self._seldom.poll(self._now_ns)

    def _finish_slot(self) -> None:
        """The capture phase, and what it took from the ring."""
        t, stats = self._table, self._plane.stats
        if int(t.slot[0]) != self._slot:
            return
        head, begin = int(self._plane.uplink_head[0]), int(t.ring.cursor[0])
        before = {name: int(stats[name][0]) for name in _FRAME_COUNTERS}
        missing = bool(t.ring.read(self._rows)[1].any())
        self._tick.capture(self._slot, self._now_ns)
        self._captured_ns = self._now_ns
        if int(self._plane.uplink_head[0]) == head:
            return
        at = head % UPLINK_FRAMES
        self._frames += self._plane.uplink[0, at].tobytes()
        end = int(t.ring.cursor[0])
        self._pass(begin, end)
        changed = {name for name in _FRAME_COUNTERS if int(stats[name][0]) != before[name]}
        heard = [_FRAME_COUNTERS[name] for name in _FRAME_COUNTERS if name in changed]
        if missing and not changed:
            heard.append("skipped" if end - begin > FRAME else "patched")
        for what in heard:
            self._heard(what, int(self._plane.uplink_timestamp_ms[0, at]))

    def _heard(self, what: str, media_ms: int) -> None:
        """A frame that is not what arrived; those in a row make one line."""
        line = self._last.get(what)
        if line is not None and line.media_ms + line.frames * FRAME_MS == media_ms:
            line.frames += 1
            return
        line = self._last[what] = FrameLine(self._at_ms(self._now_ns), 1, what, media_ms)
        self._lines.append(line)

    def _pass(self, begin: int, end: int) -> None:
        """The cursor moved: packets in [begin, end) are played, those before are passed over."""
        waiting = []
        for position, stop, line in self._stored:
            if position < end and stop > begin:
                line.what = "played"
                line.waited_ms = round((self._now_ns - self._origin_ns) / _MS - line.at_ms, 3)
            elif stop <= begin:
                line.what = "skipped"
            else:
                waiting.append((position, stop, line))
        self._stored = waiting

    def _deliver(self, packet: int, arrival_ns: int, payload: bytes) -> None:
        """Give the engine one datagram, and see by its counters what it made of it."""
        t, stats = self._table, self._plane.stats
        line = PacketLine(self._at_ms(arrival_ns), packet, len(payload))
        header = header_of(payload)
        if header is not None:
            line.sequence, line.timestamp = header.sequence, header.timestamp
            line.ssrc, line.payload_type = f"{header.ssrc:08x}", header.payload_type
        buffer = np.zeros((1, LONGEST), np.uint8)
        buffer[0, : len(payload)] = np.frombuffer(payload[:LONGEST], np.uint8)
        rejected = t.rejected.copy()
        late, reordered = int(stats["packets_late"][0]), int(t.reception.reordered[0])
        changes, resyncs, started = int(t.reception.ssrc_changes[0]), int(stats["resyncs"][0]), bool(t.ring.started[0])
        octets = int(stats["bytes_received"][0])
        self._lines.append(line)
        seen_ns = self._origin_ns - (self._origin_ns - arrival_ns) // self._look_ns * self._look_ns
        arrived = Batch(self._rows, buffer, np.array([len(payload)]), np.array([seen_ns]))
        self._tick.receive(arrived, self._slot, self._now_ns)
        if int(t.reception.reordered[0]) != reordered:
            line.notes.append("reordered")
        if int(t.reception.ssrc_changes[0]) != changes:
            line.notes.append("new-ssrc")
        if int(stats["resyncs"][0]) != resyncs:
            line.notes.append("restart")
        elif bool(t.ring.started[0]) != started:
            line.notes.append("start")
        reasons = [RejectReason(code) for code in np.flatnonzero(t.rejected != rejected).tolist()]
        kind = None if header is None else int(t.accept[0, header.payload_type])
        taken = int(stats["bytes_received"][0]) - octets
        if int(stats["packets_late"][0]) != late:
            line.what = "late"
        elif reasons == [RejectReason.RTCP]:
            line.what = "rtcp"
        elif RejectReason.DUPLICATE in reasons:
            line.what = "duplicate"
        elif reasons:
            line.what, line.reason = "rejected", LABELS[max(reasons)]
        elif taken:
            line.what = "unplayed"
            position = t.ring.position_of(0, line.timestamp or 0)
            self._stored.append((position, position + taken, line))
        else:
            line.what = {EVENT: "event", NOISE: "noise"}.get(kind or 0, "empty")

    def _told(self, event: control.Event) -> None:
        at_ms = self._at_ms(self._now_ns)
        match event:
            case control.DigitReceived():
                self._lines.append(EventLine(at_ms, "digit", event.timestamp_ms, event.digit, event.duration_ms))
            case control.SpeechChanged():
                what = "speech-started" if event.speaking else "speech-stopped"
                self._lines.append(EventLine(at_ms, what, event.timestamp_ms))

    def _drain(self) -> None:
        """Let everything that waits be played. What is made up behind the last sample is nobody's finding."""
        end_ns = self._now_ns + AFTER_MS * _MS
        longest_ns = end_ns + 2_000 * _MS
        ring = self._table.ring
        while ring.started[0] and ring.cursor[0] < ring.newest[0] and self._now_ns < longest_ns:
            self._finish_slot()
            self._number += 1
            self._begin_slot()
        while self._now_ns < end_ns:
            self._number += 1
            self._begin_slot()

    def _in_order(self) -> list[Line]:
        return sorted(self._lines, key=lambda line: line.at_ms)

    def _summary(self) -> dict[str, Any]:
        t, stats = self._table, self._plane.stats
        t.publish(self._rows, self._captured_ns)
        if not t.rated[0]:
            t.rate(self._rows)
        row = stats[0]
        packets = [line for line in self._lines if isinstance(line, PacketLine)]
        counts = {what: sum(line.what == what for line in packets) for what in WHATS}
        return {
            "packets": {"total": len(packets)} | {what: n for what, n in counts.items() if n},
            "rejected": {LABELS[i]: n for i, n in enumerate(t.rejected.tolist()) if n and i != RejectReason.RTCP},
            "frames": {"total": int(row["frames_up"])}
            | {label: int(row[name]) for name, label in _FRAME_COUNTERS.items()},
            "waited_ms": _spread([line.waited_ms for line in packets if line.waited_ms is not None]),
            "digits": "".join(line.digit or "" for line in self._lines if isinstance(line, EventLine)),
        } | {name: round(row[name].item(), 2) for name in _FIGURES}


#: Statistics that a frame moves, and the word for it.
_FRAME_COUNTERS = {
    "frames_concealed": "concealed",
    "frames_noise": "noise",
    "frames_trimmed": "shortened",
    "frames_stretched": "lengthened",
}
_FIGURES = (
    "packets_expected",
    "packets_lost",
    "packets_reordered",
    "ssrc_changes",
    "resyncs",
    "jitter_ms",
    "delay_target_ms",
    "delay_mean_ms",
    "drift_ppm",
    "mos_mean",
)


def _spread(figures: list[float]) -> dict[str, float]:
    """What half, 99 of 100 and all of them are within; nothing of nothing."""
    if not figures:
        return {}
    return {name: round(float(np.percentile(figures, q)), 1) for name, q in (("p50", 50), ("p99", 99), ("most", 100))}
