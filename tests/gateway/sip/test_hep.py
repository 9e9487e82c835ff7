"""HEP3 packets, taken apart by the layout of the specification, not by our own constants."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import hep


def chunks(packet):
    """{(vendor, type): value}; the lengths must add up to the packet."""
    magic, length = packet[:4], struct.unpack("!H", packet[4:6])[0]
    assert (magic, length) == (b"HEP3", len(packet))
    found, at = {}, 6
    while at < len(packet):
        vendor, kind, size = struct.unpack("!HHH", packet[at : at + 6])
        assert size >= 6
        assert (vendor, kind) not in found
        found[vendor, kind] = packet[at + 6 : at + size]
        at += size
    assert at == len(packet)
    return found


def test_a_message_over_ipv4_octet_by_octet():
    packet = hep.encode(
        b"OPTIONS", ("192.0.2.1", 5060), ("198.51.100.2", 5062), "udp", 1_700_000_000_123_456, 2001, "a@b"
    )
    assert packet == bytes.fromhex(
        "48455033 0073"  # HEP3, 115 octets
        "0000 0001 0007 02"  # AF_INET
        "0000 0002 0007 11"  # UDP
        "0000 0003 000a c0000201"
        "0000 0004 000a c6336402"
        "0000 0007 0008 13c4"
        "0000 0008 0008 13c6"
        "0000 0009 000a 6553f100"
        "0000 000a 000a 0001e240"
        "0000 000b 0007 01"  # SIP
        "0000 000c 000a 000007d1"
        "0000 0011 0009 614062"
        "0000 000f 000d 4f5054494f4e53"
    )


def test_a_message_over_ipv6_and_tls():
    found = chunks(hep.encode(b"x", ("2001:db8::1", 5061), ("[2001:db8::2]", 40000), "tls", 5, 1, ""))
    assert (found[0, 1], found[0, 2]) == (b"\x0a", b"\x06")
    assert found[0, 5] == bytes.fromhex("20010db8000000000000000000000001")
    assert found[0, 6] == bytes.fromhex("20010db8000000000000000000000002")
    assert (0, 3) not in found
    assert (0, 4) not in found


def test_a_name_is_no_address():
    assert chunks(hep.encode(b"x", ("gw.example", 1), ("192.0.2.1", 2), "tcp", 0, 1, ""))[0, 3] == bytes(4)
    assert chunks(hep.encode(b"x", ("gw.example", 1), ("::1", 2), "tcp", 0, 1, ""))[0, 5] == bytes(16)


def test_what_fits_no_datagram_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        hep.encode(bytes(65500), ("192.0.2.1", 1), ("192.0.2.1", 2), "udp", 0, 1, "")


@given(st.binary(max_size=3000), st.text(max_size=400), st.integers(0, 2**32 * 1_000_000 - 1))
def test_any_message_comes_out_as_it_went_in(payload, correlation, time_us):
    found = chunks(hep.encode(payload, ("192.0.2.1", 1), ("192.0.2.2", 2), "udp", time_us, 7, correlation))
    assert found[0, 15] == payload
    seconds, micros = struct.unpack("!I", found[0, 9])[0], struct.unpack("!I", found[0, 10])[0]
    assert seconds * 1_000_000 + micros == time_us
