"""The return leg's queue: when it starts, what it plays each 20 ms, what it does when nothing is there.

Reads the plane's downlink rings and writes their consumed / dropped / flushed counters. A row is idle,
filling (audio is there, the lead is not) or playing. A sender in real time is held back by `lead` so that
lateness below it is not heard; one that bursts a whole sentence has its lead at once and is played at once.
Every edge, start, stop, gap and clear, has a 5 ms ramp: no clicks.

Owns play-out state. Refuses to know codecs, packets and what other legs say.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from rtp import g711, timescale
from rtp.backlog import Backlog
from rtp.plane import DOWNLINK_BYTES, FRAME, Plane
from rtp.windows import windows

Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

SILENCE: Final = 0xFF  #: mu-law zero
FADE: Final = 40  #: samples of 5 ms
#: A gap that lasts longer is the end of a talkspurt, not an under-run (frames: 1 s).
GAP_FRAMES: Final = 50

IDLE, FILLING, PLAYING, GAP = range(4)

#: Frames between two that are shortened to work off a backlog: it bounds the change of speed.
TRIM_FRAMES: Final = 3
#: Frames until a seam is looked for again where there was none.
TRY_AGAIN: Final = 10
#: Peak of a pause, int16: any seam will do there.
QUIET: Final = 250

_OFFSETS = np.arange(FRAME, dtype=np.int64)
_RAMP = (np.arange(FADE, dtype=np.float32) + 0.5) / FADE  # 0 → 1
_FADE_IN = np.concatenate([_RAMP, np.ones(FRAME - FADE, np.float32)])


class Playout:
    """Play-out of `plane.capacity` legs. Rows are unique within a call; a call is one frame of each."""

    def __init__(self, plane: Plane, lead_ms: int) -> None:
        n = plane.capacity
        self._plane = plane
        self._flat = plane.downlink.reshape(-1)
        self._windows = windows(self._flat, FRAME)
        self._lead = lead_ms * 8
        self._lead_frames = -(-lead_ms // 20)
        self.backlog = Backlog(n, self._lead)
        self._trimmed = np.zeros(n, np.int32)  # frames since one was shortened
        self.state = np.zeros(n, np.uint8)
        self._waited = np.zeros(n, np.int32)  # frames spent filling, or in a gap
        self._gap = np.zeros(n, np.int32)  # frames of the gap that filling follows; 0: a new talkspurt
        self._fresh = np.zeros(n, np.bool_)  # the next frame begins a talkspurt: fade in
        self._silent = np.full((n, FRAME), SILENCE, np.uint8)

    def reset(self, rows: Rows) -> None:
        """A new leg in these rows: the plane's counters start at zero."""
        self.state[rows] = IDLE
        self._waited[rows] = 0
        self._gap[rows] = 0
        self.backlog.reset(rows)
        p = self._plane
        for column in (p.written, p.flush_to, p.talkspurt_end, p.consumed, p.flushed, p.dropped):
            column[rows] = 0

    def render(self, rows: Rows) -> tuple[npt.NDArray[np.uint8], Mask]:
        """The next frame of each row, (k, 160) mu-law, and which of them carry queued audio (k,)."""
        plane = self._plane
        state = self.state[rows]
        consumed = plane.consumed[rows].view(np.int64)
        available = plane.written[rows].view(np.int64) - consumed
        flush = plane.flush_to[rows] != plane.flushed[rows]
        flushing = np.count_nonzero(flush)
        if not (flushing or np.count_nonzero(available) or np.count_nonzero(state)):
            return self._silent[: len(rows)], np.zeros(len(rows), np.bool_)
        if flushing:
            available[flush & (state != PLAYING)] = 0  # about to be dropped: do not begin with it
        if np.count_nonzero(state == PLAYING) < len(rows):
            self._begin(rows, state, available)
        playing = state == PLAYING
        take = np.where(playing, np.minimum(available, FRAME), 0)
        if flushing:
            take[flush & playing & (take > FADE)] = FADE
        frames = self._gather(rows, consumed)
        starting = self._fresh[rows] & playing
        ending = playing & (take < FRAME)
        shaped = starting | ending
        if np.count_nonzero(shaped):
            which = np.flatnonzero(shaped)
            frames[which] = _shape(frames[which], take[which], starting[which], ending[which])
            self._fresh[rows[which]] = False
        silent = take == 0
        if np.count_nonzero(silent):
            frames[silent] = SILENCE
        self.backlog.observe(rows, available + consumed, available)
        consumed += take
        if np.count_nonzero(self.backlog.excess[rows]):
            consumed += self._shorten(rows, frames, consumed - take, available, shaped)
        if flushing:
            self._flush(rows, np.flatnonzero(flush), consumed)
        plane.consumed[rows] = consumed.view(np.uint64)
        dry = ending & ~flush
        if np.count_nonzero(dry):
            self._run_dry(rows[dry], plane.talkspurt_end[rows[dry]] == plane.written[rows[dry]])
        return frames, ~silent

    def _begin(self, rows: Rows, state: npt.NDArray[np.uint8], available: npt.NDArray[np.int64]) -> None:
        """Idle → filling → playing; `state` (k,) is updated in place together with the column."""
        stats = self._plane.stats
        arrived = ((state == IDLE) | (state == GAP)) & (available > 0)
        if np.count_nonzero(arrived):
            self._gap[rows[arrived]] = np.where(state[arrived] == GAP, self._waited[rows[arrived]] + 1, 0)
            self._waited[rows[arrived]] = 0
            state[arrived] = FILLING
        filling = state == FILLING
        if np.count_nonzero(filling):
            full = filling & ((available >= self._lead) | (self._waited[rows] >= self._lead_frames))
            self._waited[rows[filling & ~full]] += 1
            state[full] = PLAYING
            self._fresh[rows[full]] = True
            after_gap = rows[full & (self._gap[rows] > 0)]
            if len(after_gap):
                silent_ms = (self._gap[after_gap] + self._waited[after_gap]) * 20
                stats["underruns"][after_gap] += 1
                for field, low, high in _LADDER:
                    stats[field][after_gap[(silent_ms >= low) & (silent_ms < high)]] += 1
                self._gap[after_gap] = 0
        gap = state == GAP
        if np.count_nonzero(gap):
            self._waited[rows[gap]] += 1
            state[gap & (self._waited[rows] > GAP_FRAMES)] = IDLE
        self.state[rows] = state

    def _gather(self, rows: Rows, consumed: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The 160 bytes at each position: one copy per row, by index only where the circle closes."""
        offset = consumed & (DOWNLINK_BYTES - 1)
        base = rows * DOWNLINK_BYTES
        across = offset > DOWNLINK_BYTES - FRAME
        if not np.count_nonzero(across):
            return self._windows[base + offset].view(np.uint8).reshape(-1, FRAME)
        offset[across] = 0
        frames: npt.NDArray[np.uint8] = self._windows[base + offset].view(np.uint8).reshape(-1, FRAME)
        index = (consumed[across][:, None] + _OFFSETS) & (DOWNLINK_BYTES - 1)
        frames[across] = self._flat.take(index + base[across][:, None])
        return frames

    def _shorten(
        self,
        rows: Rows,
        frames: npt.NDArray[np.uint8],
        consumed: npt.NDArray[np.int64],
        available: npt.NDArray[np.int64],
        shaped: Mask,
    ) -> npt.NDArray[np.int64]:
        """Play some frames of a real-time sender's backlog a pitch period short; returns by how much (k,).

        frames (k, 160) are replaced. What is left out counts as played: it was heard, only faster.
        """
        self._trimmed[rows] += 1
        fit = (self.backlog.excess[rows] >= timescale.LAG_MIN) & (available >= timescale.AHEAD) & ~shaped
        which = np.flatnonzero(fit & (self._trimmed[rows] >= TRIM_FRAMES))
        off = np.zeros(len(rows), np.int64)
        if not len(which):
            return off
        row = rows[which]
        index = (consumed[which][:, None] + np.arange(timescale.AHEAD)) & (DOWNLINK_BYTES - 1)
        ahead = g711.MU_TO_LINEAR[self._flat.take(index + (row * DOWNLINK_BYTES)[:, None])]
        most = np.minimum(self.backlog.excess[row], timescale.LAG_MAX)
        quiet = np.abs(ahead).max(axis=1) < QUIET
        linear, removed = timescale.compress(ahead, np.zeros_like(most), most, quiet)
        done = np.flatnonzero(removed)
        frames[which[done]] = g711.LINEAR_TO_MU[linear[done].view(np.uint16)]
        self.backlog.worked_off(row, removed)
        self._trimmed[row] = np.where(removed > 0, 0, -TRY_AGAIN)  # looking for a seam costs much
        off[which] = removed
        return off

    def _flush(self, rows: Rows, which: Rows, consumed: npt.NDArray[np.int64]) -> None:
        """audio.clear: what stands before `flush_to` and was not played is dropped, and counted exactly."""
        plane = self._plane
        row = rows[which]
        goal = plane.flush_to[row]
        dropped = np.maximum(goal.view(np.int64) - consumed[which], 0)
        consumed[which] += dropped
        plane.consumed[row] = consumed[which].view(np.uint64)
        plane.dropped[row] += dropped.view(np.uint64)
        self.state[row] = IDLE
        self._waited[row] = 0
        plane.flushed[row] = goal  # last: the controller reads the others once it sees this

    def _run_dry(self, rows: Rows, at_end: Mask) -> None:
        """Nothing left. Where the sender said that its utterance ends here it is a pause, else a gap."""
        self.state[rows] = np.where(at_end, IDLE, GAP)
        self._waited[rows] = 0


#: Under-run ladder: field, from ms, below ms.
_LADDER: Final = (
    ("underrun_20ms", 0, 60),
    ("underrun_60ms", 60, 200),
    ("underrun_200ms", 200, 1000),
    ("underrun_1s", 1000, 1 << 30),
)


def _shape(
    frames: npt.NDArray[np.uint8], take: npt.NDArray[np.int64], starting: Mask, ending: Mask
) -> npt.NDArray[np.uint8]:
    """Ramps: up over the first 5 ms where a row starts, down over the last 5 ms before `take` where it ends."""
    gain = np.where(starting[:, None], _FADE_IN, np.float32(1.0))
    down = (take[:, None] - _OFFSETS - np.float32(0.5)) / FADE
    gain = np.where(ending[:, None], np.minimum(gain, np.clip(down, 0.0, 1.0)), gain)
    linear = g711.MU_TO_LINEAR[frames] * gain
    coded = g711.LINEAR_TO_MU[linear.astype(np.int16).view(np.uint16)]
    return np.where(gain < 1.0, coded, frames)  # bit-exact but for the ramps
