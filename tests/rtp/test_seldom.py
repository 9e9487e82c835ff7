"""The rare side of a leg, through the engine on a virtual clock. Key presses as packets: test_tick.py."""

import struct
from collections.abc import Iterator

import pytest

from rtp import control, rtcp
from rtp.errors import RejectReason
from tests.support.engine import Engine, rtp_packet


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


def receiver_report(sender: int, about: int, fraction: int = 64, jitter: int = 80) -> bytes:
    return struct.pack(">BBHIIIIIII", 0x81, 201, 7, sender, about, fraction << 24, 0, jitter, 0, 0)


def test_what_the_peer_says_of_us_is_in_the_statistics(engine: Engine) -> None:
    row = engine.open()
    ours = int(engine.table.ssrc[row])
    engine.seldom.take_rtcp(row, receiver_report(5, ours), lambda ssrc: ssrc == 5)
    stats = engine.plane.stats[row]
    assert (stats["rtcp_received"], stats["remote_loss"], stats["remote_jitter_ms"]) == (1, 0.25, 10.0)


def test_rtcp_of_a_stranger_and_nonsense_change_nothing(engine: Engine) -> None:
    row = engine.open()
    ours = int(engine.table.ssrc[row])
    engine.seldom.take_rtcp(row, receiver_report(6, ours), lambda ssrc: ssrc == 5)
    engine.seldom.take_rtcp(row, b"\x80\xc9", lambda ssrc: True)
    assert engine.plane.stats["rtcp_received"][row] == 0
    assert engine.table.rejected[RejectReason.STRANGER] == 1
    assert engine.table.rejected.sum() == 2


def test_rtcp_on_the_rtp_port_is_understood_from_the_stream_s_own_source(engine: Engine) -> None:
    row = engine.open()
    ours = int(engine.table.ssrc[row])
    engine.deliver(row, rtp_packet(1, 160, b"\xff" * 160, ssrc=5))
    engine.frames(1)
    engine.deliver(row, receiver_report(6, ours))
    engine.frames(1)
    assert engine.plane.stats["rtcp_received"][row] == 0
    engine.deliver(row, receiver_report(5, ours))
    engine.frames(1)
    assert engine.plane.stats["rtcp_received"][row] == 1


def test_our_report_tells_what_we_sent(engine: Engine) -> None:
    row = engine.open()
    engine.seldom.name(row, "glotgate@host")
    engine.frames(10)
    compound = rtcp.parse(engine.seldom.report(row, bye=True))
    assert compound.sender is not None
    assert (compound.sender.packets, compound.sender.octets) == (10, 1600)
    assert compound.cname == "glotgate@host"
    assert compound.bye == (int(engine.table.ssrc[row]),)


def test_a_press_whose_ends_were_lost_is_told_all_the_same(engine: Engine) -> None:
    row = engine.open()
    engine.deliver(row, rtp_packet(1, 0, b"\xff" * 160))
    engine.frames(1)
    engine.deliver(row, rtp_packet(2, 160, struct.pack(">BBH", 11, 10, 320), payload_type=101, marker=True))
    engine.frames(20)
    presses = [e for e in engine.events if isinstance(e, control.DigitReceived)]
    assert [p.digit for p in presses] == ["#"]


def test_speech_is_not_told_unless_wanted(engine: Engine) -> None:
    row = engine.open()
    for n in range(30):
        engine.deliver(row, rtp_packet(n, n * 160, bytes([0x90, 0x10] * 80)))
        engine.frames(1)
    assert not [e for e in engine.events if isinstance(e, control.SpeechChanged)]
