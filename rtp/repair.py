"""What is played where a frame is not simply there, and how the play-out delay is changed without being heard.

Holes are bridged (the cursor skips what was lost, or waits for what is late) and concealed; a sender that fell
silent by agreement is replaced by comfort noise; a delay that is off is corrected by leaving out, or saying twice,
a pitch period. Ties `delay`, `conceal`, `comfort` and `timescale` to the ring, for the few rows of a slot that need
it. Refuses to know packets and clocks.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from rtp import g711, timescale
from rtp.conceal import HISTORY
from rtp.jitter import BLOCK
from rtp.plane import FRAME
from rtp.table import Table

Rows = npt.NDArray[np.intp]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

#: How far ahead a hole's end is looked for: beyond this the stream counts as dry.
SIGHT_BLOCKS: Final = 64


def fill(t: Table, rows: Rows, frames: Bytes, missing: Mask, now_ns: int) -> Bytes:
    """Frames without holes, (k, 160) mu-law, for rows with a hole or just behind one.

    frames (k, 160) as the ring has them · missing (k, 2) by half. Moves cursors; the ring remembers what is played.
    """
    broken = np.flatnonzero(missing[:, 0] | missing[:, 1])
    wait = _bridge(t, rows[broken], frames, missing, broken, now_ns)
    cursor = t.ring.cursor[rows]
    history = g711.MU_TO_LINEAR[t.ring.samples(rows, cursor - HISTORY, HISTORY)]
    future = g711.MU_TO_LINEAR[t.ring.frames(rows, cursor + FRAME)]
    ahead = t.ring.valid(rows, cursor + FRAME, 3)
    inside = (cursor % BLOCK > 0)[:, None]  # a half that begins inside a block needs the next one too
    seen = ahead[:, :2] & (ahead[:, 1:] | ~inside)
    noise = t.comfort.background(rows, t.vad.background(rows))
    agreed = np.flatnonzero(t.silent(rows))
    if len(agreed):
        noise[agreed] = t.comfort.noise(rows[agreed])
    linear = t.concealer.process(rows, g711.MU_TO_LINEAR[frames], missing, history, future, seen, noise)
    coded: Bytes = np.where(np.repeat(missing, FRAME // 2, axis=1), g711.LINEAR_TO_MU[linear.view(np.uint16)], frames)
    mended = ~missing.any(axis=1)  # a whole frame behind a hole: its beginning is cross-faded
    coded[mended] = g711.LINEAR_TO_MU[linear[mended].view(np.uint16)]
    t.ring.overwrite(rows, coded)
    t.ring.cursor[rows[broken]] += wait
    return coded


def pace(t: Table, rows: Rows, frames: Bytes, now_ns: int) -> Bytes:
    """Correct the delay of rows that play whole frames: the frames to play, cursors moved by the difference."""
    cursor = t.ring.cursor[rows]
    quiet = ~t.vad.speaking(rows)
    off, least = t.delay.decide(rows, now_ns, cursor, quiet)
    if not np.count_nonzero(off):
        return frames
    shorter = np.flatnonzero(off > 0)
    shorter = shorter[t.ring.valid(rows[shorter], cursor[shorter], 5).all(axis=1)]
    if len(shorter):
        r, c = rows[shorter], cursor[shorter]
        ahead = g711.MU_TO_LINEAR[t.ring.samples(r, c, timescale.AHEAD)]
        linear, removed = timescale.compress(ahead, least[shorter], off[shorter], quiet[shorter])
        done = np.flatnonzero(removed)
        frames[shorter[done]] = g711.LINEAR_TO_MU[linear[done].view(np.uint16)]
        t.ring.cursor[r] = c + removed
        t.frames_trimmed[r] += removed > 0
    longer = np.flatnonzero(off < 0)
    if len(longer):
        r, c = rows[longer], cursor[longer]
        around = g711.MU_TO_LINEAR[t.ring.samples(r, c - FRAME, 2 * FRAME)]
        linear, repeated = timescale.expand(around, least[longer], -off[longer], quiet[longer])
        done = np.flatnonzero(repeated)
        frames[longer[done]] = g711.LINEAR_TO_MU[linear[done].view(np.uint16)]
        t.ring.cursor[r] = c - repeated
        t.frames_stretched[r] += repeated > 0
    return frames


def _bridge(t: Table, row: Rows, frames: Bytes, missing: Mask, which: Rows, now_ns: int) -> npt.NDArray[np.int64]:
    """Skip what was lost, at once; returns by how much cursors go back (≤ 0) after this frame, to wait.

    `frames` and `missing` are those of all rows, `which` of them are these; they are read anew after a skip.
    """
    cursor = t.ring.cursor[row]
    within = cursor % BLOCK
    there = t.ring.valid(row, cursor, 3)
    # The first missing sample: of the block at the cursor, or where the first block that is missing begins.
    hole = np.where(there[:, 0], np.where(there[:, 1], 2, 1) * BLOCK - within, 0)
    begin = cursor + hole
    there = t.ring.valid(row, begin, SIGHT_BLOCKS)
    gap = np.where(there.any(axis=1), there.argmax(axis=1) * BLOCK - begin % BLOCK, -1)
    free = t.concealer.faded(row) | t.silent(row)
    move = t.delay.bridge(row, now_ns, cursor, hole, gap, free)
    skip = np.flatnonzero((move > 0) & t.concealer.active[row])  # else there is nothing to cross-fade from
    if len(skip):
        t.ring.cursor[row[skip]] = cursor[skip] + move[skip]
        frames[which[skip]], missing[which[skip]] = t.ring.read(row[skip])
    return np.minimum(move, 0)
