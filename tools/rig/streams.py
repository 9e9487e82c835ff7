"""Which RTP streams a capture holds: datagrams grouped by their addresses and SSRC.

Nothing in RTP says that it is RTP, so a group counts as a stream when enough of it looks like one. Owns that
judgement. Refuses to know files and what becomes of a stream.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from rig.datagrams import Address, Datagram

#: Packets of a group that must stand in sequence, and their share of it.
IN_SEQUENCE = 3
SHARE = 0.5


class Header(NamedTuple):
    """RFC 3550 §5.1."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int


class Flow(NamedTuple):
    """UDP from one address to another: what one leg of a gateway hears of its peer."""

    source: Address
    destination: Address

    def __str__(self) -> str:
        return " → ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self)


@dataclass
class Stream:
    """packets: their number; in_sequence: of these, so many came right behind the one before."""

    flow: Flow
    ssrc: int
    first_ns: int
    last_ns: int = 0
    packets: int = 0
    in_sequence: int = 0
    payload_types: Counter[int] = field(default_factory=Counter)
    sequence: int | None = None  # of the packet before

    def add(self, header: Header, time_ns: int) -> None:
        if self.sequence is not None:
            self.in_sequence += (header.sequence - self.sequence) & 0xFFFF == 1
        self.sequence = header.sequence
        self.packets += 1
        self.last_ns = max(self.last_ns, time_ns)
        self.payload_types[header.payload_type] += 1

    @property
    def looks_real(self) -> bool:
        return self.in_sequence >= IN_SEQUENCE and self.in_sequence >= SHARE * (self.packets - 1)

    def describe(self) -> dict[str, object]:
        return {
            "flow": str(self.flow),
            "ssrc": f"{self.ssrc:08x}",
            "packets": self.packets,
            "seconds": round((self.last_ns - self.first_ns) / 1e9, 3),
            "payload_types": dict(sorted(self.payload_types.items())),
        }


def header_of(payload: bytes) -> Header | None:
    """The fixed header, of what may be RTP. None for what is not version 2, too short, or RTCP (RFC 5761 §4)."""
    if len(payload) < 12 or payload[0] >> 6 != 2 or 192 <= payload[1] <= 223:
        return None
    _, second, sequence, timestamp, ssrc = struct.unpack_from(">BBHII", payload)
    return Header(second & 0x7F, second > 0x7F, sequence, timestamp, ssrc)


def find(datagrams: Iterable[Datagram]) -> list[Stream]:
    """The streams, in the order in which they begin."""
    groups: dict[tuple[Flow, int], Stream] = {}
    for datagram in datagrams:
        header = header_of(datagram.payload)
        if header is None:
            continue
        key = Flow(datagram.source, datagram.destination), header.ssrc
        if key not in groups:
            groups[key] = Stream(*key, datagram.time_ns)
        groups[key].add(header, datagram.time_ns)
    return [stream for stream in groups.values() if stream.looks_real]
