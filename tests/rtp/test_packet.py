"""The batch parser against a scalar one that reads RFC 3550 §5.1 octet by octet."""

import struct
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp import packet
from rtp.errors import RejectReason as R


class Plain(NamedTuple):
    reject: R
    payload_type: int = 0
    marker: int = 0
    sequence: int = 0
    timestamp: int = 0
    ssrc: int = 0
    payload: bytes = b""


def parse_plain(data: bytes) -> Plain:
    """One datagram, the slow and obvious way."""
    if len(data) >= 8 and data[0] >> 6 == 2 and 192 <= data[1] <= 223:
        return Plain(R.RTCP)
    if len(data) < 12:
        return Plain(R.SHORT)
    if data[0] >> 6 != 2:
        return Plain(R.BAD_VERSION)
    at = 12 + 4 * (data[0] & 15)
    if data[0] & 0x10:
        if at + 4 > len(data):
            return Plain(R.BAD_HEADER)
        at += 4 + 4 * struct.unpack_from(">H", data, at + 2)[0]
    if at > len(data):
        return Plain(R.BAD_HEADER)
    end = len(data)
    if data[0] & 0x20:
        if data[-1] == 0 or at + data[-1] > end:
            return Plain(R.BAD_PADDING)
        end -= data[-1]
    sequence, timestamp, ssrc = struct.unpack_from(">HII", data, 2)
    return Plain(R.OK, data[1] & 127, data[1] >> 7, sequence, timestamp, ssrc, data[at:end])


def batch_of(datagrams: list[bytes], mtu: int, stale: int = 0xA5) -> tuple[np.ndarray, np.ndarray]:
    batch = np.full((len(datagrams), mtu), stale, dtype=np.uint8)
    for row, data in enumerate(datagrams):
        cut = data[:mtu]
        batch[row, : len(cut)] = np.frombuffer(cut, dtype=np.uint8)
    return batch, np.array([len(data) for data in datagrams], dtype=np.int64)


def check(datagrams: list[bytes], mtu: int = 1500, stale: int = 0xA5) -> None:
    batch, lengths = batch_of(datagrams, mtu, stale)
    columns = packet.parse(batch, lengths)
    for row, data in enumerate(datagrams):
        expected = parse_plain(data)
        code = R(int(columns.reject[row]))
        offset, length = int(columns.payload_offset[row]), int(columns.payload_length[row])
        assert 0 <= offset <= offset + length <= mtu
        if len(data) > mtu:
            assert code == R.OVERSIZE
        else:
            assert code == expected.reject
        if code != R.OK:
            assert length == 0
            continue
        assert expected == (
            code,
            columns.payload_type[row],
            columns.marker[row],
            columns.sequence[row],
            columns.timestamp[row],
            columns.ssrc[row],
            batch[row, offset : offset + length].tobytes(),
        )


def header(first: int = 0x80, second: int = 0, tail: bytes = b"") -> bytes:
    return struct.pack(">BBHII", first, second, 7, 160, 0xDEADBEEF) + tail


CASES = {
    "plain": (header(tail=b"x" * 160), R.OK),
    "empty payload": (header(), R.OK),
    "marker": (header(second=0x80 | 101, tail=b"abcd"), R.OK),
    "two csrc": (header(0x82, tail=b"c" * 8 + b"payload"), R.OK),
    "csrc past the end": (header(0x82, tail=b"c" * 7), R.BAD_HEADER),
    "fifteen csrc and an extension": (header(0x9F, tail=b"c" * 60 + b"\0\0\0\1extnpay"), R.OK),
    "extension": (header(0x90, tail=b"\xbe\xde\0\1extnpay"), R.OK),
    "empty extension": (header(0x90, tail=b"\xbe\xde\0\0pay"), R.OK),
    "extension of 65535 words": (header(0x90, tail=b"\xbe\xde\xff\xffpay"), R.BAD_HEADER),
    "extension without its length": (header(0x90, tail=b"\xbe\xde"), R.BAD_HEADER),
    "padding": (header(0xA0, tail=b"pay\0\0\3"), R.OK),
    "only padding": (header(0xA0, tail=b"\0\0\3"), R.OK),
    "padding of zero": (header(0xA0, tail=b"pay\0"), R.BAD_PADDING),
    "padding longer than the payload": (header(0xA0, tail=b"\0\0\4"), R.BAD_PADDING),
    "padding without payload": (header(0xA0), R.BAD_PADDING),
    "version 1": (header(0x40, tail=b"x" * 160), R.BAD_VERSION),
    "stun": (bytes([0, 1, 0, 0]) + b"\x21\x12\xa4\x42" + b"t" * 12, R.BAD_VERSION),
    "sender report": (b"\x80\xc8\0\6" + b"r" * 24, R.RTCP),
    "empty receiver report": (b"\x80\xc9\0\1ssrc", R.RTCP),
    "payload type 72 without marker": (header(second=72, tail=b"x"), R.OK),
    "nothing": (b"", R.SHORT),
    "eleven octets": (header()[:11], R.SHORT),
    "too long": (header(tail=b"x" * 1500), R.OVERSIZE),
}


@pytest.mark.parametrize("name", CASES)
def test_known_packets(name: str) -> None:
    data, code = CASES[name]
    batch, lengths = batch_of([data], 1500)
    assert packet.parse(batch, lengths).reject.tolist() == [code]
    check([data])


def test_a_mixed_batch_gives_each_its_own_answer() -> None:
    check([data for data, _ in CASES.values()])


def test_an_empty_batch() -> None:
    columns = packet.parse(np.zeros((0, 1500), np.uint8), np.zeros(0, np.int32))
    assert all(len(column) == 0 for column in columns)


def test_absurd_lengths_are_harmless() -> None:
    batch = np.full((4, 64), 0xBF, dtype=np.uint8)
    lengths = np.array([-1, -(10**9), 2**31 - 1, 65535], dtype=np.int64)
    assert packet.parse(batch, lengths).reject.tolist() == [R.SHORT, R.SHORT, R.OVERSIZE, R.OVERSIZE]


likely = st.builds(
    lambda first, second, tail: header(first, second, tail),
    st.integers(0x80, 0xBF),
    st.integers(0, 255),
    st.binary(max_size=200),
)


@given(st.lists(st.one_of(likely, st.binary(max_size=200)), max_size=12), st.sampled_from([12, 64, 172, 1500]))
@settings(max_examples=300)
def test_the_batch_parser_agrees_with_the_plain_one(datagrams: list[bytes], mtu: int) -> None:
    check(datagrams, mtu)
    check(datagrams, mtu, stale=0xFF)


columns_of = st.lists(
    st.tuples(
        st.integers(0, 127),
        st.booleans(),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFF_FFFF),
        st.integers(0, 0xFFFF_FFFF),
    ),
    min_size=1,
    max_size=8,
)


@given(columns_of, st.sampled_from([12, 172, 175]))
def test_built_headers_are_what_the_rfc_says(rows: list[tuple[int, bool, int, int, int]], width: int) -> None:
    out = np.full((len(rows), width), 0x55, dtype=np.uint8)
    kinds, markers, sequences, stamps, sources = zip(*rows, strict=True)
    packet.build(
        out,
        np.array(kinds, np.uint8),
        np.array(markers),
        np.array(sequences, np.uint16),
        np.array(stamps, np.uint32),
        np.array(sources, np.uint32),
    )
    for row, (kind, marker, *numbers) in enumerate(rows):
        assert out[row, :12].tobytes() == struct.pack(">BBHII", 0x80, marker << 7 | kind, *numbers)
    assert (out[:, 12:] == 0x55).all()


def test_build_takes_scalars() -> None:
    out = np.zeros((2, 172), dtype=np.uint8)
    packet.build(out, 8, 1, 65535, 0xFFFFFFFF, 1)
    assert out[1, :12].tobytes() == struct.pack(">BBHII", 0x80, 0x88, 65535, 0xFFFFFFFF, 1)
