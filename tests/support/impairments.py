"""Seeded models of what a network does to a packet stream, on a virtual clock.

Owns loss masks, delays and the arrival schedule that they make. Refuses to know what a packet holds: a packet is
its number. Every model draws from the generator that it is given, so a seed names one network exactly.

    rng = np.random.default_rng(7)
    network = schedule(3000, lost=gilbert_elliott(3000, 0.05, 3, rng), delay_ns=gamma_jitter(3000, 30, rng))
    for number, arrival_ns in network: ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MS = 1_000_000
Mask = npt.NDArray[np.bool_]
Ns = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Schedule:
    """Packets in the order of their arrival. number (m,) int64: which packet; arrival_ns (m,) int64, rising.

    sent_ns (n,) int64 by packet number; a lost packet has no arrival, a duplicated one has two.
    """

    number: npt.NDArray[np.int64]
    arrival_ns: Ns
    sent_ns: Ns

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self.number.tolist(), self.arrival_ns.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.number)


def sending_times(packets: int, ptime_ms: float = 20, ppm: float = 0.0) -> Ns:
    """When a sender whose clock runs `ppm` fast emits its packets, on the receiver's clock. (packets,) int64 ns."""
    return np.rint(np.arange(packets) * (ptime_ms * MS / (1 + ppm * 1e-6))).astype(np.int64)


def schedule(
    packets: int,
    *,
    sent_ns: Ns | None = None,
    lost: Mask | None = None,
    delay_ns: Ns | None = None,
    duplicated: Mask | None = None,
    in_order: bool = False,
    transit_ns: int = 20 * MS,
) -> Schedule:
    """Put the models together. in_order: a queue that no packet overtakes, so one that is late delays the next."""
    sent = sending_times(packets) if sent_ns is None else sent_ns
    arrival = sent + transit_ns
    if delay_ns is not None:
        arrival = arrival + delay_ns
    if in_order:
        arrival = np.maximum.accumulate(arrival)
    number = np.arange(packets, dtype=np.int64)
    if duplicated is not None:
        number = np.concatenate([number, number[duplicated]])
        arrival = np.concatenate([arrival, arrival[duplicated] + MS])
    if lost is not None:
        kept = ~lost[number]
        number, arrival = number[kept], arrival[kept]
    order = np.argsort(arrival, kind="stable")
    return Schedule(number[order], arrival[order], sent)


def uniform(packets: int, rate: float, rng: np.random.Generator) -> Mask:
    """Each packet is hit with probability `rate`, whatever happened before. Serves loss and duplication."""
    return rng.random(packets) < rate


def gilbert_elliott(packets: int, rate: float, burst: float, rng: np.random.Generator) -> Mask:
    """Two states; every packet of the bad one is lost. rate: mean loss; burst: mean packets of a loss run, ≥ 1.

    A loss ends with probability 1/burst and begins with what makes the long-run rate come out.
    """
    ends = 1 / burst
    begins = rate * ends / (1 - rate)
    draws = rng.random(packets)
    lost = np.zeros(packets, dtype=bool)
    bad = False
    for i in range(packets):
        bad = draws[i] >= ends if bad else draws[i] < begins
        lost[i] = bad
    return lost


def gamma_jitter(packets: int, sigma_ms: float, rng: np.random.Generator, shape: float = 4.0) -> Ns:
    """Independent gamma delays of standard deviation `sigma_ms`; packets overtake one another freely."""
    return np.rint(rng.gamma(shape, sigma_ms / np.sqrt(shape), packets) * MS).astype(np.int64)


def reordering(packets: int, rate: float, by_ms: float, rng: np.random.Generator) -> Ns:
    """A share `rate` of the packets takes a way that is `by_ms` longer."""
    return np.where(rng.random(packets) < rate, np.int64(by_ms * MS), np.int64(0))


def spike(packets: int, first: int, length: int, extra_ms: float) -> Ns:
    """Packets first … first + length − 1 are `extra_ms` late: a route that was worse for a while."""
    delay = np.zeros(packets, dtype=np.int64)
    delay[first : first + length] = int(extra_ms * MS)
    return delay


def stall(packets: int, first: int, length: int, ptime_ms: float = 20) -> Ns:
    """The network stands still: packets first … first + length − 1 all arrive when the last of them is sent."""
    delay = np.zeros(packets, dtype=np.int64)
    delay[first : first + length] = ((length - 1 - np.arange(length)) * (ptime_ms * MS)).astype(np.int64)
    return delay
