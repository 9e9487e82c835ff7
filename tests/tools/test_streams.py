"""What counts as an RTP stream: addresses and SSRC apart, and most of it in sequence."""

import random

from rig.datagrams import Datagram
from rig.streams import Flow, find, header_of

from tests.support.captures import CALLER, GATEWAY
from tests.support.engine import rtp_packet


def stream(
    count: int, ssrc: int = 1, first: int = 0, source: tuple[str, int] = CALLER, step: int = 1
) -> list[Datagram]:
    return [
        Datagram(n, n * 20_000_000, source, GATEWAY, rtp_packet(first + n * step, n * 160, b"x", ssrc=ssrc))
        for n in range(count)
    ]


def test_streams_differ_by_address_and_by_ssrc() -> None:
    other = ("192.0.2.99", 1)
    found = find(stream(10) + stream(20, ssrc=2) + stream(30, source=other))
    assert [(s.flow, s.ssrc, s.packets) for s in found] == [
        (Flow(CALLER, GATEWAY), 1, 10),
        (Flow(CALLER, GATEWAY), 2, 20),
        (Flow(other, GATEWAY), 1, 30),
    ]


def test_a_stream_survives_loss_and_the_wrap_of_its_sequence() -> None:
    packets = stream(40, first=65_520)
    del packets[10:13], packets[20]
    (found,) = find(packets)
    assert found.packets == 36
    assert found.describe() == {
        "flow": "192.0.2.10:4000 → 192.0.2.20:16384",
        "ssrc": "00000001",
        "packets": 36,
        "seconds": 0.78,
        "payload_types": {0: 36},
    }


def test_what_only_looks_like_it_is_no_stream() -> None:
    random.seed(3)
    noise = [Datagram(n, n, CALLER, GATEWAY, b"\x80\0" + random.randbytes(2) + bytes(8)) for n in range(50)]
    assert find(noise) == []
    assert find(stream(3)) == []
    assert find(stream(50, step=7)) == []


def test_headers() -> None:
    assert header_of(rtp_packet(5, 6, b"", 8, 7, marker=True)) == (8, True, 5, 6, 7)
    for other in (b"INVITE sip:x@y SIP/2.0\r\n", b"", rtp_packet(1, 2, b"")[:11], b"\x80\xc8" + bytes(26)):
        assert header_of(other) is None


def test_ipv6_addresses_are_written_with_brackets() -> None:
    assert str(Flow(("2001:db8::1", 4000), ("::1", 2))) == "[2001:db8::1]:4000 → [::1]:2"
