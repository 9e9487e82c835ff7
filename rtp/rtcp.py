"""RTCP (RFC 3550 §6): reports out, reports in, round-trip time, and when the next one is due.

`parse` takes a datagram apart and never raises, whatever the octets; `Rtcp` keeps what one leg must remember
between packets. Owns packet formats and timing. Refuses to read clocks, to draw random numbers and to
decide whose packet it is (`source_lock.py`). Wall-clock time is only ever compared with itself.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from rtp.errors import RejectReason
from rtp.reception import Block

SENDER_REPORT, RECEIVER_REPORT, DESCRIPTION, BYE = 200, 201, 202, 203
INTERVAL_NS: Final = 5_000_000_000  #: RFC 3550 §6.2: the minimum, which governs a session of two
MAX_RTT_MS: Final = 60_000.0  #: a longer one is a mistake of the peer's clock arithmetic

_NTP_EPOCH_S: Final = 2_208_988_800  # 1900 to 1970
_COMPENSATION: Final = 2.718281828459045 - 1.5  # RFC 3550 A.7
_CNAME: Final = 1
_MAX_PACKETS: Final = 32  # in one datagram
_HEADER: Final = struct.Struct(">BBH")
_WORD: Final = struct.Struct(">I")
_SENDER: Final = struct.Struct(">IIIIII")
_BLOCK: Final = struct.Struct(">IIIIII")


class SenderInfo(NamedTuple):
    """RFC 3550 §6.4.1. ntp: 64 bits, 32.32 seconds since 1900."""

    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int


class ReportBlock(NamedTuple):
    """RFC 3550 §6.4.1, as received. fraction_lost of 256; jitter in timestamp units; lsr, dlsr in 1/65536 s."""

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    highest_sequence: int
    jitter: int
    lsr: int
    dlsr: int


class Compound(NamedTuple):
    """What a datagram said. reject: OK or BAD_RTCP; then the rest is empty. ssrc: of its first packet."""

    reject: RejectReason
    ssrc: int = 0
    sender: SenderInfo | None = None
    blocks: tuple[ReportBlock, ...] = ()
    cname: str = ""
    bye: tuple[int, ...] = ()


def ntp_from_unix(unix_ns: int) -> int:
    """64-bit NTP time of a Unix time in ns; wraps in 2036 as the field does."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return ((seconds + _NTP_EPOCH_S) & 0xFFFF_FFFF) << 32 | (rest << 32) // 1_000_000_000


def unix_from_ntp(ntp: int) -> int:
    """Unix time in ns of a 64-bit NTP time in the era 1968…2104 (RFC 4330 §3)."""
    seconds = ntp >> 32
    if seconds < 1 << 31:
        seconds += 1 << 32
    return (seconds - _NTP_EPOCH_S) * 1_000_000_000 + ((ntp & 0xFFFF_FFFF) * 1_000_000_000 + (1 << 31) >> 32)


def middle(ntp: int) -> int:
    """The middle 32 bits of a 64-bit NTP time: 1/65536 s."""
    return ntp >> 16 & 0xFFFF_FFFF


def parse(data: bytes | memoryview) -> Compound:
    """Take a datagram apart. Reduced-size packets (RFC 5506) are taken; what follows a damaged one is not."""
    ssrc: int | None = None
    sender: SenderInfo | None = None
    blocks: list[ReportBlock] = []
    bye: list[int] = []
    cname = ""
    at = 0
    for _ in range(_MAX_PACKETS):
        if at + _HEADER.size > len(data):
            break
        first, kind, words = _HEADER.unpack_from(data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or not 192 <= kind <= 223 or end > len(data):
            break
        count = first & 0x1F
        body = data[at + 4 : end]
        if first & 0x20:  # padding: §6.4.1, counted by its last octet
            if not body or not 0 < body[-1] <= len(body):
                break
            body = body[: len(body) - body[-1]]
        first_word = _WORD.unpack_from(body)[0] if len(body) >= 4 else None
        if ssrc is None and first_word is None:
            break  # nobody signs it
        if kind in (SENDER_REPORT, RECEIVER_REPORT):
            start = 24 if kind == SENDER_REPORT else 4
            if len(body) < start + 24 * count:
                break
            if kind == SENDER_REPORT and sender is None:
                _, high, low, timestamp, packets, octets = _SENDER.unpack_from(body)
                sender = SenderInfo(high << 32 | low, timestamp, packets, octets)
            blocks += (_block(body, start + 24 * k) for k in range(count))
        elif kind == DESCRIPTION:
            cname = cname or _cname(body, count)
        elif kind == BYE:
            if len(body) < 4 * count:
                break
            bye += struct.unpack_from(f">{count}I", body)
        if ssrc is None:
            ssrc = first_word
        at = end
    if ssrc is None:
        return Compound(RejectReason.BAD_RTCP)
    return Compound(RejectReason.OK, ssrc, sender, tuple(blocks), cname, tuple(bye))


def _block(body: bytes | memoryview, at: int) -> ReportBlock:
    ssrc, lost, highest, jitter, lsr, dlsr = _BLOCK.unpack_from(body, at)
    cumulative = (lost & 0xFF_FFFF) - ((lost & 0x80_0000) << 1)
    return ReportBlock(ssrc, lost >> 24, cumulative, highest, jitter, lsr, dlsr)


def _cname(body: bytes | memoryview, chunks: int) -> str:
    """The first CNAME of an SDES packet (RFC 3550 §6.5); empty when there is none."""
    at = 0
    for _ in range(chunks):
        at += 4  # the SSRC of the chunk
        while at + 2 <= len(body) and body[at] != 0:
            kind, size = body[at], body[at + 1]
            if at + 2 + size > len(body):
                return ""
            if kind == _CNAME:
                return bytes(body[at + 2 : at + 2 + size]).decode("utf-8", "replace")
            at += 2 + size
        at = (at + 4) & ~3  # one to four null octets end the chunk
    return ""


class Rtcp:
    """What one leg remembers. Figures of the peer's view of us are plain attributes.

    remote_loss: fraction 0…1 since the peer's last report; remote_jitter_ms; rtt_ms: 0 while not known;
    received, sent: datagrams; bye: the peer has said goodbye.
    """

    def __init__(self, ssrc: int, cname: str) -> None:
        self.ssrc = ssrc
        self.cname = cname
        self.remote_loss = 0.0
        self.remote_jitter_ms = 0.0
        self.rtt_ms = 0.0
        self.received = 0
        self.sent = 0
        self.bye = False
        self._last_sr = 0  # middle NTP bits of the peer's last sender report, 0: none
        self._last_sr_ns = 0
        self._packets_reported = 0

    def next_due(self, now_ns: int, random: float) -> int:
        """When the next report is due (RFC 3550 A.7). random: 0…1. Half as long before the first one."""
        interval = INTERVAL_NS if self.sent else INTERVAL_NS // 2
        return now_ns + int(interval * (0.5 + random) / _COMPENSATION)

    def take(self, compound: Compound, unix_ns: int) -> None:
        """Learn from a datagram of the peer. unix_ns: when it arrived."""
        self.received += 1
        if compound.sender is not None:
            self._last_sr = middle(compound.sender.ntp)
            self._last_sr_ns = unix_ns
        for block in compound.blocks:
            if block.ssrc != self.ssrc:
                continue
            self.remote_loss = block.fraction_lost / 256
            self.remote_jitter_ms = block.jitter / 8.0
            if block.lsr:
                # §6.4.1: A − LSR − DLSR, in serial arithmetic. A negative one is rounding: none.
                delta = (middle(ntp_from_unix(unix_ns)) - block.lsr - block.dlsr) & 0xFFFF_FFFF
                rtt_ms = (delta - ((delta & 0x8000_0000) << 1)) * 1000 / 65536
                if -1000 < rtt_ms < MAX_RTT_MS:
                    self.rtt_ms = max(rtt_ms, 0.001)
        if compound.bye:
            self.bye = compound.ssrc in compound.bye

    def report(
        self, unix_ns: int, rtp_timestamp: int, packets: int, octets: int, block: Block | None, bye: bool = False
    ) -> bytes:
        """A compound packet: SR or RR, SDES, and BYE when the leg ends.

        rtp_timestamp: of the moment unix_ns. packets, octets: sent since the leg opened, payload octets only. block:
        from `Reception.report`, None before the first packet.
        """
        blocks = b"" if block is None else self._pack(block, unix_ns)
        count = 0 if block is None else 1
        # §6.4: a sender report only when something was sent since the last one.
        if packets != self._packets_reported:
            ntp = ntp_from_unix(unix_ns)
            head = _HEADER.pack(0x80 | count, SENDER_REPORT, 6 + 6 * count) + _SENDER.pack(
                self.ssrc,
                ntp >> 32,
                ntp & 0xFFFF_FFFF,
                rtp_timestamp & 0xFFFF_FFFF,
                packets & 0xFFFF_FFFF,
                octets & 0xFFFF_FFFF,
            )
        else:
            head = _HEADER.pack(0x80 | count, RECEIVER_REPORT, 1 + 6 * count) + _WORD.pack(self.ssrc)
        self._packets_reported = packets
        self.sent += 1
        name = self.cname.encode()[:255]
        item = _WORD.pack(self.ssrc) + bytes((_CNAME, len(name))) + name
        item += bytes(4 - len(item) % 4)  # at least one null octet ends the chunk
        parts = [head, blocks, _HEADER.pack(0x81, DESCRIPTION, len(item) // 4), item]
        if bye:
            parts.append(_HEADER.pack(0x81, BYE, 1) + _WORD.pack(self.ssrc))
        return b"".join(parts)

    def _pack(self, block: Block, unix_ns: int) -> bytes:
        dlsr = (unix_ns - self._last_sr_ns) * 65536 // 1_000_000_000 if self._last_sr else 0
        return _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | block.cumulative_lost & 0xFF_FFFF,
            block.highest_sequence,
            block.jitter,
            self._last_sr,
            max(0, min(dlsr, 0xFFFF_FFFF)),
        )
