"""Both capture formats, both byte orders, every time resolution; damage is named, a torn end is not an error."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.pcap import NotACapture, Packet, packets

from tests.support.captures import ETHERNET, RAW, block, pcap, pcapng

SECOND = 1_700_000_000_000_000_000
SOME = [(SECOND, b"one"), (SECOND + 20_000_000, b"three"), (SECOND + 20_123_000, b"")]


def read(data: bytes) -> list[Packet]:
    return list(packets(io.BytesIO(data)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap(order: str, nanoseconds: bool) -> None:
    found = read(pcap(SOME, ETHERNET, order, nanoseconds))
    assert [(p.time_ns, p.data) for p in found] == SOME
    assert [p.number for p in found] == [1, 2, 3]
    assert {(p.link, p.cut) for p in found} == {(ETHERNET, 0)}


def test_pcap_with_nanoseconds_keeps_them() -> None:
    assert read(pcap([(SECOND + 7, b"x")], nanoseconds=True))[0].time_ns == SECOND + 7


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [None, 6, 9, 0x80 | 20])
@pytest.mark.parametrize("offset_s", [0, 1_000_000])
def test_pcapng(order: str, resolution: int | None, offset_s: int) -> None:
    found = read(pcapng(SOME, RAW, order, resolution, offset_s))
    assert [p.data for p in found] == [data for _, data in SOME]
    for packet, (time_ns, _) in zip(found, SOME, strict=True):
        assert abs(packet.time_ns - time_ns) < 1000  # 2⁻²⁰ s is no whole number of ns
    assert {p.link for p in found} == {RAW}


def test_pcapng_blocks_of_other_kinds_and_a_second_section() -> None:
    simple = block(3, struct.pack("<I", 5) + b"alone")
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 1_000_000, 3, 9) + b"old")
    strange = block(0xBAD, b"whatever")
    first = pcapng(SOME[:1]) + strange + simple + old
    found = read(first + pcapng(SOME[1:], ETHERNET, ">"))
    assert [p.data for p in found] == [b"one", b"alone", b"old", b"three", b""]
    assert [p.link for p in found] == [RAW, RAW, RAW, ETHERNET, ETHERNET]
    assert (found[1].time_ns, found[2].time_ns, found[2].cut) == (0, 1_000_000_000, 6)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\xd4\xc3\xb2\xa1tooshort"])
def test_what_is_no_capture(data: bytes) -> None:
    with pytest.raises(NotACapture):
        read(data)


@pytest.mark.parametrize("made", [pcap(SOME), pcapng(SOME)])
def test_a_torn_end_is_an_end(made: bytes) -> None:
    whole = [p.data for p in read(made)]
    assert [p.data for p in read(made[:-1])] == whole[:-1]


@pytest.mark.parametrize(
    "data",
    [
        pcap([]) + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30),
        pcapng([]) + struct.pack("<II", 6, 13),
        pcapng([]) + struct.pack("<II", 6, 1 << 30),
        pcapng([]) + block(6, bytes(4)),
        pcapng([]) + block(6, struct.pack("<IIIII", 7, 0, 0, 0, 0)),
        pcapng([]) + block(6, struct.pack("<IIIII", 0, 0, 0, 400, 400) + b"short"),
        pcapng([]) + block(1, b"\1"),
        pcapng([])[:4] + struct.pack("<II", 28, 0) + bytes(20),
        pcapng([])[:4] + struct.pack("<II", 16, 0x1A2B3C4D) + bytes(20),
        block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(3, struct.pack("<I", 0)),
    ],
)
def test_damage_is_named(data: bytes) -> None:
    with pytest.raises(NotACapture, match="damaged"):
        read(data)


@given(st.binary(max_size=200), st.sampled_from([pcap(SOME), pcapng(SOME)]), st.integers(0, 400))
def test_no_octets_do_worse_than_that(noise: bytes, base: bytes, at: int) -> None:
    data = base[:at] + noise + base[at + len(noise) :]
    try:
        found = read(data)
    except NotACapture:
        return
    assert sum(len(p.data) for p in found) <= len(data)
