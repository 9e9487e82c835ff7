from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.telephone_event import DIGITS, QUEUE, SILENT_NS, EventReceiver, EventSender, Press, Span

MS = 1_000_000


def block(code: int, duration: int, end: bool = False, volume: int = 10) -> bytes:
    return struct.pack(">BBH", code, (0x80 if end else 0) | volume, duration)


def press_packets(code: int, updates: int = 4) -> list[bytes]:
    """An event as most phones send it: updates every 20 ms, then the end three times."""
    return [block(code, 160 * n) for n in range(1, updates + 1)] + [block(code, 160 * (updates + 1), end=True)] * 3


def digits(receiver: EventReceiver, packets: list[tuple[int, bytes]], spacing_ms: int = 20) -> list[str]:
    """Feed (timestamp, payload) and let everything time out."""
    heard: list[Press] = []
    now = 0
    for timestamp, payload in packets:
        now += spacing_ms * MS
        heard += receiver.feed(timestamp % (1 << 32), payload, now).presses
    late = receiver.poll(now + SILENT_NS)
    return [p.digit for p in (*heard, *([late] if late else []))]


def subsets() -> list[tuple[int, ...]]:
    return [s for size in range(1, 8) for s in itertools.combinations(range(7), size)]


def test_every_subset_of_an_event_in_any_order_is_one_digit() -> None:
    packets = press_packets(5)
    assert len(packets) == 7
    assert len(subsets()) == 127
    for subset in subsets():
        # All orders of up to five packets, and rotations and reversals of the longer ones.
        orders = itertools.permutations(subset) if len(subset) < 6 else _some_orders(subset)
        for order in orders:
            assert digits(EventReceiver(), [(1000, packets[k]) for k in order]) == ["5"], order


def _some_orders(subset: tuple[int, ...]) -> list[tuple[int, ...]]:
    turned = [subset[k:] + subset[:k] for k in range(len(subset))]
    return turned + [t[::-1] for t in turned]


@given(st.data())
def test_presses_that_lose_and_reorder_packets_are_counted_once_each(data: st.DataObject) -> None:
    """Events keep their order among each other; inside an event anything may be lost or turned round."""
    codes = data.draw(st.lists(st.integers(0, 15), min_size=1, max_size=8))
    packets: list[tuple[int, bytes]] = []
    start = data.draw(st.integers(0, (1 << 32) - 1))
    for code in codes:
        event = [(start, payload) for payload in press_packets(code)]
        packets += data.draw(st.lists(st.sampled_from(event), min_size=1, max_size=10))
        start += 1600
    assert digits(EventReceiver(), packets) == [DIGITS[code] for code in codes]


def test_the_same_key_twice_is_two_presses_and_late_packets_are_none() -> None:
    first, second = press_packets(7), press_packets(7)
    packets = [(1000, p) for p in first[:6]] + [(3000, second[0]), (1000, first[6]), (3000, second[1])]
    assert digits(EventReceiver(), packets) == ["7", "7"]


def test_a_straggler_of_an_event_otherwise_lost_still_counts() -> None:
    packets = [
        (3000, block(2, 160)),
        (1000, block(1, 800, end=True)),
        (1000, block(1, 800)),
        (3000, block(2, 320, True)),
    ]
    assert digits(EventReceiver(), packets) == ["1", "2"]


def test_a_press_is_told_at_its_end_with_its_length() -> None:
    receiver = EventReceiver()
    for n in range(1, 5):
        heard = receiver.feed(8000, block(11, 160 * n), n * 20 * MS)
        assert heard == (False, [], Span(8000, 160 * n))
        assert receiver.receiving
    heard = receiver.feed(8000, block(11, 800, end=True), 100 * MS)
    assert heard == (False, [Press("#", 8000, 800)], Span(8000, 800))
    assert not receiver.receiving
    assert receiver.feed(8000, block(11, 800, end=True), 120 * MS) == (False, [], None)


def test_lost_ends_are_noticed_by_silence_or_by_the_next_press() -> None:
    receiver = EventReceiver()
    receiver.feed(8000, block(1, 160), 0)
    assert receiver.poll(SILENT_NS - 1) is None
    assert receiver.poll(SILENT_NS) == Press("1", 8000, 160)
    assert receiver.poll(SILENT_NS * 9) is None
    receiver.feed(16000, block(2, 160), SILENT_NS)
    assert receiver.feed(20000, block(3, 160), SILENT_NS).presses == [Press("2", 16000, 160)]


def test_a_long_press_in_segments_is_one_press() -> None:
    """RFC 4733 §2.5.1.3: after 65535 samples the event goes on with a new timestamp and no marker."""
    receiver = EventReceiver()
    presses: list[Press] = []
    start = (1 << 32) - 5000
    now = 0
    for segment in range(3):
        for duration in [*range(160, 0xFFFF, 1600), 0xFFFF]:
            now += 20 * MS
            presses += receiver.feed((start + segment * 0xFFFF) % (1 << 32), block(4, duration), now).presses
    for _ in range(3):
        presses += receiver.feed((start + 3 * 0xFFFF) % (1 << 32), block(4, 480, end=True), now).presses
    assert presses == [Press("4", start, 3 * 0xFFFF + 480)]


def test_another_key_after_a_full_segment_is_another_press() -> None:
    packets = [(0, block(4, 0xFFFF)), (0xFFFF, block(5, 160)), (0xFFFF, block(5, 320, True))]
    assert digits(EventReceiver(), packets) == ["4", "5"]


def test_several_events_in_one_packet() -> None:
    payload = block(1, 800, end=True) + block(2, 800, end=True) + block(3, 160)
    receiver = EventReceiver()
    heard = receiver.feed(0, payload, 0)
    assert [p.digit for p in heard.presses] == ["1", "2"]
    assert [p.timestamp for p in heard.presses] == [0, 800]
    assert receiver.feed(1600, block(3, 800, end=True), 0).presses == [Press("3", 1600, 800)]


def test_a_packet_full_of_events_gives_a_few_once() -> None:
    payload = b"".join(block(n % 10, 400, end=True) for n in range(300))
    assert digits(EventReceiver(), [(0, payload)] * 5) == list("01234567")


def test_an_event_that_is_not_over_ends_the_packet() -> None:
    assert digits(EventReceiver(), [(0, block(1, 160) + block(2, 160))]) == ["1"]


@pytest.mark.parametrize("code", [16, 32, 64, 255])
def test_events_that_are_no_keys_are_ignored(code: int) -> None:
    receiver = EventReceiver()
    assert receiver.feed(0, block(code, 160, end=True), 0) == (False, [], None)
    assert not receiver.receiving


@pytest.mark.parametrize("payload", [b"", b"\1", b"\1\2\3", b"\1\2\3\4\5", b"\0" * 7])
def test_a_payload_of_another_size_is_bad(payload: bytes) -> None:
    receiver = EventReceiver()
    assert receiver.feed(0, payload, 0) == (True, [], None)
    assert not receiver.receiving


def send(sender: EventSender, frames: int, timestamp: int = 0) -> list[tuple[int, bool, int, bytes] | None]:
    """(frame, marker, timestamp, payload) per frame, None where audio goes out."""
    out = []
    for n in range(frames):
        packet = sender.frame((timestamp + 160 * n) % (1 << 32))
        out.append(None if packet is None else (n, *packet))
    return out


def test_the_schedule_of_a_press() -> None:
    sender = EventSender()
    assert sender.queue("5", 100, 60) == 1
    assert send(sender, 10, timestamp=4000) == [
        (0, True, 4000, block(5, 160)),
        (1, False, 4000, block(5, 320)),
        (2, False, 4000, block(5, 480)),
        (3, False, 4000, block(5, 640)),
        (4, False, 4000, block(5, 800, end=True)),
        (5, False, 4000, block(5, 800, end=True)),
        (6, False, 4000, block(5, 800, end=True)),
        None,
        None,
        None,
    ]
    assert not sender.active
    assert sender.sent == 1


def test_presses_follow_each_other_with_a_gap() -> None:
    sender = EventSender()
    assert sender.queue("1#a", 100, 100) == 3
    packets = [p for p in send(sender, 60) if p]
    starts = [(n, timestamp) for n, marker, timestamp, _ in packets if marker]
    assert starts == [(0, 0), (10, 1600), (20, 3200)]
    assert sender.sent == 3


@pytest.mark.parametrize(("duration", "gap", "frames"), [(0, 0, 4), (-5, -5, 4), (40, 40, 4), (9_999_999, 20, 402)])
def test_times_are_kept_within_reason(duration: int, gap: int, frames: int) -> None:
    sender = EventSender()
    sender.queue("00", duration, gap)
    starts = [n for n in range(900) if (p := sender.frame(160 * n)) and p.marker]
    assert starts == [0, frames]


def test_what_is_no_key_is_not_taken_and_the_queue_is_bounded() -> None:
    sender = EventSender()
    assert sender.queue("x 1,é", 100, 60) == 1
    assert sender.queue("2" * 1000, 100, 60) == QUEUE - 1
    assert sender.queue("3", 100, 60) == 0


@given(
    st.text(DIGITS, min_size=1, max_size=20), st.integers(20, 400), st.integers(0, 200), st.integers(0, (1 << 32) - 1)
)
def test_what_is_sent_is_received(text: str, duration: int, gap: int, timestamp: int) -> None:
    sender, receiver = EventSender(), EventReceiver()
    sender.queue(text, duration, gap)
    presses: list[Press] = []
    n = 0
    while sender.active:
        packet = sender.frame((timestamp + 160 * n) % (1 << 32))
        n += 1
        if packet:
            presses += receiver.feed(packet.timestamp, packet.payload, n * 20 * MS).presses
    assert "".join(p.digit for p in presses) == text
    assert {p.samples for p in presses} == {max(2, round(duration / 20)) * 160}
