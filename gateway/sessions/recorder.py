"""A session's recording in the making: every track on one media clock, sample for sample. Sans-IO.

Theory of operation. The clock begins at the session's first audio and counts 8000 samples a second. What a
party says carries its sender's timestamps: their distance to our clock is learnt from the first frame and
then followed by the earliest arrival of each ten seconds, so jitter and replays move nothing and a sender's
drift is corrected in steps that nobody hears. What an interpreter says is laid where the listener hears it:
behind what is queued for that listener, and cut back when the listener's queue was cleared.

Four channels: customer, agent, translation to the customer, translation to the agent. Further parties are
mixed into the agent's. Knows no file and no clock.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from gateway.sessions.wav import RATE
from gateway.speech import mulaw

CUSTOMER, AGENT, TO_CUSTOMER, TO_AGENT = range(4)
CHANNELS: Final = 4
#: Samples kept in memory before they are handed out: what arrives that late still finds its place for free.
_LAG: Final = RATE
#: The earliest arrival is looked at in windows of this length, and followed when it is off by so much.
_WINDOW: Final = 10 * RATE
_STEP: Final = RATE // 100
#: A sender is never this far from its own timestamps unless it has begun to count anew.
_LOST: Final = 120 * RATE
_EARLY: Final = RATE // 4
#: Samples of one block: after an outage there may be an hour of silence to write.
_PIECE: Final = 60 * RATE
#: What may lie ahead of the clock: a listener's queue, a sender faster than real time.
_AHEAD: Final = 300 * RATE


class Block(NamedTuple):
    """What is ready to be written. octets: (frames × 4) interleaved mu-law; late: what belongs before them."""

    octets: bytes
    late: list[tuple[int, int, bytes]]


class _Track:
    """Samples from `base` on; what nobody wrote is silence."""

    __slots__ = ("_octets", "base")

    def __init__(self, base: int) -> None:
        self.base = base
        self._octets = bytearray()

    def write(self, at: int, octets: bytes) -> tuple[int, bytes] | None:
        """Lay octets at a sample. Returns (at, octets) of what lies before `base`."""
        late = None
        if at < self.base:
            late = (at, octets[: self.base - at])
            octets = octets[self.base - at :]
            at = self.base
        if octets:
            start = at - self.base
            if start > len(self._octets):
                self._octets += mulaw.SILENCE * (start - len(self._octets))
            self._octets[start : start + len(octets)] = octets
        return late

    def cut(self, at: int) -> None:
        """Forget everything from a sample on."""
        del self._octets[max(0, at - self.base) :]

    def take(self, count: int) -> bytes:
        taken = bytes(memoryview(self._octets)[:count])
        del self._octets[:count]
        self.base += count
        return taken + mulaw.SILENCE * (count - len(taken))


class _Speaker:
    """One party: its track, and where its timestamps lie on our clock."""

    __slots__ = ("earliest", "offset", "track", "window_end")

    def __init__(self, base: int) -> None:
        self.track = _Track(base)
        self.offset: int | None = None
        self.earliest = 0
        self.window_end = 0


class Recorder:
    """One session. started_at: Unix seconds of its first audio; written: frames that are on disk already."""

    def __init__(self, started_at: float, written: int = 0) -> None:
        self.started_at = started_at
        self.written = written
        self._speakers: dict[str, _Speaker] = {}
        self._translations = {TO_CUSTOMER: _Track(written), TO_AGENT: _Track(written)}
        self._heard_until = {TO_CUSTOMER: 0, TO_AGENT: 0}
        self._late: list[tuple[int, int, bytes]] = []

    def position(self, now: float) -> int:
        """Now, in samples since the beginning."""
        return max(0, round((now - self.started_at) * RATE))

    def heard(self, speaker: str, timestamp_ms: int, octets: bytes, now: float) -> None:
        """What a party said."""
        party = self._speakers.get(speaker)
        if party is None:
            party = self._speakers[speaker] = _Speaker(self.written)
        arrival = self.position(now) - len(octets)
        at = self._place(party, arrival, timestamp_ms * (RATE // 1000))
        if at < 0:
            octets, at = octets[-at:], 0
        late = party.track.write(at, octets)
        if late is not None and late[1]:
            self._late.append((_channel(speaker), *late))

    def said(self, speaker: str, target: str | None, octets: bytes, now: float) -> None:
        """What the interpreter sends for a target to hear; None: everyone but the speaker."""
        if target is not None:
            channels = [_channel(target) + TO_CUSTOMER]
        else:
            channels = [TO_AGENT if _channel(speaker) == CUSTOMER else TO_CUSTOMER]
        here = self.position(now)
        for channel in channels:
            at = max(self._heard_until[channel], here)
            if at - here < _AHEAD:
                self._translations[channel].write(at, octets)
                self._heard_until[channel] = at + len(octets)

    def cleared(self, target: str, dropped_ms: int, now: float) -> None:
        """The target's queue was cleared: the last so many milliseconds were never heard."""
        channel = _channel(target) + TO_CUSTOMER
        end = max(self._heard_until[channel] - dropped_ms * (RATE // 1000), self.position(now))
        if end < self._heard_until[channel]:
            self._translations[channel].cut(end)
            self._heard_until[channel] = end

    def rejoined(self, speaker: str) -> None:
        """A new leg of this speaker: its timestamps begin anew."""
        party = self._speakers.get(speaker)
        if party is not None:
            party.offset = None

    def take(self, now: float, *, final: bool = False) -> Block:
        """What can be written now, a minute at most; final: up to now, all tracks of the same length."""
        until = self.position(now) - (0 if final else _LAG)
        late, self._late = self._late, []
        count = min(until - self.written, _PIECE)
        if count <= 0:
            return Block(b"", late)
        frames = np.empty((count, CHANNELS), np.uint8)
        originals: dict[int, list[bytes]] = {CUSTOMER: [], AGENT: []}
        for name, party in self._speakers.items():
            originals[_channel(name)].append(party.track.take(count))
        for channel, takes in originals.items():
            frames[:, channel] = _mixed(takes, count)
        for channel, track in self._translations.items():
            frames[:, channel] = np.frombuffer(track.take(count), np.uint8)
        self.written += count
        return Block(frames.tobytes(), late)

    def _place(self, party: _Speaker, arrival: int, stamp: int) -> int:
        if party.offset is None or not -_AHEAD < arrival - (stamp + party.offset) < _LOST:
            party.offset = arrival - stamp
            party.earliest = 0
            party.window_end = arrival + _WINDOW
        error = arrival - (stamp + party.offset)
        if error < party.earliest or party.earliest == _LOST:
            party.earliest = error
        if arrival >= party.window_end:
            # More than a quarter of a second ahead is a sender that is faster than real time, not a clock.
            if abs(party.earliest) >= _STEP and party.earliest > -_EARLY:
                party.offset += party.earliest
            party.earliest = _LOST
            party.window_end = arrival + _WINDOW
        return stamp + party.offset


def _channel(speaker: str) -> int:
    return CUSTOMER if speaker == "customer" else AGENT


def _mixed(takes: list[bytes], count: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    if not takes:
        return np.full(count, 0xFF, np.uint8)
    if len(takes) == 1:
        return np.frombuffer(takes[0], np.uint8)
    total = sum((mulaw.decode(take).astype(np.int32) for take in takes), np.zeros(count, np.int32))
    return mulaw.encode(total)
