"""The columns against RFC 3550 A.1, A.3 and A.8 written down plainly for one leg."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp import plane
from rtp.errors import RejectReason as R
from rtp.reception import MAX_DROPOUT, MAX_MISORDER, WINDOW, Reception

MS = 1_000_000


class Plain:
    """One leg with Python ints and sets."""

    def __init__(self) -> None:
        self.ssrc: int | None = None
        self.highest = self.base = 0
        self.seen: set[int] = set()
        self.received = self.duplicates = self.reordered = self.changes = 0
        self.past_expected = 0
        self.wanted: tuple[int, int] | None = None
        self.last: tuple[int, int] | None = None
        self.jitter = 0.0

    def update(self, sequence: int, timestamp: int, ssrc: int, arrival_ns: int, timed: bool) -> tuple[R, bool]:
        verdict, restarted = self.sequence(sequence, ssrc)
        if verdict == R.OK and timed:
            if self.last is not None:
                spacing = (arrival_ns - self.last[0]) * 8000 / 1e9
                steps = (timestamp - self.last[1] + (1 << 31)) % (1 << 32) - (1 << 31)
                away = abs(spacing - steps)
                if away < 16000:
                    self.jitter += (away - self.jitter) / 16
            self.last = (arrival_ns, timestamp)
        return verdict, restarted

    def sequence(self, sequence: int, ssrc: int) -> tuple[R, bool]:
        step = (sequence - self.highest + 32768) % 65536 - 32768
        if ssrc == self.ssrc and -MAX_MISORDER < step < MAX_DROPOUT:
            self.received += 1
            number = self.highest + step
            self.highest = max(self.highest, number)
            if step > 0:
                self.seen.add(number)
                return R.OK, False
            if number in self.seen and step > -WINDOW:
                self.duplicates += 1
                return R.DUPLICATE, False
            self.seen.add(number)
            self.reordered += 1
            return R.OK, False
        if self.ssrc is not None and self.wanted != (ssrc, sequence):
            self.wanted = (ssrc, (sequence + 1) % 65536)
            return R.BAD_SEQUENCE, False
        if self.ssrc is not None:
            self.past_expected += self.highest - self.base + 1
            self.changes += ssrc != self.ssrc
        self.ssrc, self.highest, self.base, self.seen = ssrc, sequence, sequence, {sequence}
        self.received += 1
        self.wanted = self.last = None
        self.jitter = 0.0
        return R.OK, True

    @property
    def expected(self) -> int:
        return 0 if self.ssrc is None else self.past_expected + self.highest - self.base + 1


def one(leg: Reception, sequence: int, ssrc: int = 7, timestamp: int = 0, at_ns: int = 0, row: int = 0) -> R:
    arrival = leg.update(
        np.array([row]),
        np.array([sequence % 65536], np.uint16),
        np.array([timestamp % (1 << 32)], np.uint32),
        np.array([ssrc], np.uint32),
        at_ns,
    )
    return R(int(arrival.reject[0]))


def feed(leg: Reception, sequences: list[int], ssrc: int = 7) -> list[str]:
    return [one(leg, s, ssrc).label for s in sequences]


def expected(leg: Reception, row: int = 0) -> int:
    return int(leg.expected(np.array([row]))[0])


steps = st.one_of(
    st.just(1),
    st.integers(-4, 6),
    st.integers(-110, 110),
    st.sampled_from([0, 2999, 3000, 30000, -99, -100, -64, -63]),
)
packets = st.tuples(steps, st.sampled_from([5, 5, 5, 9]), st.integers(0, 400), st.integers(0, 60), st.booleans())


@given(
    st.lists(st.lists(packets, min_size=3, max_size=3), max_size=40),
    st.integers(0, 65535),
    st.integers(0, (1 << 32) - 1),
)
@settings(max_examples=300)
def test_the_columns_agree_with_the_plain_form(
    rounds: list[list[tuple[int, int, int, int, bool]]], sequence: int, timestamp: int
) -> None:
    rows = np.array([4, 0, 2])
    leg = Reception(6)
    plain = [Plain() for _ in rows]
    sequences, stamps, now = [sequence] * 3, [timestamp] * 3, 10**15
    for packets_now in rounds:
        now += 20 * MS
        for k, (step, _, advance, _, _) in enumerate(packets_now):
            sequences[k] = (sequences[k] + step) % 65536
            stamps[k] = (stamps[k] + advance) % (1 << 32)
        ssrcs = [p[1] for p in packets_now]
        arrivals = [now + p[3] * MS for p in packets_now]
        timed = [p[4] for p in packets_now]
        got = leg.update(
            rows,
            np.array(sequences, np.uint16),
            np.array(stamps, np.uint32),
            np.array(ssrcs, np.uint32),
            np.array(arrivals, np.int64),
            np.array(timed),
        )
        want = [plain[k].update(sequences[k], stamps[k], ssrcs[k], arrivals[k], timed[k]) for k in range(3)]
        assert list(zip(got.reject.tolist(), got.restarted.tolist(), strict=True)) == want
        assert leg.received[rows].tolist() == [p.received for p in plain]
        assert leg.expected(rows).tolist() == [p.expected for p in plain]
        assert leg.duplicates[rows].tolist() == [p.duplicates for p in plain]
        assert leg.reordered[rows].tolist() == [p.reordered for p in plain]
        assert leg.ssrc_changes[rows].tolist() == [p.changes for p in plain]
        assert leg.jitter[rows] == pytest.approx([p.jitter for p in plain])
    assert leg.received[[1, 3, 5]].tolist() == [0, 0, 0]


@pytest.mark.parametrize("uptime_s", [0, 30 * 86400, 365 * 86400])
def test_jitter_after_steps_of_a_constant_80(uptime_s: int) -> None:
    """Each packet 10 ms later than its timestamp says: RFC 3550 A.8 gives 80·(1 − (15/16)ⁿ)."""
    leg = Reception(1)
    start = uptime_s * 1000 * MS
    base = uptime_s * 8000
    values = {}
    for n in range(101):
        assert one(leg, n, timestamp=base + 160 * n, at_ns=start + 30 * MS * n) == R.OK
        values[n] = round(float(leg.jitter[0]), 2)
    assert [values[n] for n in (1, 16, 50, 100)] == [5.0, 51.51, 76.83, 79.87]


def test_a_steady_stream_has_no_jitter_after_a_year() -> None:
    leg = Reception(1)
    for n in range(200):
        at = 365 * 86400 * 1000 * MS + n * 20 * MS
        one(leg, n, timestamp=(1 << 32) - 3200 + 160 * n, at_ns=at)
    assert leg.jitter[0] == 0.0


def test_a_new_timestamp_base_is_not_jitter() -> None:
    leg = Reception(1)
    one(leg, 1, timestamp=0, at_ns=0)
    one(leg, 2, timestamp=1 << 30, at_ns=20 * MS)
    one(leg, 3, timestamp=(1 << 30) + 160, at_ns=40 * MS)
    assert leg.jitter[0] == 0.0


def test_loss_reordering_and_duplicates_are_told_apart() -> None:
    leg = Reception(1)
    assert feed(leg, [10, 11, 14, 13, 13, 14, 15]) == ["ok"] * 4 + ["duplicate"] * 2 + ["ok"]
    assert (expected(leg), leg.received[0], leg.reordered[0], leg.duplicates[0]) == (6, 7, 1, 2)


def test_sequence_wrap() -> None:
    leg = Reception(1)
    assert set(feed(leg, [65533, 65534, 65535, 0, 1, 65532])) == {"ok"}
    block = leg.report(0)
    assert block is not None
    assert block.highest_sequence == 0x10001
    assert expected(leg) == 5


def test_a_new_ssrc_needs_a_second_packet() -> None:
    leg = Reception(1)
    feed(leg, [1, 2, 3])
    assert one(leg, 900, ssrc=8) == R.BAD_SEQUENCE
    assert one(leg, 4) == R.OK
    assert one(leg, 700, ssrc=8) == R.BAD_SEQUENCE
    assert leg.ssrc_changes[0] == 0
    assert one(leg, 701, ssrc=8) == R.OK
    assert (leg.ssrc[0], leg.ssrc_changes[0]) == (8, 1)
    assert (expected(leg), leg.received[0]) == (5, 5)


def test_a_jump_of_the_sequence_needs_a_second_packet_and_is_no_loss() -> None:
    leg = Reception(1)
    assert feed(leg, [1, 2, 40000, 3, 50000, 50001, 50002]) == [
        "ok",
        "ok",
        "bad_sequence",
        "ok",
        "bad_sequence",
        "ok",
        "ok",
    ]
    assert (expected(leg), leg.received[0], leg.ssrc_changes[0]) == (5, 5, 0)


def test_ten_thousand_stray_packets_change_nothing() -> None:
    leg = Reception(1)
    feed(leg, [1, 2])
    rng = np.random.default_rng(1)
    for ssrc in rng.integers(100, 1 << 32, 10_000).tolist():
        assert one(leg, int(rng.integers(0, 65536)), ssrc=ssrc) == R.BAD_SEQUENCE
    assert one(leg, 3) == R.OK
    assert (expected(leg), leg.received[0]) == (3, 3)


def test_report_interval_fraction() -> None:
    """RFC 3550 A.3: lost since the last report, of 256."""
    leg = Reception(1)
    assert leg.report(0) is None
    feed(leg, [n for n in range(100) if n % 4 != 3])
    block = leg.report(0)
    assert block is not None
    assert (block.ssrc, block.fraction_lost, block.cumulative_lost, block.highest_sequence) == (
        7,
        24 * 256 // 99,
        24,
        98,
    )
    feed(leg, list(range(99, 150)))
    assert leg.report(0) == block._replace(fraction_lost=0, highest_sequence=149)
    assert leg.report(0) == block._replace(fraction_lost=0, highest_sequence=149)


def test_duplicates_make_the_cumulative_loss_negative_but_not_the_fraction() -> None:
    leg = Reception(1)
    feed(leg, [1, 2, 2, 2])
    block = leg.report(0)
    assert block is not None
    assert (block.fraction_lost, block.cumulative_lost) == (0, -2)


def test_the_cumulative_loss_fits_24_bits() -> None:
    leg = Reception(1)
    one(leg, 0)
    for n in range(1, 2900):
        one(leg, n * 2999)
    block = leg.report(0)
    assert block is not None
    assert block.cumulative_lost == (1 << 23) - 1
    assert expected(leg) == 2899 * 2999 + 1


def test_after_an_ssrc_change_the_report_speaks_of_the_new_stream() -> None:
    leg = Reception(1)
    feed(leg, [1, 2, 9])
    feed(leg, [100, 101, 102], ssrc=8)
    block = leg.report(0)
    assert block is not None
    assert (block.ssrc, block.cumulative_lost, block.fraction_lost, block.highest_sequence) == (8, 0, 0, 102)


def test_export_fills_the_statistics_of_the_plane() -> None:
    leg = Reception(3)
    for n in (1, 2, 4, 4):
        one(leg, n, timestamp=160 * n, at_ns=30 * MS * n, row=1)
    stats = np.zeros(3, plane.STATS)
    leg.export(stats, np.array([1]))
    row = stats[1]
    assert (row["packets_received"], row["packets_expected"], row["packets_lost"]) == (4, 4, 0)
    assert (row["packets_duplicate"], row["packets_reordered"], row["ssrc_changes"]) == (1, 0, 0)
    assert row["jitter_ms"] == pytest.approx(float(leg.jitter[1]) / 8)
    assert stats[0] == stats[2] == np.zeros(1, plane.STATS)[0]


def test_reset_forgets_one_row_and_no_other() -> None:
    leg = Reception(2)
    for row in (0, 1):
        one(leg, 5, row=row)
        one(leg, 7, row=row)
    leg.reset(np.array([0]))
    assert (leg.received.tolist(), leg.ssrc.tolist(), leg.report(0)) == ([0, 2], [-1, 7], None)
    fresh = Reception(1)
    for name, column in vars(fresh).items():
        assert (vars(leg)[name][0] == column[0]).all()
    assert one(leg, 60000, ssrc=3) == R.OK
