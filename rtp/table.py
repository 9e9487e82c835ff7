"""Every leg as a row: its columns, row allocation with generations, and which rows each slot serves.

Composes the modules that keep state per leg, so that opening and closing a row is said once. Owns
membership: a row is free, open (it has a port), configured (SDP is settled), and ticking (it has a slot).
Refuses to do any work on audio.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

from rtp.comfort import ComfortNoise
from rtp.conceal import Concealer
from rtp.delay import Delay
from rtp.errors import RejectReason
from rtp.jitter import JitterRing
from rtp.mix import Mixer
from rtp.plane import FRAME, Plane
from rtp.playout import Playout
from rtp.quality import Quality, mos
from rtp.reception import Reception
from rtp.settings import Settings
from rtp.vad import Vad, level_dbov

Rows = npt.NDArray[np.intp]

#: What a payload type means to a leg (`accept`).
NOT_ACCEPTED: Final = -1
PCMU, PCMA, EVENT, NOISE = range(4)
KINDS: Final = {"PCMU": PCMU, "PCMA": PCMA, "telephone-event": EVENT, "CN": NOISE}

NO_SLOT: Final = -1
UNKNOWN: Final = 1 << 62  #: a position that no stream reaches
#: A configured leg without packets starts its clock after this: somebody has to speak first through a NAT.
START_NS: Final = 100_000_000


#: A leg whose last packet is older has no delay to speak of: the cursor waits where the stream ended, or paused.
ENDED_NS: Final = 200_000_000
#: Legs that a slot may have more than its neighbour, at any load.
CROWD: Final = 32


class Table:
    """Columns over `capacity` rows. A column's comment gives its unit; shape is (legs,) unless said."""

    def __init__(self, plane: Plane, settings: Settings) -> None:
        n = plane.capacity
        self.plane = plane
        self.capacity = n
        self.ring = JitterRing(n)
        self.playout = Playout(plane, settings.lead_ms)
        self.mixer = Mixer(n)
        self.reception = Reception(n)
        self.concealer = Concealer(n)
        self.delay = Delay(n, settings.jitter_min_ms, settings.jitter_start_ms, settings.jitter_max_ms)
        self.comfort = ComfortNoise(n)
        self.vad = Vad(n)
        self.quality = Quality(n)
        self.rejected = np.zeros(len(RejectReason), np.uint64)  # packets of all legs, by reason

        self.generation = np.zeros(n, np.uint64)  # 0: free
        self.configured_ns = np.zeros(n, np.int64)  # 0: not yet
        self.slot = np.full(n, NO_SLOT, np.int64)
        self.sending = np.zeros(n, np.bool_)
        self.receiving = np.zeros(n, np.bool_)

        self.payload_type = np.zeros(n, np.uint8)  # what we send
        self.law = np.zeros(n, np.uint8)  # PCMU or PCMA
        self.halves = np.zeros(n, np.bool_)  # two packets of 10 ms instead of one of 20 ms
        self.sequence = np.zeros(n, np.uint16)  # of the next packet
        self.timestamp = np.zeros(n, np.uint32)  # of the next packet
        self.ssrc = np.zeros(n, np.uint32)
        self.dtmf_type = np.zeros(n, np.uint8)  # payload type of our telephone events
        self.dialling = np.zeros(n, np.bool_)  # digits are being sent
        self.marker = np.zeros(n, np.uint8)  # 1: the next packet begins a talkspurt (RFC 3551 §4.1)

        self.noise_type = np.full(n, NOT_ACCEPTED, np.int16)  # payload type of our comfort noise, when it is on
        self.quiet = np.zeros(n, np.int32)  # frames since we last played something
        self.silent_until = np.zeros(n, np.int64)  # ring position where the silence by agreement (RFC 3389) ends
        self.media_ms = np.zeros(n, np.int64)  # media time of the next uplink frame
        self.energy_in = np.zeros(n, np.float32)  # smoothed mean square of what arrives, full scale 1
        self.energy_out = np.zeros(n, np.float32)
        self.delays_seen = np.zeros(n, np.int64)  # of which the mean delay is made
        self.rated = np.zeros(n, np.int64)  # intervals of which the mean rating is made

        self.accept = np.full((n, 128), NOT_ACCEPTED, np.int8)  # (legs, payload type)
        # Views into the plane's statistics: what is counted here is seen there at once.
        stats = plane.stats
        self.first_packet_ns = stats["first_packet_ns"]
        self.last_packet_ns = stats["last_packet_ns"]
        self.bytes_received = stats["bytes_received"]
        self.resyncs = stats["resyncs"]
        self.packets_late = stats["packets_late"]
        self.packets_bad = stats["packets_bad"]
        self.packets_bad_payload = stats["packets_bad_payload"]
        self.frames_noise = stats["frames_noise"]
        self.frames_silent = stats["frames_silent"]
        self.frames_trimmed = stats["frames_trimmed"]
        self.frames_stretched = stats["frames_stretched"]
        self.packets_sent = stats["packets_sent"]
        self.bytes_sent = stats["bytes_sent"]
        self.frames_up = stats["frames_up"]
        self.frames_concealed = stats["frames_concealed"]
        self.frames_played = stats["frames_played"]
        self.frames_filled = stats["frames_filled"]

        self.slots = settings.slots_per_frame
        self.rows_of_slot: list[Rows] = [np.zeros(0, np.intp) for _ in range(self.slots)]
        self.waiting: list[int] = []  # configured rows without a slot
        self.open_count = 0
        self._next_generation = 1
        self._free = deque(range(n))

    def open(self, now_ns: int, rng: np.random.Generator) -> int | None:
        """Take a row; None when there is none. RFC 3550 §5.1: sequence, timestamp and SSRC start at random."""
        if not self._free:
            return None
        row = self._free.popleft()
        rows = np.array([row], np.intp)
        for module in (
            self.ring,
            self.playout,
            self.mixer,
            self.reception,
            self.concealer,
            self.delay,
            self.comfort,
            self.vad,
            self.quality,
        ):
            module.reset(rows)
        for column in _CLEARED:
            getattr(self, column)[row] = 0
        self.slot[row] = NO_SLOT
        self.accept[row] = NOT_ACCEPTED
        self.noise_type[row] = NOT_ACCEPTED
        self.sequence[row], self.timestamp[row], self.ssrc[row] = (
            rng.integers(0, 1 << 16),
            rng.integers(0, 1 << 32),
            rng.integers(1, 1 << 32),
        )
        self.marker[row] = 1
        self.plane.uplink_head[row] = 0
        self.plane.stats[row] = 0
        self.generation[row] = self._next_generation
        self._next_generation += 1
        self.plane.stats["opened_ns"][row] = now_ns
        self.plane.stats["generation"][row] = self.generation[row]
        self.open_count += 1
        return row

    def close(self, row: int) -> None:
        """Free the row; it is the last to be used again."""
        self.unschedule(row)
        self.mixer.reset(np.array([row], np.intp))
        self.generation[row] = 0
        self.plane.stats["generation"][row] = 0
        self.open_count -= 1
        self._free.append(row)

    def comfort_noise(self, row: int, payload: npt.NDArray[np.uint8]) -> None:
        """The sender falls silent by agreement (RFC 3389) and says how its silence sounds."""
        self.comfort.describe(row, payload)
        self.silent_until[row] = UNKNOWN

    def silent(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Whether the sender is silent by agreement at each cursor (k,): until its next packet is to be played."""
        silent: npt.NDArray[np.bool_] = self.ring.cursor[rows] < self.silent_until[rows]
        return silent

    def publish(self, rows: Rows, now_ns: int) -> None:
        """Bring the statistics of these rows on the plane up to date."""
        stats = self.plane.stats
        self.reception.export(stats, rows)
        stats["delay_target_ms"][rows] = self.delay.target[rows] / 8.0
        stats["drift_ppm"][rows] = self.delay.drift.ppm[rows]
        stats["level_in_db"][rows] = level_dbov(self.energy_in[rows])
        stats["level_out_db"][rows] = level_dbov(self.energy_out[rows])
        played = rows[self.ring.started[rows] & (now_ns - self.last_packet_ns[rows] < ENDED_NS)]
        read = self.ring.cursor[played] - FRAME  # where the frame of this slot was
        delay_ms = self.delay.present(played, now_ns, read) / 8.0
        stats["delay_ms"][played] = delay_ms
        self.delays_seen[played] += 1
        stats["delay_mean_ms"][played] += (delay_ms - stats["delay_mean_ms"][played]) / self.delays_seen[played]

    def rate(self, rows: Rows) -> None:
        """Rate the quality interval of these rows that ends now (E-model), and begin the next.

        Legs that are not to hear anything (on hold) have no quality.
        """
        stats = self.plane.stats
        # Mouth to ear as far as this end can know: a packet's own 20 ms, half the round trip, the play-out delay.
        delay_ms = 20.0 + stats["rtt_ms"][rows] / 2.0 + stats["delay_ms"][rows]
        rating = self.quality.rate(rows, delay_ms)
        known = (rating.mos > 0) & self.receiving[rows]
        stats["r_factor"][rows] = np.where(known, rating.r, 0.0)
        stats["mos"][rows] = np.where(known, rating.mos, 0.0)
        stats["burst_ratio"][rows] = rating.burst_ratio
        heard, r = rows[known], rating.r[known]
        self.rated[heard] += 1
        stats["r_mean"][heard] += (r - stats["r_mean"][heard]) / self.rated[heard]
        stats["mos_mean"][heard] = mos(stats["r_mean"][heard])

    def holds(self, row: int, generation: int) -> bool:
        """Whether this leg is still the row's."""
        return 0 <= row < self.capacity and generation != 0 and int(self.generation[row]) == generation

    def schedule(self, row: int, slot: int) -> None:
        """From now on `slot` serves this row."""
        self.unschedule(row)
        self.slot[row] = slot
        self.rows_of_slot[slot] = np.sort(np.append(self.rows_of_slot[slot], row))

    def unschedule(self, row: int) -> None:
        """No slot serves this row."""
        if row in self.waiting:
            self.waiting.remove(row)
        slot = int(self.slot[row])
        if slot != NO_SLOT:
            rows = self.rows_of_slot[slot]
            self.rows_of_slot[slot] = rows[rows != row]
            self.slot[row] = NO_SLOT

    def schedule_near(self, rows: Rows, wanted: npt.NDArray[np.float64]) -> None:
        """Serve these legs in the slots nearest to where they would best be served."""
        for row, slot in zip(rows.tolist(), wanted.tolist(), strict=True):
            self.schedule(row, self.nearest(slot))

    def nearest(self, wanted: float) -> int:
        """The slot to serve a leg in that would best be served in slot `wanted`, which may lie between two.

        The nearest, unless it has far more to do than the other: where all legs' packets come at the same moment
        (a PBX with one clock for all its calls), a few milliseconds more are better than a slot that does everything.
        """
        near = round(wanted)
        other = near + 1 if wanted > near else near - 1
        near, other = near % self.slots, other % self.slots
        crowded = len(self.rows_of_slot[near]) > 2 * len(self.rows_of_slot[other]) + CROWD
        return other if crowded else near

    def schedule_waiting(self, now_ns: int) -> None:
        """Legs that were configured a while ago and still hear nothing begin to send."""
        for row in [row for row in self.waiting if now_ns - int(self.configured_ns[row]) >= START_NS]:
            self.schedule(row, self.lightest(tuple(range(self.slots))))

    def lightest(self, candidates: tuple[int, ...]) -> int:
        """Of these slots the one that serves fewest rows; the first named wins a tie."""
        return min(candidates, key=lambda slot: len(self.rows_of_slot[slot]))


_CLEARED: Final = (
    "configured_ns",
    "sending",
    "receiving",
    "payload_type",
    "law",
    "halves",
    "dialling",
    "quiet",
    "silent_until",
    "media_ms",
    "energy_in",
    "energy_out",
    "delays_seen",
    "rated",
)
