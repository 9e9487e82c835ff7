"""How long a leg's audio should wait before it is played, and when the cursor has to move to get there.

Theory. A packet's *transit* is its arrival, on our clock, minus its position in the stream, both in samples of
125 µs; the zero is arbitrary, so only differences mean anything. The smallest transit of the last
`WINDOW` packets is the *base*: the path at its fastest. A packet's *relative delay* is its transit − base.
Play sample s at `s + base + delay` and exactly those packets come too late whose relative delay exceeds `delay`.
So the target is a high quantile of the relative delays, within the configured bounds.

- A run of packets that are all late is a *spike* (a stalled link, a route change), not jitter: it raises the target
  at once and for a short while, and does not enter the distribution. A spike that does not end is a new path.
- Drift is the slope of the base over time, fitted to the minimum of each block of packets: queues only ever add to a
  transit, so the lower envelope is the clocks alone.
- The delay is changed where nobody hears it: inside holes and comfort noise by moving the cursor (`bridge`), in
  pauses and, when it is off by much, in speech by time compression or expansion (`decide`).

Each tick of a row, then: `bridge` where its frame has a hole, and apply the move; conceal; else, every third frame,
`decide`, and let `timescale` make the frame when it says so. Packets that come late need no care (a link that stood
still delivers seconds of them at once) until `observe` says that their path is longer for good.

Owns targets, drift and those decisions. Refuses to know packets, rings and audio. Integer samples throughout,
except for the drift; a row's columns are touched by its own data only.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.drift import Drift

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64] | npt.NDArray[np.intp]

SAMPLE_NS: Final = 125_000
MS: Final = 8  # samples
FRAME: Final = 160

WINDOW: Final = 1024  # packets that the distribution is made of: 20 s of speech at 20 ms
BLOCK: Final = 256  # packets that give one minimum to the drift fit
REVIEW: Final = 64  # packets between two looks at the distribution; fewer at first, …
REVIEW_LATE: Final = 8  # … after a late one, and …
REVIEW_SPIKE: Final = 10  # … while a spike is being forgotten
ROUND_NS: Final = 160_000_000  # a look after REVIEW packets waits for the others: for 20 ms of these all have a turn
LATE_SHARE: Final = 0.006  # of the packets that may be late by jitter

SETTLED: Final = 64  # packets before a stream may be placed at less than the start value

SPIKE: Final = 3  # late packets in a row that make a spike
SPIKE_HOLD: Final = 20  # packets on time for which a spike's delay is kept, then
SPIKE_FALL: Final = 4 * MS  # per packet on time, down to what jitter asks for
NEW_PATH_NS: Final = 4_000_000_000  # a spike that lasts longer is the new path; or, when even
OUT_OF_REACH_NS: Final = 300_000_000  # the longest delay does not catch it, one that lasts longer than this
FASTER: Final = 40 * MS  # a base that falls by more, within …
FASTER_PACKETS: Final = 32  # … so many packets: the old distribution is of another path
LOSSY: Final = 1500  # packets for which a loss keeps the concealer's look-ahead
LOOK_AHEAD: Final = 24 * MS  # beyond the typical one: the packet behind a hole is there when the hole is played

#: Tolerances of `decide`, in samples. Wider in speech, where a correction might be heard.
IN_PAUSE: Final = 1 * MS
IN_SPEECH: Final = 4 * MS
MUCH: Final = 32 * MS  # off by more is corrected in speech at once; less waits for a pause, for so many …
PATIENCE: Final = 40  # … decisions: 2.4 s, and then for …
WORTH: Final = 12 * MS  # … a seam that corrects at least this: clocks 200 ppm apart need one a minute, and no more
RETRY: Final = 6  # decisions until such a seam is looked for again, which costs much
RECOVERING: Final = 200  # packets after a spike during which no correction waits

_UNSET: Final = np.iinfo(np.int32).max
_FAR: Final = 1 << 62


class Delay:
    """Columns over `capacity` rows.

    target: (capacity,) int64 samples, what `decide` and `bridge` steer to; place a new stream's cursor by it.
    typical: (capacity,) int64 samples, mean relative delay: `present` − `typical` is what a packet waits in the ring.
    """

    def __init__(self, capacity: int, minimum_ms: int = 20, start_ms: int = 40, maximum_ms: int = 200) -> None:
        self.minimum = minimum_ms * MS
        self.start = start_ms * MS
        self.maximum = maximum_ms * MS
        self.drift = Drift(capacity)
        self.target: I64 = np.full(capacity, self.start, dtype=np.int64)
        self.typical: I64 = np.zeros(capacity, dtype=np.int64)
        self._log: I32 = np.full((capacity, WINDOW), _UNSET, dtype=np.int32)  # transit − origin, circular
        self._origin: I64 = np.zeros(capacity, dtype=np.int64)
        self._count: I64 = np.zeros(capacity, dtype=np.int64)  # packets logged
        self._review_at: I64 = np.ones(capacity, dtype=np.int64)  # `_count` of the next look
        self._urgent_at: I64 = np.ones(capacity, dtype=np.int64)  # … of the next one that does not wait for others
        self._fitted: I64 = np.zeros(capacity, dtype=np.int64)  # `_count` at the last block for the drift
        self._base: I64 = np.full(capacity, _FAR, dtype=np.int64)
        self._need: I64 = np.full(capacity, self.minimum, dtype=np.int64)  # what is known to be wanted, settled or not
        self._limit: I64 = np.full(capacity, self.start, dtype=np.int64)  # relative delay that counts as late
        self._position: I64 = np.zeros(capacity, dtype=np.int64)  # of the newest packet seen
        self._grain: I64 = np.full(capacity, FRAME, dtype=np.int64)  # what packets' and frames' lengths have in common
        self._late_at: I64 = np.full(capacity, -1, dtype=np.int64)  # `_count` after the last late packet
        self._late_run: I64 = np.zeros(capacity, dtype=np.int64)
        self._late_since_ns: I64 = np.zeros(capacity, dtype=np.int64)
        self._peak: I64 = np.zeros(capacity, dtype=np.int64)  # delay of the last spike …
        self._peak_at: I64 = np.zeros(capacity, dtype=np.int64)  # … and `_count` at its end
        self._fallen: I64 = np.zeros(capacity, dtype=np.int64)  # how far the base fell lately …
        self._fell_at: I64 = np.zeros(capacity, dtype=np.int64)  # … since this `_count`
        self._patience: I64 = np.zeros(capacity, dtype=np.int64)  # decisions that a correction has waited for a pause
        self._lossy_until: I64 = np.zeros(capacity, dtype=np.int64)  # `_count` up to which a loss is remembered
        self._short: I64 = np.zeros(capacity, dtype=np.int64)  # of the target, by the choice of the slot

    def reset(self, rows: Rows) -> None:
        """A new leg: nothing is known."""
        self.target[rows] = self.start
        self.typical[rows] = 0
        self._limit[rows] = self.start
        self._need[rows] = self.minimum
        self._lossy_until[rows] = 0
        self._patience[rows] = 0
        self._short[rows] = 0
        self.drift.reset(rows)
        self.reset_base(rows)

    def reset_base(self, rows: Rows) -> None:
        """The sender's clock or the path is another one (SSRC or timestamp jump): transits begin anew.

        The target stays what it was, and so does the drift: the same machine is likely to speak on.
        """
        self._log[rows] = _UNSET
        self._count[rows] = 0
        self._review_at[rows] = 1
        self._urgent_at[rows] = 1
        self._fitted[rows] = 0
        self._base[rows] = _FAR
        self._late_at[rows] = -1
        self._late_run[rows] = 0
        self._peak[rows] = 0
        self._peak_at[rows] = 0
        self._fallen[rows] = 0
        self._fell_at[rows] = 0
        self._lossy_until[rows] = np.minimum(self._lossy_until[rows], LOSSY)
        self.drift.new_base(rows)

    def placed(self, rows: Rows, short: I64) -> None:
        """The streams begin this much (k,) short of the start value: as near as their slots allow, and near enough."""
        self._short[rows] = np.maximum(short, 0)

    def observe(self, rows: Rows, arrival_ns: I64, position: I64, length: I64) -> I64 | None:
        """A packet of each row: (k,) ns on any monotonic clock, (k,) position of its first sample, (k,) samples.

        Late, reordered and duplicate packets too; not those that restart the stream (`reset_base` before those).
        Returns the entries whose stream has been late for a while by more than the longest delay: it has to be
        restarted with this packet, or nothing of it will ever be heard. None when there are none.
        """
        transit = arrival_ns // SAMPLE_NS - position
        count = self._count[rows]
        self._log[rows, count & (WINDOW - 1)] = transit - self._origin[rows]
        count += 1
        self._count[rows] = count
        self._position[rows] = position
        relative = transit - self._base[rows]
        odd = (relative > self._limit[rows]) | (relative < 0)
        # Columns cost much the same for one row as for a hundred: what has time is done for all rows together.
        turn = arrival_ns % ROUND_NS < FRAME * SAMPLE_NS
        due = count >= np.where(turn, self._review_at[rows], self._urgent_at[rows])
        lost = None
        if np.count_nonzero(odd):
            which = np.flatnonzero(relative < 0)
            if which.size:
                self._faster(rows[which], transit[which], relative[which])
            which = np.flatnonzero(odd & (relative >= 0))
            if which.size:
                out_of_reach = self._late(rows[which], arrival_ns[which], transit[which], relative[which])
                lost = which[out_of_reach] if np.count_nonzero(out_of_reach) else None
        if np.count_nonzero(due):
            which = np.flatnonzero(due)
            self._grain[rows[which]] = np.gcd(length[which], FRAME)
            self._review(rows[which])
            block = which[count[which] - self._fitted[rows[which]] >= BLOCK]
            if block.size:
                self._fit(rows[block], arrival_ns[block])
        return lost

    def note_loss(self, rows: Rows) -> None:
        """Something was concealed in these rows: for a while keep the delay that lets the concealer look ahead."""
        self._lossy_until[rows] = self._count[rows] + LOSSY

    def present(self, rows: Rows, now_ns: int, cursor: I64) -> I64:
        """(k,) samples of 125 µs: how long the sample at `cursor` has waited when it is read at `now_ns`.

        Counted from when it would have arrived on the fastest path. now_ns is on the clock of `observe`.
        """
        waited: I64 = now_ns // SAMPLE_NS - self._base[rows] - cursor
        return waited

    def decide(self, rows: Rows, now_ns: int, cursor: I64, quiet: Bool) -> tuple[I64, I64]:
        """(k,) samples that the cursor should go forward (> 0, the delay is too long), or back (< 0); 0: leave it.
        And (k,) samples below which a seam in speech is not worth being heard.

        For rows that play audio; cursor: of the frame about to be read. quiet: (k,) nobody speaks in it, so that a
        correction is not heard. For > 0 play the frame of `timescale.compress` and advance by 160 + removed, for < 0
        that of `timescale.expand` and advance by 160 − inserted. Meant to be asked every third frame of a row: that
        bounds the change of speed.

        A packet is needed at the tick whose frame it begins in, so the delay that counts goes in steps of the
        packets' grain: a cursor between two beginnings waits longer, and catches no more, than one at a beginning.

        Nothing is left out to get below the start value, here and in `bridge`: nobody hears 20 ms, it is what gives
        the concealer its look-ahead, and a call on a clean path stays bit-exact.
        """
        grain = self._grain[rows]
        need = self._need[rows]
        room = self.present(rows, now_ns, cursor) - (FRAME - grain)
        ahead = cursor - self._position[rows]
        slack = np.where(quiet, IN_PAUSE, IN_SPEECH)
        forward = room - np.maximum(need + slack, self.start)
        forward -= (ahead + forward) % grain
        back = room + slack - need + np.where(need <= self.start, self._short[rows], 0)
        back -= (ahead + back) % grain
        off: I64 = np.where(forward > 0, forward, np.minimum(back, 0))
        least = np.zeros(len(rows), np.int64)
        if np.count_nonzero(off):
            recovering = (self._peak[rows] > 0) & (self._count[rows] - self._peak_at[rows] < RECOVERING)
            waiting = (off != 0) & ~quiet & ~recovering & (np.abs(off) <= MUCH)
            # A seam in speech seldom is as long as it should be. What it leaves too long is left until it is worth one
            # of its own; what it leaves short is made good by the next one, which may go past it: between two
            # beginnings a cursor catches what it catches at the first.
            small = waiting & (off > 0) & (off < WORTH)
            off[small] = 0
            off[waiting & (off < 0)] = -FRAME
            least[waiting] = WORTH
            patience = np.where(waiting & ~small, self._patience[rows] + 1, 0)
            off[waiting & (patience < PATIENCE)] = 0
            self._patience[rows] = np.where(patience < PATIENCE, patience, PATIENCE - RETRY)
        return off, least

    def bridge(self, rows: Rows, now_ns: int, cursor: I64, hole: I64, gap: I64, free: Bool) -> I64:
        """(k,) samples to move the cursor by at a hole, where nothing that is heard depends on it.

        For rows whose frame at the cursor is not whole. hole: (k,) 0…159, offset of the first missing sample; gap: (k,)
        missing samples from there to the next that is there, −1 when there is none. free: (k,) no speech is audible
        (concealment has faded, or comfort noise), so that waiting costs nothing. Skip only in a hole that is being
        concealed already: else there is nothing to cross-fade from.

        > 0: move by that much before reading, nothing but missing samples are skipped. ≤ 0: read first; add it to the
        advance of 160 that follows.

        Nothing behind the hole: the stream is late rather than lost, so wait at the hole, up to the longest delay
        allowed. Something behind it: skip what is lost until the delay is right again, or, when free, wait for that.
        """
        present = self.present(rows, now_ns, cursor)
        excess = present - np.maximum(self._need[rows], self.start)
        late = np.where(present + FRAME - hole <= self.maximum, hole - FRAME, 0)
        skip = np.where(hole == 0, np.clip(excess, np.where(free, -FRAME, 0), gap), 0)
        move: I64 = np.where(gap < 0, late, skip)
        return move

    def _late(self, rows: Rows, arrival_ns: I64, transit: I64, relative: I64) -> Bool:
        """Packets beyond the limit. Returns which are on a path that no delay reaches (k,)."""
        count = self._count[rows]
        chained = self._late_at[rows] == count - 1
        run = np.where(chained, self._late_run[rows] + 1, 1)
        self._late_run[rows] = run
        since = np.where(chained, self._late_since_ns[rows], arrival_ns)
        self._late_since_ns[rows] = since
        spike = run >= SPIKE
        # A spike's packets are taken out of the log again; its first ones too while the log is too short to bear them.
        out = np.where((run == SPIKE) & (count * LATE_SHARE < SPIKE), SPIKE, spike)
        for k in range(int(out.max())):
            gone = out > k
            self._log[rows[gone], (count[gone] - 1 - k) & (WINDOW - 1)] = _UNSET
        count = count - out
        self._count[rows] = count
        self._late_at[rows] = count
        s = rows[spike]
        self._peak[s] = np.maximum(np.where(run[spike] > SPIKE, self._peak[s], 0), relative[spike])
        self._peak_at[s] = count[spike]
        lasts = arrival_ns - since
        longer = spike & (lasts > NEW_PATH_NS)
        if np.count_nonzero(longer):
            self._restart(rows[longer], transit[longer])
        # One late packet may be the first of a spike: look at the distribution when that is known.
        self._review_at[rows] = np.minimum(self._review_at[rows], count + REVIEW_LATE)
        self._urgent_at[rows] = np.minimum(self._urgent_at[rows], count + REVIEW_LATE)
        self._review(rows[spike & ~longer])
        lost: Bool = spike & ~longer & (relative > self.maximum) & (lasts > OUT_OF_REACH_NS)
        return lost

    def _faster(self, rows: Rows, transit: I64, relative: I64) -> None:
        """A new smallest transit; by far smaller, and what was logged is of another path."""
        count = self._count[rows]
        falling = count - self._fell_at[rows] < FASTER_PACKETS
        fallen = np.where(falling, self._fallen[rows], 0) - relative
        self._fallen[rows] = fallen
        self._fell_at[rows] = np.where(falling, self._fell_at[rows], count)
        first = (count == 1) | (fallen > FASTER)
        self._base[rows] = transit
        if np.count_nonzero(first):
            self._restart(rows[first], transit[first])
            # What waits in the ring is of the slower path: `decide` need not be shy.
            self._peak[rows[first & (count > 1)]] = 1

    def _restart(self, rows: Rows, transit: I64) -> None:
        """The packet that has this transit is the first of its path."""
        self.reset_base(rows)
        self._origin[rows] = transit
        self._base[rows] = transit
        self._log[rows, 0] = 0
        self._count[rows] = 1

    def _review(self, rows: Rows) -> None:
        """Base, late limit and target from the log."""
        if not rows.size:
            return
        count = self._count[rows]
        log = np.sort(self._log[rows], axis=1)  # unset entries last
        held = np.count_nonzero(log != _UNSET, axis=1)
        each = np.arange(len(rows))
        base = log[:, 0].astype(np.int64)
        high = log[each, np.maximum(held - 1 - (held * LATE_SHARE).astype(np.int64), 0)] - base
        self._base[rows] = base + self._origin[rows]
        total = np.where(log == _UNSET, 0, log).sum(axis=1, dtype=np.int64)
        self.typical[rows] = total // held - base
        calm = count - self._peak_at[rows] - SPIKE_HOLD
        peak = np.minimum(self._peak[rows], self.maximum) - np.maximum(calm, 0) * SPIKE_FALL
        looking = np.where(self._lossy_until[rows] > count, self.typical[rows] + LOOK_AHEAD, 0)
        jitter = np.clip(np.maximum(high, looking), self.minimum, self.maximum)
        need = np.maximum(peak, jitter)
        self._limit[rows] = jitter
        self._need[rows] = need
        self.target[rows] = np.where(count < SETTLED, np.maximum(need, self.start), need)
        after = np.where(peak > jitter, REVIEW_SPIKE, np.clip(count, 4, REVIEW))
        self._review_at[rows] = count + after
        self._urgent_at[rows] = np.where(after < REVIEW, count + after, _FAR)

    def _fit(self, rows: Rows, arrival_ns: I64) -> None:
        """The minimum of the last block of packets to the drift."""
        index = (self._count[rows][:, None] - 1 - np.arange(BLOCK)) & (WINDOW - 1)
        lowest = self._log[rows[:, None], index].min(axis=1).astype(np.int64) + self._origin[rows]
        self._fitted[rows] = self._count[rows]
        self.drift.add(rows, arrival_ns, lowest)
