from __future__ import annotations

import struct

import pytest
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpRrPacket, RtcpSdesPacket, RtcpSrPacket
from hypothesis import given
from hypothesis import strategies as st

from rtp import rtcp
from rtp.errors import RejectReason as R
from rtp.reception import Block

SECOND = 1_000_000_000
MS = 1_000_000
NOW = 1_760_000_000 * SECOND + 250 * MS
BLOCK = Block(ssrc=0xAABBCCDD, fraction_lost=12, cumulative_lost=-3, highest_sequence=0x10005, jitter=80)


def test_ntp_time() -> None:
    assert rtcp.ntp_from_unix(0) == 2_208_988_800 << 32
    assert rtcp.ntp_from_unix(500 * MS) & 0xFFFF_FFFF == 1 << 31
    assert rtcp.middle(0x1122_3344_5566_7788) == 0x3344_5566


@given(st.integers(0, 4_233_462_143 * SECOND))
def test_ntp_time_and_back(unix_ns: int) -> None:
    assert rtcp.unix_from_ntp(rtcp.ntp_from_unix(unix_ns)) == pytest.approx(unix_ns, abs=1)


def test_a_sender_report_as_an_independent_parser_reads_it() -> None:
    leg = rtcp.Rtcp(ssrc=0x01020304, cname="abc@example")
    sr, sdes, bye = RtcpPacket.parse(leg.report(NOW, 160_000, 50, 8000, BLOCK, bye=True))
    assert isinstance(sr, RtcpSrPacket)
    assert sr.ssrc == 0x01020304
    info = sr.sender_info
    assert (info.ntp_timestamp, info.rtp_timestamp) == (rtcp.ntp_from_unix(NOW), 160_000)
    assert (info.packet_count, info.octet_count) == (50, 8000)
    (block,) = sr.reports
    assert (block.ssrc, block.fraction_lost, block.packets_lost) == (0xAABBCCDD, 12, -3)
    assert (block.highest_sequence, block.jitter, block.lsr, block.dlsr) == (0x10005, 80, 0, 0)
    assert isinstance(sdes, RtcpSdesPacket)
    assert [(c.ssrc, c.items) for c in sdes.chunks] == [(0x01020304, [(1, b"abc@example")])]
    assert isinstance(bye, RtcpByePacket)
    assert bye.sources == [0x01020304]


def test_who_sent_nothing_sends_a_receiver_report() -> None:
    leg = rtcp.Rtcp(5, "c")
    assert isinstance(RtcpPacket.parse(leg.report(NOW, 0, 0, 0, None))[0], RtcpRrPacket)
    assert isinstance(RtcpPacket.parse(leg.report(NOW, 0, 7, 1120, BLOCK))[0], RtcpSrPacket)
    rr = RtcpPacket.parse(leg.report(NOW, 0, 7, 1120, BLOCK))[0]
    assert isinstance(rr, RtcpRrPacket)
    assert len(rr.reports) == 1
    assert leg.sent == 3


@pytest.mark.parametrize("cname", ["", "a", "ab", "abc", "abcd", "x" * 400, "gåtewäy"])
def test_what_is_built_is_whole_words_and_parses(cname: str) -> None:
    leg = rtcp.Rtcp(77, cname)
    data = leg.report(NOW, 5, 1, 160, BLOCK, bye=True)
    assert len(data) % 4 == 0
    RtcpPacket.parse(data)
    parsed = rtcp.parse(data)
    assert parsed.reject == R.OK
    assert parsed.ssrc == 77
    assert parsed.cname.encode() == cname.encode()[:255]
    assert parsed.bye == (77,)
    assert parsed.blocks == (rtcp.ReportBlock(*BLOCK, lsr=0, dlsr=0),)
    assert parsed.sender == rtcp.SenderInfo(rtcp.ntp_from_unix(NOW), 5, 1, 160)


@given(
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 255),
    st.integers(-(1 << 23), (1 << 23) - 1),
    st.integers(0, (1 << 32) - 1),
)
def test_report_blocks_survive_the_wire(ssrc: int, fraction: int, lost: int, highest: int) -> None:
    block = Block(ssrc, fraction, lost, highest, 0xFFFF_FFFF)
    parsed = rtcp.parse(rtcp.Rtcp(1, "c").report(NOW, 0, 0, 0, block))
    assert parsed.blocks[0][:5] == tuple(block)


def test_round_trip_time() -> None:
    """RFC 3550 figure 2: A − LSR − DLSR; we send, the peer waits 5.25 s and answers, 100 ms on the way in all."""
    us, peer = rtcp.Rtcp(1, "us"), rtcp.Rtcp(2, "peer")
    ours = rtcp.parse(us.report(NOW, 0, 1, 160, None))
    skew = 12345 * SECOND  # clocks need not agree
    peer.take(ours, NOW + 40 * MS + skew)
    answer = peer.report(NOW + 40 * MS + skew + 5250 * MS, 0, 1, 160, BLOCK._replace(ssrc=1))
    us.take(rtcp.parse(answer), NOW + 40 * MS + 5250 * MS + 60 * MS)
    assert us.rtt_ms == pytest.approx(100, abs=0.05)
    assert us.remote_loss == 12 / 256
    assert us.remote_jitter_ms == 10.0
    assert peer.rtt_ms == 0.0


@pytest.mark.parametrize("ntp_seconds", [0xFFFF, 0x1FFFF, 0xFFFF_FFFF])
def test_round_trip_time_over_the_wraps_of_ntp(ntp_seconds: int) -> None:
    leg = rtcp.Rtcp(1, "us")
    sent = (ntp_seconds - 2_208_988_800) * SECOND + 900 * MS
    lsr = rtcp.middle(rtcp.ntp_from_unix(sent))
    block = rtcp.ReportBlock(1, 0, 0, 0, 0, lsr, 65536)
    leg.take(rtcp.Compound(R.OK, 2, None, (block,)), sent + 1200 * MS)
    assert leg.rtt_ms == pytest.approx(200, abs=0.05)


@pytest.mark.parametrize(("lsr_ago_s", "rtt"), [(-0.5, 0.001), (-30, 0.0), (600, 0.0), (20000, 0.0)])
def test_absurd_round_trips_are_not_believed(lsr_ago_s: float, rtt: float) -> None:
    leg = rtcp.Rtcp(1, "us")
    lsr = rtcp.middle(rtcp.ntp_from_unix(NOW - int(lsr_ago_s * SECOND)))
    leg.take(rtcp.Compound(R.OK, 2, None, (rtcp.ReportBlock(1, 0, 0, 0, 0, lsr, 0),)), NOW)
    assert leg.rtt_ms == rtt


def test_blocks_about_others_say_nothing_of_us() -> None:
    leg = rtcp.Rtcp(1, "us")
    leg.take(rtcp.parse(rtcp.Rtcp(2, "peer").report(NOW, 0, 0, 0, BLOCK)), NOW)
    assert (leg.received, leg.remote_loss, leg.remote_jitter_ms, leg.rtt_ms) == (1, 0.0, 0.0, 0.0)


def test_goodbye_counts_for_its_sender_only() -> None:
    leg = rtcp.Rtcp(1, "us")
    leg.take(rtcp.Compound(R.OK, ssrc=2, bye=(3, 4)), NOW)
    assert not leg.bye
    leg.take(rtcp.Compound(R.OK, ssrc=2, bye=(3, 2)), NOW)
    assert leg.bye


def test_reports_are_due_every_five_seconds_at_random() -> None:
    """RFC 3550 A.7: 0.5…1.5 intervals, divided by e − 3/2; half of it at first."""
    leg = rtcp.Rtcp(1, "us")
    assert leg.next_due(100, 0.5) - 100 == pytest.approx(2.5 * SECOND / 1.21828, rel=1e-5)
    leg.report(NOW, 0, 0, 0, None)
    low, high = leg.next_due(0, 0.0), leg.next_due(0, 1.0)
    assert low == pytest.approx(2.5 * SECOND / 1.21828, rel=1e-5)
    assert high == 3 * low


def packet(kind: int, body: bytes, count: int = 0, padding: bool = False) -> bytes:
    return struct.pack(">BBH", 0x80 | (0x20 if padding else 0) | count, kind, len(body) // 4) + body


RR = packet(201, b"\0\0\0\7")
TOLERATED = {
    "receiver report alone": RR,
    "reduced size": packet(206, b"\0\0\0\7\0\0\0\1rest"),
    "unknown type after it": RR + packet(204, b"\0\0\0\7nameapp1"),
    "extended report": RR + packet(207, b"\0\0\0\7\4\0\0\2........"),
    "padding": RR + packet(203, b"\0\0\0\7\0\0\0\4", 1, padding=True),
    "profile extension after the blocks": packet(201, b"\0\0\0\7extraext"),
    "goodbye without a source": RR + packet(203, b""),
    "goodbye with a reason": packet(203, b"\0\0\0\7\3bye", 1),
    "rubbish after it": RR + b"rubbish",
    "truncated second packet": RR + packet(202, b"\0\0\0\7\1\4abcd\0\0", 1)[:9],
    "second packet of version 1": RR + b"\x40\xca\0\1\0\0\0\0",
    "description cut in an item": RR + packet(202, b"\0\0\0\7\1\xffab", 1),
    "goodbye that counts too many": RR + packet(203, b"\0\0\0\7", 9),
}
REFUSED = {
    "nothing": b"",
    "header only": b"\x80\xc9\0\0",
    "version 1": b"\x40\xc9\0\1\0\0\0\7",
    "no rtcp type": b"\x80\x00\0\1\0\0\0\7",
    "length past the end": b"\x80\xc9\0\2\0\0\0\7",
    "blocks that are not there": packet(201, b"\0\0\0\7", 1),
    "sender report too short": packet(200, b"\0\0\0\7" + bytes(16)),
    "all padding": packet(201, b"\0\0\0\4", padding=True),
    "padding of zero": packet(201, b"\0\0\0\7\0\0\0\0", padding=True),
    "padding too long": packet(201, b"\0\0\0\7\0\0\0\x09", padding=True),
}


@pytest.mark.parametrize("name", TOLERATED)
def test_what_is_tolerated(name: str) -> None:
    parsed = rtcp.parse(TOLERATED[name])
    assert (parsed.reject, parsed.ssrc) == (R.OK, 7)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    assert rtcp.parse(REFUSED[name]) == rtcp.Compound(R.BAD_RTCP)


def test_the_name_of_the_second_chunk() -> None:
    chunks = b"\0\0\0\1\2\3abc\0\0\0" + b"\0\0\0\2\1\4name\0\0"
    assert rtcp.parse(RR + packet(202, chunks, 2)).cname == "name"


def test_a_memoryview_is_read_like_bytes() -> None:
    data = rtcp.Rtcp(77, "name").report(NOW, 5, 1, 160, BLOCK)
    assert rtcp.parse(memoryview(data)) == rtcp.parse(data)


def test_a_datagram_of_a_thousand_packets_is_read_in_part() -> None:
    assert rtcp.parse(RR + packet(203, b"\0\0\0\7", 1) * 1000).bye == (7,) * 31
