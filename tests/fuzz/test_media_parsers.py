"""Every parser that reads datagrams of the network: whatever the octets, an answer and never an exception.

Each is given every length of 0…64 and 1400…1500, random octets, octets that look right at the start, and
valid packets with octets changed, cut out, doubled and cut off.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp import packet, rtcp
from rtp.errors import IS_BAD, LABELS, RejectReason
from rtp.reception import Block, Reception
from rtp.source_lock import SourceLock
from rtp.srtp import SUITES, Srtp, pointer_to
from rtp.telephone_event import DIGITS, EventReceiver

LENGTHS = [*range(65), *range(1400, 1501)]
MTU = 1536
SUITE = "AES_CM_128_HMAC_SHA1_80"
KEY = bytes(range(SUITES[SUITE].key))


def rtp_packet(payload: bytes = bytes(160), first: int = 0x80) -> bytes:
    return struct.pack(">BBHII", first, 0, 1, 160, 7) + payload


def valid() -> dict[str, bytes]:
    """One packet of each kind."""
    report = rtcp.Rtcp(7, "name@host").report(10**18, 160, 50, 8000, Block(9, 1, 2, 3, 4), bye=True)
    sender = Srtp(SUITE, KEY, KEY, 7)
    return {
        "rtp": rtp_packet(),
        "rtp with everything": rtp_packet(b"c" * 12 + b"\xbe\xde\0\2extnextnpayload\0\0\3", first=0xB3),
        "event": struct.pack(">BBH", 5, 0x8A, 800),
        "rtcp": report,
        "srtp": sender.protect(rtp_packet()),
        "srtcp": sender.protect_rtcp(report),
    }


def mutated(draw: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        kind = draw.randrange(5)
        at = draw.randrange(len(out)) if out else 0
        if kind == 0 and out:
            out[at] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
        elif kind == 1 and out:
            out[at] ^= 1 << draw.randrange(8)
        elif kind == 2:
            del out[at : at + draw.randint(1, 8)]
        elif kind == 3:
            out[at:at] = out[at : at + draw.randint(1, 40)] * draw.randint(1, 8)
        else:
            del out[at:]
    return bytes(out[:MTU])


def check_packet(data: bytes) -> None:
    batch = np.full((2, MTU), 0xFF, dtype=np.uint8)
    batch[:, : len(data)] = np.frombuffer(data, np.uint8)
    before = batch.copy()
    columns = packet.parse(batch, np.array([len(data), len(data)]))
    assert (batch == before).all()
    for row in range(2):
        assert columns.reject[row] < len(LABELS)
        end = columns.payload_offset[row] + columns.payload_length[row]
        assert 0 <= columns.payload_offset[row] <= end <= max(len(data), 0)
        assert not columns.reject[row] or columns.payload_length[row] == 0


def check_rtcp(data: bytes) -> None:
    compound = rtcp.parse(data)
    assert compound.reject in (RejectReason.OK, RejectReason.BAD_RTCP)
    assert rtcp.parse(memoryview(data)) == compound
    assert len(compound.blocks) * 24 + len(compound.bye) * 4 + len(compound.cname.encode()) <= 3 * len(data)
    leg = rtcp.Rtcp(7, "c")
    leg.take(compound, 10**18)
    assert 0 <= leg.remote_loss < 1
    assert 0 <= leg.rtt_ms < rtcp.MAX_RTT_MS
    rtcp.parse(leg.report(10**18 + 10**9, 0, 0, 0, None))


def check_event(data: bytes) -> None:
    receiver = EventReceiver()
    presses = []
    for now in range(3):
        heard = receiver.feed(0xFFFF_FF00, data, now)
        assert heard.bad == (len(data) == 0 or len(data) % 4 != 0)
        presses += heard.presses
    presses += [p] if (p := receiver.poll(10**12)) else []
    assert all(p.digit in DIGITS and 0 <= p.timestamp < 1 << 32 for p in presses)
    assert len(presses) <= len(data) // 4
    assert not receiver.receiving


def check_srtp(data: bytes) -> None:
    leg = Srtp(SUITE, KEY, KEY, 8)
    for opened in (leg.unprotect, leg.unprotect_rtcp):
        buffer = bytearray(data) + b"guard" * 8
        size = opened(pointer_to(buffer), len(data))
        assert buffer[len(data) :] == b"guard" * 8
        if size < 0:
            assert IS_BAD[-size]
            assert buffer[: len(data)] == data
        else:
            assert size < len(data)


CHECKS: dict[str, Callable[[bytes], None]] = {
    "packet": check_packet,
    "rtcp": check_rtcp,
    "telephone_event": check_event,
    "srtp": check_srtp,
}
every_parser = pytest.mark.parametrize("parser", CHECKS)


def starts() -> Iterator[bytes]:
    """Beginnings that lead into every branch: versions, flags, counts and packet types."""
    yield b""
    for first in (0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xB1, 0xBF, 0x40, 0x00):
        for second in (0, 101, 0x80, 200, 201, 202, 203, 204, 205, 207):
            yield bytes([first, second])


@every_parser
def test_every_length(parser: str) -> None:
    draw = random.Random(1)
    beginnings = list(starts())
    for length in LENGTHS:
        for start in beginnings if length <= 64 else draw.sample(beginnings, 12):
            for filler in (bytes(length), b"\xff" * length, draw.randbytes(length)):
                CHECKS[parser]((start + filler)[:length])
        words = struct.pack(">H", max(length // 4 - 1, 0))  # an RTCP length that fits
        for kind in range(200, 208):
            CHECKS[parser]((bytes([0x81, kind]) + words + draw.randbytes(length))[:length])


@every_parser
@given(data=st.binary(max_size=200))
@settings(max_examples=300)
def test_any_octets(parser: str, data: bytes) -> None:
    CHECKS[parser](data)


@every_parser
def test_valid_packets_with_errors(parser: str) -> None:
    draw = random.Random(2)
    for name, data in valid().items():
        CHECKS[parser](data)
        for _ in range(1500 if name != "event" else 300):
            CHECKS[parser](mutated(draw, data))


def test_a_batch_of_anything_through_parser_and_reception() -> None:
    """What one hostile batch leaves behind is still a state that a good stream can use."""
    draw = random.Random(3)
    legs = Reception(32)
    rows = np.arange(32)
    for n in range(300):
        data = [mutated(draw, draw.choice([*valid().values()][:2])) for _ in rows]
        batch = np.zeros((32, MTU), np.uint8)
        for row, one in enumerate(data):
            batch[row, : len(one)] = np.frombuffer(one, np.uint8)
        columns = packet.parse(batch, np.array([len(one) for one in data]))
        good = np.flatnonzero(columns.reject == 0)
        arrival = legs.update(
            rows[good], columns.sequence[good], columns.timestamp[good], columns.ssrc[good], n * 20_000_000
        )
        assert (arrival.reject < len(LABELS)).all()
    assert np.isfinite(legs.jitter).all()
    assert (legs.expected(rows) >= 0).all()
    for row in rows.tolist():
        block = legs.report(row)
        if block is not None:
            assert 0 <= block.fraction_lost <= 255
            assert rtcp.parse(rtcp.Rtcp(1, "c").report(0, 0, 0, 0, block)).reject == RejectReason.OK


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(-1, 5), st.integers(-1, 65535), st.integers(0, 10**9), st.booleans()),
        max_size=100,
    )
)
def test_strangers_of_any_kind_never_move_a_leg_that_is_off(packets: list[tuple[int, int, int, int, bool]]) -> None:
    lock = SourceLock()
    lock.expect(("192.0.2.1", 4000), None, "off", 0)
    now = 0
    for port, ssrc, sequence, wait, heard in packets:
        now += wait
        assert lock.stranger(("192.0.2.2", port), ssrc, sequence, now, now, now if heard else 0).adopt is None
    assert lock.believed == ("192.0.2.1", 4000)
