"""From what the other processes report to the metrics table: loop counters, agent counters, leg statistics.

Counters of legs live on the audio plane and vanish with their row; here they are added up so that a sum
never goes backwards when a leg closes and nothing is counted twice. Knows the field names; reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from prometheus_client import Counter

from gateway.ops.absorbed import advance
from gateway.ops.metrics import Metrics
from gateway.sip.events import AgentCounters, AgentReady, CertificateTaken, RegistrationChanged
from gateway.trunks import Trunk
from rtp.control import EngineReady, LoopCounters
from rtp.plane import STATS

#: Where each counter field of `rtp.plane.STATS` goes.
_TARGETS: Final[dict[str, Callable[[Metrics], Counter]]] = {
    "packets_received": lambda m: m.rtp_packets["in"],
    "packets_sent": lambda m: m.rtp_packets["out"],
    "bytes_received": lambda m: m.rtp_bytes["in"],
    "bytes_sent": lambda m: m.rtp_bytes["out"],
    "packets_lost": lambda m: m.rtp_lost,
    "packets_expected": lambda m: m.rtp_expected,
    "packets_late": lambda m: m.rtp_late,
    "packets_duplicate": lambda m: m.rtp_duplicate,
    "packets_reordered": lambda m: m.rtp_reordered,
    "packets_stranger": lambda m: m.rtp_stranger,
    "packets_refused": lambda m: m.rtp_refused,
    "send_errors": lambda m: m.rtp_send_errors,
    "frames_up": lambda m: m.rtp_frames["uplink"],
    "frames_concealed": lambda m: m.rtp_frames["concealed"],
    "frames_noise": lambda m: m.rtp_frames["noise"],
    "frames_silent": lambda m: m.rtp_frames["silent"],
    "frames_played": lambda m: m.rtp_frames["played"],
    "frames_filled": lambda m: m.rtp_frames["filled"],
    "frames_trimmed": lambda m: m.rtp_delay_moves["trimmed"],
    "frames_stretched": lambda m: m.rtp_delay_moves["stretched"],
    "resyncs": lambda m: m.rtp_resyncs["timestamp"],
    "ssrc_changes": lambda m: m.rtp_resyncs["ssrc"],
    "underrun_20ms": lambda m: m.rtp_underruns["20ms"],
    "underrun_60ms": lambda m: m.rtp_underruns["60ms"],
    "underrun_200ms": lambda m: m.rtp_underruns["200ms"],
    "underrun_1s": lambda m: m.rtp_underruns["1s"],
    "digits_received": lambda m: m.rtp_digits["in"],
    "digits_sent": lambda m: m.rtp_digits["out"],
    "rtcp_received": lambda m: m.rtcp_packets["in"],
    "rtcp_sent": lambda m: m.rtcp_packets["out"],
}
COUNTER_FIELDS: Final = tuple(_TARGETS)


class LegTotals:
    """Adds up the counters of all legs that ever were. `capacity`: rows of the plane."""

    def __init__(self, metrics: Metrics, capacity: int) -> None:
        self._metrics = metrics
        self._targets = [target(metrics) for target in _TARGETS.values()]
        self._generation = np.zeros(capacity, np.uint64)
        self._seen = np.zeros((capacity, len(COUNTER_FIELDS)), np.float64)
        # Rows that were taken by a new leg before the old one's `LegClosed` was read.
        self._overtaken: dict[tuple[int, int], npt.NDArray[np.float64]] = {}

    def observe(self, stats: npt.NDArray[np.void]) -> None:
        """Count what live legs have gained since last time. stats: (capacity,) of `STATS`."""
        generation = stats["generation"]
        live = generation != 0
        for row in np.flatnonzero(live & (self._generation != 0) & (generation != self._generation)):
            if len(self._overtaken) < len(generation):
                self._overtaken[int(row), int(self._generation[row])] = self._seen[row].copy()
        fresh = live & (generation != self._generation)
        self._seen[fresh] = 0
        self._generation[fresh] = generation[fresh]
        rows = np.flatnonzero(live)
        now = np.stack([stats[name][rows].astype(np.float64) for name in COUNTER_FIELDS], axis=1)
        # A value may shrink (RFC 3550 A.3 lost, when late packets come): what was counted stays counted.
        now = np.maximum(now, self._seen[rows])
        self._count((now - self._seen[rows]).sum(axis=0))
        self._seen[rows] = now

    def closed(self, row: int, generation: int, statistics: Mapping[str, float]) -> None:
        """A leg has ended: count what it gained since it was last observed, and its quality."""
        if int(self._generation[row]) == generation:
            base = self._seen[row].copy()
            self._generation[row] = 0
            self._seen[row] = 0
        else:
            base = self._overtaken.pop((row, generation), np.zeros(len(COUNTER_FIELDS)))
        final = np.array([float(statistics.get(name, 0)) for name in COUNTER_FIELDS])
        self._count(np.maximum(final - base, 0))
        observe_quality(self._metrics, statistics)

    def restarted(self) -> None:
        """The rtp process was started anew; its generations begin again."""
        self._generation[:] = 0
        self._seen[:] = 0
        self._overtaken.clear()

    def _count(self, gained: npt.NDArray[np.float64]) -> None:
        for target, amount in zip(self._targets, gained.tolist(), strict=True):
            if amount:
                target.inc(amount)


def observe_quality(metrics: Metrics, statistics: Mapping[str, float]) -> None:
    """Histograms of a leg that has ended. A leg that never received has no quality to speak of."""
    get = statistics.get
    if not get("packets_received"):
        return
    metrics.leg_jitter.observe(get("jitter_ms", 0.0) / 1000)
    metrics.leg_delay.observe(get("delay_mean_ms", 0.0) / 1000)
    metrics.leg_loss.observe(max(0.0, get("packets_lost", 0.0)) / max(1.0, get("packets_expected", 0.0)))
    metrics.leg_concealed.observe(get("frames_concealed", 0.0) / max(1.0, get("frames_up", 0.0)))
    known = (("mos_mean", metrics.leg_mos, 1), ("r_mean", metrics.leg_r, 1), ("rtt_ms", metrics.leg_rtt, 1000))
    for name, histogram, scale in known:
        if value := get(name, 0.0):  # 0: not known
            histogram.observe(value / scale)


class LoopFeed:
    """What the real-time loop reports each second."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._slots = self._missed = 0
        self.notes: list[str] = []  #: what the host does not permit the loop, in words

    def ready(self, event: EngineReady) -> None:
        self.notes = event.notes
        self._metrics.realtime_fifo.set(event.scheduler == "fifo")
        self._metrics.realtime_notes.set(len(event.notes))

    def absorb(self, event: LoopCounters) -> None:
        m = self._metrics
        m.rtp_legs.set(event.legs)
        m.rtp_ports["free"].set(event.ports_free)
        m.rtp_ports["quarantined"].set(event.ports_quarantined)
        m.rtp_slots.inc(advance(self._slots, event.slots))
        m.rtp_slots_missed.inc(advance(self._missed, event.slots_missed))
        self._slots, self._missed = event.slots, event.slots_missed
        m.rtp_rejected.absorb(event.rejected)
        m.slot_lateness.absorb(event.lateness, event.lateness_sum_s)
        m.interval_error.absorb(event.interval_error, event.interval_error_sum_s)

    def restarted(self) -> None:
        self._slots = self._missed = 0
        m = self._metrics
        m.rtp_legs.set(0)
        for absorbed in (m.rtp_rejected, m.slot_lateness, m.interval_error):
            absorbed.restarted()


class AgentFeed:
    """What the sip process reports: its counters each second, and how our registrations stand.

    registrations: by trunk, of those that register.
    """

    def __init__(self, metrics: Metrics, trunks: Sequence[Trunk] = ()) -> None:
        self._metrics = metrics
        self._expires_unix = 0.0
        self.registrations: dict[str, RegistrationChanged] = {}
        self.reconfigure(trunks)

    def reconfigure(self, trunks: Sequence[Trunk]) -> None:
        """Other trunks; of those that stay, what is known."""
        before = self.registrations
        names = [trunk.name for trunk in trunks if trunk.registration is not None]
        self.registrations = {name: before.get(name, RegistrationChanged(name, "off")) for name in names}
        for name in before.keys() - self.registrations.keys():
            self._metrics.trunk_registered.remove(name)
        self._show()

    def ready(self, event: AgentReady) -> None:
        self._metrics.sip_fit.set(event.fit_for_network)
        self._metrics.sip_max_calls.set(event.max_calls)

    def registration(self, event: RegistrationChanged) -> None:
        if event.trunk in self.registrations:  # else it is gone, and this was under way
            self.registrations[event.trunk] = event
            self._show()

    def absorb(self, event: AgentCounters) -> None:
        self._metrics.sip_dialogs.set(event.dialogs)
        self._metrics.sip_events.absorb(event.counters)

    def certificate(self, event: CertificateTaken) -> None:
        """Of the TLS transports, at the start and whenever it was taken up again."""
        if event.problem:
            self._metrics.sip_certificate["refused"].inc()
        else:
            self._metrics.sip_certificate["ok"].inc()
            self._expires_unix = event.expires_unix

    def at(self, now_unix: float) -> None:
        """What changes with time alone."""
        if self._expires_unix:
            self._metrics.sip_certificate_days.set((self._expires_unix - now_unix) / 86_400)

    def restarted(self) -> None:
        self._metrics.sip_dialogs.set(0)
        self._metrics.sip_events.restarted()
        for name in self.registrations:
            self.registrations[name] = RegistrationChanged(name, "off")
        self._show()

    def _show(self) -> None:
        for name, news in self.registrations.items():
            self._metrics.trunk_registered.labels(name).set(news.state == "registered")


def row_as_dict(row: np.void) -> dict[str, float]:
    """One row of `STATS` as plain numbers by name, for JSON and the call record."""
    return {name: row[name].item() for name in STATS.names or ()}
