"""One leg's jitter buffer without audio: packets arrive by a schedule, a cursor is read every 20 ms.

Owns the plainest possible ring (a set of blocks) and does with `rtp.delay` what its docstring asks of a tick.
Time compression takes whole pitch periods of a voice whose pitch wanders, as many as fit in 20 ms; in pauses anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtp.delay import FRAME, Delay
from tests.support.impairments import Schedule

TICK_NS = 20_000_000
BLOCK = 80
START_NS = 10**12
ROW = np.array([0])


@dataclass
class Played:
    """What happened, per tick: time_s since the start, present, target (ms), ppm; and in total.

    late: share of audio that was not there when it was due; waited_ms: mean time from a packet's arrival to its play.
    audible, inaudible: corrections in speech and in pauses.
    """

    time_s: npt.NDArray[np.float64]
    present_ms: npt.NDArray[np.float64]
    target_ms: npt.NDArray[np.float64]
    ppm: npt.NDArray[np.float64]
    late: float
    waited_ms: float
    audible: int
    inaudible: int

    def at(self, seconds: float) -> int:
        return int(np.searchsorted(self.time_s, seconds))


def always(_frame: int) -> bool:
    """Somebody who never takes breath."""
    return True


def with_pauses(frame: int) -> bool:
    """Two seconds of speech, one of silence."""
    return frame % 150 < 100


def seam_in_speech(frame: int, least: int, most: int) -> int:
    """Whole periods of 2.5 to 13 ms that fit, 0 when fewer than `least` samples do."""
    period = 20 + frame * 7919 % 85
    seam = most // period * period
    return seam if seam >= least else 0


def play(network: Schedule, speaking: Callable[[int], bool], packet: int = FRAME, delay: Delay | None = None) -> Played:
    """Play a schedule out. packet: samples in each."""
    delay = delay or Delay(1)
    arrivals = (network.arrival_ns + START_NS).tolist()
    numbers = network.number.tolist()
    here: set[int] = set()
    arrived: dict[int, int] = {}
    newest = upto = faded = tick = 0
    audible = inaudible = 0
    missed = played = 0
    waits = []
    trace = []
    now = arrivals[0]
    cursor: int | None = None
    moved = 0  # of the stream, by restarts
    while now <= arrivals[-1]:
        while upto < len(arrivals) and arrivals[upto] <= now:
            position = numbers[upto] * packet + moved
            at, length = np.array([arrivals[upto]]), np.array([packet])
            lost = delay.observe(ROW, at, np.array([position]), length)
            if cursor is None:
                cursor = position - int(delay.target[0])
            if lost is not None:
                placed = -(-max(cursor + int(delay.target[0]), newest) // BLOCK) * BLOCK
                moved, position = moved + placed - position, placed
                delay.reset_base(ROW)
                delay.observe(ROW, at, np.array([position]), length)
            here.update(range(position // BLOCK, (position + packet) // BLOCK))
            arrived.setdefault(position, arrivals[upto])
            newest = max(newest, position + packet)
            upto += 1
        assert cursor is not None
        advance = FRAME
        if cursor >= 0:
            missing = [b for b in range(cursor // BLOCK, (cursor + FRAME - 1) // BLOCK + 1) if b not in here]
            if missing:
                hole = max(missing[0] * BLOCK - cursor, 0)
                behind = [b for b in range(missing[0], newest // BLOCK) if b in here]
                gap = behind[0] * BLOCK - cursor - hole if behind else -1
                if faded or gap < 0:
                    where = np.array([cursor])
                    move = delay.bridge(ROW, now, where, np.array([hole]), np.array([gap]), np.array([faded >= 3]))
                    cursor += max(int(move[0]), 0)
                    advance += min(int(move[0]), 0)
                missing = [b for b in range(cursor // BLOCK, (cursor + FRAME - 1) // BLOCK + 1) if b not in here]
            halves = [
                any(b in missing for b in range((cursor + h) // BLOCK, (cursor + h + BLOCK - 1) // BLOCK + 1))
                for h in (0, BLOCK)
            ]
            missed += sum(halves)
            played += 2
            if missing:
                delay.note_loss(ROW)
                faded = faded + 1 if halves[1] else 0
            else:
                faded = 0
                if tick % 3 == 0:
                    quiet = not speaking(cursor // FRAME)
                    offs, leasts = delay.decide(ROW, now, np.array([cursor]), np.array([quiet]))
                    off, least = int(offs[0]), int(leasts[0])
                    most = min(abs(off), FRAME)
                    seam = most if quiet else seam_in_speech(cursor // FRAME, least, most)
                    advance += seam if off > 0 else -seam
                    audible += seam != 0 and not quiet
                    inaudible += seam != 0 and quiet
            first = -(-(cursor - moved) // packet) * packet + moved
            if first < cursor + FRAME and first in arrived:
                waits.append(now + (first - cursor) * 125_000 - arrived[first])
            present = int(delay.present(ROW, now, np.array([cursor]))[0])
            trace.append(((now - START_NS) / 1e9, present / 8, delay.target[0] / 8, delay.drift.ppm[0]))
        cursor += advance
        now += TICK_NS
        tick += 1
    columns = np.array(trace).T
    waited = float(np.mean(waits)) / 1e6
    return Played(*columns, missed / played, waited, audible, inaudible)
