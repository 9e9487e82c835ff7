"""A captured call in which everything happens once that a receiver has to live with.

`packets()` is what arrives, as (ns since the first, datagram); `capture()` is it as a pcap file, with neighbours.
"""

from __future__ import annotations

import itertools
import struct

from tests.support.captures import CALLER, ETHERNET, GATEWAY, framed, pcap, udp
from tests.support.engine import rtp_packet

MS = 1_000_000
PTIME = 20 * MS
START_NS = 1_700_000_000_000_000_000
FRAMES = 200


def frame(n: int) -> bytes:
    """A square wave with pauses, of plain integers: every machine makes the same."""
    if n // 20 % 2:
        return b"\xff" * 160
    return bytes(0x20 if (n * 160 + i) // 25 % 2 else 0xA0 for i in range(160))


def voice(n: int, *, ssrc: int = 0x11, jump: int = 0, payload_type: int = 0) -> bytes:
    return rtp_packet(1000 + n, 16_000 + (n + jump) * 160, frame(n), payload_type, ssrc, marker=n == 0)


def packets() -> list[tuple[int, bytes]]:
    found = []
    for n in range(FRAMES):
        at = n * PTIME
        if n in (30, 31):  # lost
            continue
        if n == 40:  # overtaken by the next
            at += 25 * MS
        if n == 60:  # too late
            at += 150 * MS
        ssrc = 0x22 if n >= 150 else 0x11  # transferred to another phone …
        jump = 100_000 if n >= 110 else 0  # whose clock, or this one's, is another
        found.append((at, voice(n, ssrc=ssrc, jump=jump)))
        if n == 50:
            found.append((at + MS, voice(n)))  # twice
    found += [
        (70 * PTIME + MS, voice(70, payload_type=96)),
        (71 * PTIME + MS, b"\x80\x00\x01"),
        (72 * PTIME + MS, b"\x00" + voice(72)[1:]),
        (73 * PTIME + MS, b"\x8f" + voice(73)[1:20]),
        (74 * PTIME + MS, b"\xa0" + voice(74)[1:-1] + b"\xff"),
        (75 * PTIME + MS, bytes(1600)),
        (76 * PTIME + MS, struct.pack(">BBHI", 0x80, 201, 1, 0x11)),
        (77 * PTIME + MS, voice(5000)),  # nobody confirms it
    ]
    for k in range(7):  # the key 5: four updates and three ends
        event = struct.pack(">BBH", 5, 0x8A if k >= 4 else 0x0A, min(k + 1, 5) * 160)
        found.append(((90 + k) * PTIME + MS, rtp_packet(1090 + k, 16_000 + 90 * 160, event, 101, 0x11, k == 0)))
    found.sort(key=lambda item: item[0])
    # Events have sequence numbers of their own in the stream: number the whole of it anew from there on.
    return _renumbered(found)


def _renumbered(found: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Give what follows the first event sequence numbers without gaps."""
    first = next(i for i, (_, data) in enumerate(found) if len(data) == 16)
    numbers = itertools.count(struct.unpack(">H", found[first - 1][1][2:4])[0] + 1)
    return found[:first] + [(at, data[:2] + struct.pack(">H", next(numbers)) + data[4:]) for at, data in found[first:]]


def capture() -> bytes:
    """The call as the gateway's host sees it: with our own stream, SIP, and something that is no UDP."""
    wire = [(START_NS + at, udp(CALLER, GATEWAY, data)) for at, data in packets()]
    wire += [(START_NS + n * PTIME + 7 * MS, udp(GATEWAY, CALLER, voice(n, ssrc=0x33))) for n in range(120)]
    wire.append((START_NS - 5 * MS, udp(("192.0.2.10", 5060), ("192.0.2.20", 5060), b"ACK sip:x SIP/2.0\r\n\r\n")))
    stray = udp(CALLER, GATEWAY, b"")
    wire.append((START_NS + 3 * MS, stray[:9] + b"\6" + stray[10:]))
    wire.sort()
    return pcap([(at, framed(packet, ETHERNET)) for at, packet in wire], ETHERNET)
