"""Capture files made from datagrams: every link type and both formats, for whatever reads captures.

pcap([(0, udp(A, B, b"…"))]), pcapng(…): the octets of a file; framed(packet, link): behind a link layer's header.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence

Address = tuple[str, int]
Timed = tuple[int, bytes]  # time_ns, packet

ETHERNET, NULL, RAW, COOKED, COOKED_2, IPV4, IPV6 = 1, 0, 101, 113, 276, 228, 229
CALLER, GATEWAY = ("192.0.2.10", 4000), ("192.0.2.20", 16384)


def udp(source: Address, destination: Address, payload: bytes, hop_by_hop: int = 0) -> bytes:
    """An IP packet, v4 or v6 by its addresses. hop_by_hop: so many IPv6 extension headers."""
    body = struct.pack(">HHHH", source[1], destination[1], 8 + len(payload), 0) + payload
    hosts = [ipaddress.ip_address(host) for host in (source[0], destination[0])]
    ends = b"".join(host.packed for host in hosts)
    if hosts[0].version == 4:
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0) + ends + body
    for following in [17] + [0] * (hop_by_hop - 1) if hop_by_hop else []:
        body = bytes([following, 0, 1, 4, 0, 0, 0, 0]) + body
    return struct.pack(">IHBB", 6 << 28, len(body), 0 if hop_by_hop else 17, 64) + ends + body


def framed(packet: bytes, link: int, vlans: int = 0) -> bytes:
    """The packet behind the header of its link layer."""
    ethertype = struct.pack(">H", 0x0800 if packet[0] >> 4 == 4 else 0x86DD)
    if link == ETHERNET:
        return bytes(12) + struct.pack(">HH", 0x8100, 7) * vlans + ethertype + packet
    if link == COOKED:
        return bytes(14) + ethertype + packet
    if link == COOKED_2:
        return ethertype + bytes(18) + packet
    if link == NULL:
        return struct.pack("<I", 2) + packet
    return packet


def pcap(packets: Iterable[Timed], link: int = RAW, order: str = "<", nanoseconds: bool = False) -> bytes:
    tick = 1 if nanoseconds else 1000
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    for time_ns, packet in packets:
        seconds, rest = divmod(time_ns, 1_000_000_000)
        parts.append(struct.pack(order + "IIII", seconds, rest // tick, len(packet), len(packet)) + packet)
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block; the body is padded."""
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def pcapng(
    packets: Sequence[Timed], link: int = RAW, order: str = "<", resolution: int | None = None, offset_s: int = 0
) -> bytes:
    """resolution: the octet of if_tsresol; None leaves it out (µs)."""
    options = b""
    if resolution is not None:
        options += struct.pack(order + "HHB3x", 9, 1, resolution)
    if offset_s:
        options += struct.pack(order + "HHq", 14, 8, offset_s)
    base = {None: 10**6}.get(resolution) or (
        2 ** (resolution & 0x7F) if (resolution or 0) & 0x80 else 10 ** (resolution or 0)
    )
    parts = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)]
    parts.append(block(1, struct.pack(order + "HHI", link, 0, 0) + options + bytes(4 if options else 0), order))
    for time_ns, packet in packets:
        ticks = (time_ns - offset_s * 1_000_000_000) * base // 1_000_000_000
        head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
        parts.append(block(6, head + packet, order))
    return b"".join(parts)
