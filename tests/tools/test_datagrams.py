"""UDP out of every link layer and both versions of IP; what is left out is counted by its reason."""

import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.datagrams import Datagram, datagrams
from rig.pcap import Packet

from tests.support.captures import COOKED, COOKED_2, ETHERNET, IPV4, IPV6, NULL, RAW, framed, udp

A4, B4 = ("192.0.2.1", 4000), ("192.0.2.2", 5000)
A6, B6 = ("2001:db8::1", 4000), ("2001:db8::2", 5000)
LINKS = (ETHERNET, NULL, 108, RAW, 12, 14, COOKED, COOKED_2)


def read(data: bytes, link: int = RAW, cut: int = 0) -> tuple[list[Datagram], Counter[str]]:
    left_out: Counter[str] = Counter()
    return list(datagrams([Packet(9, 77, link, data, cut)], left_out)), left_out


def reason(data: bytes, link: int = RAW, cut: int = 0) -> str:
    found, left_out = read(data, link, cut)
    assert not found
    (only,) = left_out.elements()
    return only


@pytest.mark.parametrize(("source", "destination", "own"), [(A4, B4, IPV4), (A6, B6, IPV6)])
def test_every_link_layer(source: tuple[str, int], destination: tuple[str, int], own: int) -> None:
    for link in (*LINKS, own):
        base = NULL if link == 108 else link
        found, left_out = read(framed(udp(source, destination, b"payload"), base), link)
        assert found == [Datagram(9, 77, source, destination, b"payload")]
        assert not left_out


@pytest.mark.parametrize("vlans", [1, 2])
def test_vlan_tags_are_passed_over(vlans: int) -> None:
    found, _ = read(framed(udp(A4, B4, b"x"), ETHERNET, vlans), ETHERNET)
    assert found[0].payload == b"x"


def test_padding_of_a_short_ethernet_frame_is_no_payload() -> None:
    found, _ = read(framed(udp(A4, B4, b"x"), ETHERNET) + bytes(20), ETHERNET)
    assert found[0].payload == b"x"


def test_options_of_ipv4_and_extensions_of_ipv6() -> None:
    plain = udp(A4, B4, b"x")
    long = bytes([0x46]) + plain[1:2] + struct.pack(">H", len(plain) + 4) + plain[4:20] + bytes(4) + plain[20:]
    assert read(long)[0][0].payload == b"x"
    assert read(udp(A6, B6, b"x", hop_by_hop=2))[0][0].payload == b"x"


def test_what_is_left_out_has_a_reason() -> None:
    four, six = udp(A4, B4, b"x"), udp(A6, B6, b"x")
    assert reason(four, cut=1) == "cut short by the capture"
    assert reason(four, link=147) == "link type 147 is not known"
    assert reason(bytes(12) + b"\x08\x06" + bytes(28), ETHERNET) == "not IP"
    assert reason(b"") == reason(b"\x70") == reason(bytes(40), COOKED) == reason(bytes(40), COOKED_2) == "not IP"
    assert reason(four[:6] + b"\x20\0" + four[8:]) == "fragment"
    assert reason(four[:6] + b"\0\1" + four[8:]) == "fragment"
    assert reason(six[:6] + b"\x2c" + six[7:]) == "fragment"
    assert reason(four[:9] + b"\6" + four[10:]) == reason(six[:6] + b"\6" + six[7:]) == "not UDP"
    for broken in (four[:19], four[:-1], b"\x44" + four[1:], six[:39], six[:-1], four[:24] + b"\0\7" + four[26:]):
        assert reason(broken) == "damaged"
    assert reason(udp(A6, B6, b"", hop_by_hop=1)[:4] + b"\0\4\0\x40" + six[8:44]) == "damaged"


@given(st.binary(max_size=120), st.sampled_from(LINKS))
def test_no_octets_make_it_raise(data: bytes, link: int) -> None:
    found, left_out = read(data, link)
    assert len(found) + left_out.total() == 1
