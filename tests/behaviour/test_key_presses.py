"""Each non-empty subset of a press's seven packets, in any order: one digit, and none of it in the audio."""

import itertools
import random
import struct

from rtp import control
from rtp.plane import FRAME
from tests.support.engine import Engine, rtp_packet
from tests.support.stepped import Stepped

QUIET = b"\xff" * FRAME
#: Four updates and three ends of 100 ms: duration in samples, end bit.
PACKETS = [(160, 0), (320, 0), (480, 0), (640, 0), (800, 1), (800, 1), (800, 1)]
SUBSETS = [subset for size in range(1, 8) for subset in itertools.combinations(range(7), size)]
LENGTH = 35  # frames from one press to the next


def event(number: int, sequence: int, timestamp: int, digit: int) -> bytes:
    duration, end = PACKETS[number]
    payload = struct.pack(">BBH", digit, end << 7 | 10, duration)
    return rtp_packet(sequence, timestamp, payload, payload_type=101, marker=number == 0)


def test_127_subsets_in_any_order_are_127_presses() -> None:
    """One call, one press after the other, with audio between them."""
    rng = random.Random(5)
    engine = Engine(capacity=1)
    row = engine.open()
    sequence, expected = 100, []
    for press, subset in enumerate(SUBSETS):
        order = rng.sample(subset, len(subset))
        start = press * LENGTH
        for frame in range(LENGTH):
            timestamp = (start + frame) * FRAME
            if 5 <= frame < 12:
                k = frame - 5
                if k < len(order):  # its sequence number is that of its place in the whole press
                    number = order[k]
                    engine.deliver(row, event(number, sequence - k + number, (start + 5) * FRAME, press % 12))
                sequence += 1
            else:
                engine.deliver(row, rtp_packet(sequence, timestamp, QUIET))
                sequence += 1
            engine.frames(1)
        expected.append("0123456789*#"[press % 12])
    engine.frames(20)
    presses = [event for event in engine.events if isinstance(event, control.DigitReceived)]
    assert [press.digit for press in presses] == expected
    assert len(SUBSETS) == 127
    assert int(engine.plane.stats["digits_received"][row]) == 127
    for press, subset in zip(presses, SUBSETS, strict=True):
        assert press.duration_ms == max(PACKETS[n][0] for n in subset) // 8
    engine.close()


def test_a_tone_beside_the_events_is_not_left_in_the_audio() -> None:
    """A sender that leaves the tone in its audio until the first event packet is on its way."""
    engine = Engine(capacity=1)
    row = engine.open()
    tone = bytes([0x90, 0x10] * 80)
    sequence = 0
    for frame in range(40):
        engine.deliver(row, rtp_packet(sequence, frame * FRAME, tone if 10 <= frame < 15 else QUIET))
        sequence += 1
        if 10 <= frame < 15:
            payload = struct.pack(">BBH", 1, (frame == 14) << 7 | 10, (frame - 9) * FRAME)
            engine.deliver(row, rtp_packet(sequence, 10 * FRAME, payload, 101))
            sequence += 1
        engine.frames(1)
    assert [e.digit for e in engine.events if isinstance(e, control.DigitReceived)] == ["1"]
    assert tone not in engine.heard[row]
    engine.close()


def test_digits_out_are_understood_as_digits_in() -> None:
    """One leg dials, the other hears each key once, with its length."""
    engine = Engine(capacity=2)
    dialling, hearing = engine.open(), engine.open()
    engine.seldom.dial(dialling, "0123456789*#ABCD", 100, 60)
    done = 0
    for _ in range(16 * 9 + 20):
        engine.frames(1)
        for datagram in engine.sent[dialling][done:]:
            engine.deliver(hearing, datagram)
        done = len(engine.sent[dialling])
    presses = [e for e in engine.events if isinstance(e, control.DigitReceived)]
    assert "".join(press.digit for press in presses) == "0123456789*#ABCD"
    assert {press.duration_ms for press in presses} == {100}
    assert {press.row for press in presses} == {hearing}
    engine.close()


def test_digits_to_a_peer_that_wants_ten_ms_leave_no_hole_in_the_sequence(loop: Stepped) -> None:
    """A hole in the sequence is loss to the peer, which conceals it and tells of it."""
    leg, phone = loop.open(), loop.peer()
    loop.configure(leg, phone, ptime_ms=10)
    phone.say(leg, b"\xff" * FRAME)
    loop.frames(3)
    loop.command(control.SendDigits(leg.row, leg.generation, "47", 100, 60))
    received = []
    for _ in range(30):
        loop.frames()
        received += phone.received()
    events = [packet for packet in received if packet[1] & 0x7F == 101]
    assert {packet[12] for packet in events} == {4, 7}
    assert {len(packet) for packet in received if packet not in events} == {12 + 80}
    numbers = [int.from_bytes(packet[2:4], "big") for packet in received]
    assert {(b - a) & 0xFFFF for a, b in itertools.pairwise(numbers)} == {1}
    assert loop.stats(leg, "packets_sent") == len(received)
