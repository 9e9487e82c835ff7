"""What each leg hears: rows of gains over the other legs' originals, beside its own translated stream.

A session mode is such a set of gains (rtp has no word for modes). An edge is one source heard by one
listener, with one gain for while the listener's translated speech plays (ducking) and one for while it
does not. Gains move linearly over 50 ms, so nothing pumps or clicks.

Owns edges and their present gains. Refuses to know where frames come from: it is given both.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from rtp import g711
from rtp.plane import FRAME

Rows = npt.NDArray[np.intp]
Bytes = npt.NDArray[np.uint8]

#: Change of a gain in one frame of 20 ms when a full-scale ramp takes 50 ms.
STEP: Final = np.float32(20.0 / 50.0)

_EDGE: Final = np.dtype(
    [
        ("listener", "i8"),
        ("source", "i8"),
        ("generation", "u8"),  # of the source: a row that was reused is not heard
        ("idle", "f4"),
        ("ducked", "f4"),
        ("gain", "f4"),  # present
    ]
)
_ALONG: Final = ((np.arange(FRAME) + 1.0) / FRAME).astype(np.float32)  # 0 → 1 over a frame


class Mixer:
    """The edges of `capacity` legs, kept sorted by listener."""

    def __init__(self, capacity: int) -> None:
        self.mixing = np.zeros(capacity, np.bool_)  # rows that hear more than their own stream unchanged
        self._own_goal = np.ones(capacity, np.float32)
        self._own = np.ones(capacity, np.float32)
        self._edges = np.zeros(0, _EDGE)

    def reset(self, rows: Rows) -> None:
        """Forget these legs, as listeners and as sources."""
        self.mixing[rows] = False
        self._own_goal[rows] = 1.0
        self._own[rows] = 1.0
        if len(self._edges):
            edges = self._edges
            self._edges = edges[~(np.isin(edges["listener"], rows) | np.isin(edges["source"], rows))]

    def set_gains(self, row: int, own: float, sources: list[tuple[int, int, float, float]]) -> None:
        """Replace what `row` hears. sources: (row, generation, gain when idle, gain when ducked), linear."""
        begin, end = np.searchsorted(self._edges["listener"], (row, row + 1))
        before, after = self._edges[:begin], self._edges[end:]
        heard = self._edges[begin:end]
        old = dict(zip(heard["source"].tolist(), heard["gain"].tolist(), strict=True))
        fresh = np.array(
            [(row, s, generation, idle, ducked, old.get(s, 0.0)) for s, generation, idle, ducked in sources], _EDGE
        )
        # Everybody's edges are copied but not looked at: a session of n legs says this n times when one joins.
        self._edges = np.concatenate([before, fresh, after])
        self._own_goal[row] = own
        self.mixing[row] = bool(sources) or own != 1.0

    def sources(self, rows: Rows) -> npt.NDArray[np.intp]:
        """Which legs' frames `mix` needs for these listeners; unique."""
        return np.unique(self._edges["source"][np.isin(self._edges["listener"], rows)]).astype(np.intp)

    def mix(
        self,
        rows: Rows,
        own: Bytes,
        playing: npt.NDArray[np.bool_],
        generation: npt.NDArray[np.uint64],
        original: Bytes,
        source_rows: Rows,
    ) -> Bytes:
        """One frame of what each row hears.

        rows (k,), all of them `mixing` · own (k, 160) mu-law, the translated stream · playing (k,): it
        carries speech now · generation (legs,): of every row · original (m, 160) mu-law: the present frames
        of `source_rows` (m,), sorted. Returns (k, 160) mu-law.
        """
        which = np.flatnonzero(np.isin(self._edges["listener"], rows))
        edges = self._edges[which]
        at = np.zeros(len(playing), np.intp) if not len(edges) else np.searchsorted(rows, edges["listener"])
        before = self._own[rows]
        after = before + np.clip(self._own_goal[rows] - before, -STEP, STEP)
        self._own[rows] = after
        total = g711.MU_TO_LINEAR[own] * _ramp(before, after)  # (k, 160) float32
        if len(edges):
            alive = edges["generation"] == generation[edges["source"]]
            goal = np.where(playing[at], edges["ducked"], edges["idle"]) * alive
            present = edges["gain"]
            following = present + np.clip(goal - present, -STEP, STEP)
            self._edges["gain"][which] = following
            heard = g711.MU_TO_LINEAR[original[np.searchsorted(source_rows, edges["source"])]]
            # (listeners, edges) @ (edges, 160), with a gain that moves along the frame
            select = np.zeros((len(rows), len(edges)), np.float32)
            select[at, np.arange(len(edges))] = 1.0
            total += select @ (heard * _ramp(present, following))
        np.clip(total, -32768, 32767, out=total)
        return g711.LINEAR_TO_MU[total.astype(np.int16).view(np.uint16)]


def _ramp(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    ramp: npt.NDArray[np.float32] = before[:, None] + (after - before)[:, None] * _ALONG
    return ramp
