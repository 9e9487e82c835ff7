"""RTP bleed (our audio to a stranger) and RTP inject (a stranger's audio to us), over real sockets."""

import struct

import pytest

from rtp import control
from rtp.plane import FRAME
from tests.support.engine import rtp_packet
from tests.support.stepped import Stepped, speech

FRAMES = 250
PER_FRAME = 40  # from three strangers: 10,000 packets in all
FALSE = b"\x11" * FRAME


@pytest.mark.parametrize("mode", ["off", "auto", "on"])
def test_ten_thousand_packets_from_three_strangers(loop: Stepped, mode: str) -> None:
    leg, caller = loop.open(), loop.peer(ssrc=7)
    copycat, _, noisy = strangers = [loop.peer(ssrc=7), loop.peer(ssrc=8), loop.peer(ssrc=9)]
    loop.configure(leg, caller, symmetric=mode, rtcp_address=caller.address[0], rtcp_port=caller.address[1] + 1)
    heard_of_us = b""
    # Who may learn a source listens to the first that speaks; else strangers may even be there before the caller.
    early = 0 if mode == "on" else 5
    sent = 0
    for n in range(-early, FRAMES):
        if n >= 0:
            caller.say(leg, speech(n))
            copycat.sequence, copycat.timestamp = caller.sequence, caller.timestamp  # one packet ahead of it
        if n >= 0 or early:
            for k in range(PER_FRAME if n >= early else PER_FRAME // 2):
                stranger = strangers[k % 3]
                if stranger is noisy and k % 2:
                    stranger.send(leg, bytes([k, n & 0xFF]) * (k % 30))
                else:
                    stranger.say(leg, FALSE)
                sent += 1
        if n >= 0:
            loop.say(leg, speech(1000 + n))
        loop.frames()
        heard_of_us += b"".join(packet[12:] for packet in caller.received())
    assert sent == FRAMES * PER_FRAME
    loop.frames(3)
    assert loop.heard[leg.row][:FRAMES] == [speech(n) for n in range(FRAMES)]
    assert all(stranger.received() == [] for stranger in strangers)
    said = b"".join(speech(1000 + n) for n in range(FRAMES))
    start = heard_of_us.index(said[200:400]) - 200  # behind the lead and a ramp of 5 ms
    clean = heard_of_us[start + 40 : start + 200 * FRAME]
    assert clean == said[40 : 200 * FRAME]
    assert loop.stats(leg, "packets_received") <= FRAMES
    assert loop.stats(leg, "packets_stranger") > 1000
    assert not loop.of(control.RemoteChanged)
    named = {(event.address, event.port) for event in loop.of(control.StrangerSeen)}
    assert named == {stranger.address for stranger in strangers}


def test_the_flood_is_over_and_the_call_goes_on(loop: Stepped) -> None:
    leg, caller, stranger = loop.open(), loop.peer(), loop.peer()
    loop.configure(leg, caller, symmetric="on")
    for n in range(100):
        caller.say(leg, speech(n))
        if n < 50:
            for _ in range(100):
                stranger.say(leg, FALSE)
        loop.frames()
    loop.frames(3)
    assert loop.heard[leg.row][:100] == [speech(n) for n in range(100)]


def test_behind_a_nat_at_most_four_packets_pass_before_the_lock(loop: Stepped) -> None:
    leg, sdp, real = loop.open(), loop.peer(), loop.peer()
    loop.configure(leg, sdp, symmetric="on")
    for n in range(30):
        real.say(leg, speech(n))
        loop.frames()
    loop.frames(3)
    assert [(e.address, e.port) for e in loop.of(control.RemoteChanged)] == [real.address]
    assert loop.heard[leg.row][:27] == [speech(n) for n in range(3, 30)]
    assert len(real.received()) >= 26
    sdp.received()  # what went there before
    loop.frames(5)
    assert sdp.received() == []


@pytest.mark.parametrize("count", [4, 8, 9, 17, 60])
def test_a_burst_never_locks(loop: Stepped, count: int) -> None:
    """However many packets: what is sent at once is one burst, though it may take several slots to read it."""
    leg, sdp, stranger = loop.open(), loop.peer(), loop.peer()
    loop.configure(leg, sdp, symmetric="on")
    for _ in range(count):
        stranger.say(leg, FALSE)
    loop.frames(20)
    assert not loop.of(control.RemoteChanged)
    assert stranger.received() == []
    assert loop.heard[leg.row] == []


def test_rtcp_of_a_stranger_does_nothing(loop: Stepped) -> None:
    """A copied SSRC does not help: neither a goodbye nor a report of his is taken."""
    leg, caller, stranger = loop.open(), loop.peer(ssrc=7), loop.peer(ssrc=7)
    loop.configure(leg, caller, rtcp_address=caller.address[0], rtcp_port=caller.address[1] + 1, symmetric="off")
    goodbye = struct.pack(">BBHI", 0x80, 201, 1, 7) + struct.pack(">BBHI", 0x81, 203, 1, 7)
    for n in range(60):
        caller.say(leg, speech(n))
        if n >= 10:
            stranger.send(leg, goodbye, rtcp=True)
            stranger.send(leg, goodbye)
        loop.frames()
    loop.frames(3)
    assert loop.heard[leg.row][:60] == [speech(n) for n in range(60)]
    assert loop.stats(leg, "rtcp_received") == 0
    assert stranger.received() == []


def test_a_source_that_falls_silent_may_be_followed_and_one_that_speaks_may_not(loop: Stepped) -> None:
    leg, caller, moved = loop.open(), loop.peer(), loop.peer(ssrc=2)
    loop.configure(leg, caller, symmetric="auto")
    for n in range(30):
        caller.say(leg, speech(n))
        moved.say(leg, speech(200 + n))
        loop.frames()
    assert not loop.of(control.RemoteChanged)
    for n in range(60):
        moved.say(leg, speech(300 + n))
        loop.frames()
        if loop.of(control.RemoteChanged):
            break
    assert 24 <= n <= 27  # 500 ms
    loop.frames(2)
    assert moved.received()


def test_who_sends_nonsense_is_no_candidate(loop: Stepped) -> None:
    leg, sdp, stranger = loop.open(), loop.peer(), loop.peer()
    loop.configure(leg, sdp, symmetric="on")
    for n in range(20):
        stranger.send(leg, rtp_packet(n, n * FRAME, FALSE, payload_type=96))
        stranger.send(leg, b"\x00" * 20)
        stranger.send(leg, rtp_packet(n * 2, n * FRAME, FALSE))
        loop.frames()
    assert not loop.of(control.RemoteChanged)
    assert loop.stats(leg, "packets_stranger") == 60


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_who_holds_a_key_is_not_silent(loop: Stepped, mode: str) -> None:
    """For its whole length a press is all that a phone sends: no occasion for somebody else."""
    leg, caller, stranger = loop.open(), loop.peer(), loop.peer()
    loop.configure(leg, caller, symmetric=mode)
    for n in range(50):
        caller.say(leg, speech(n))
        loop.frames()
    first, begin = caller.sequence, caller.timestamp
    for n in range(100):
        event = struct.pack(">BBH", 5, 10, (n + 1) * FRAME)
        caller.send(leg, rtp_packet(first + n, begin, event, 101, caller.ssrc, n == 0))
        stranger.say(leg, FALSE)
        loop.frames()
    assert not loop.of(control.RemoteChanged)
    assert stranger.received() == []
