from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp.delay import FRAME, LATE_SHARE, LOOK_AHEAD, MS, MUCH, PATIENCE, SETTLED, WINDOW, WORTH, Delay
from tests.support.buffering import Played, always, play, with_pauses
from tests.support.impairments import (
    gamma_jitter,
    reordering,
    schedule,
    sending_times,
    spike,
    stall,
    uniform,
)

ROW = np.array([0])
SECOND = 50  # packets


def _observe(delay: Delay, late_ms: list[float], first: int = 0, row: int = 0) -> None:
    """Packets, one each 20 ms, so many ms late."""
    rows = np.array([row])
    for number, ms in enumerate(late_ms, first):
        at = np.array([10**12 + int((number * 20 + ms) * 1e6)])
        delay.observe(rows, at, np.array([number * FRAME]), np.array([FRAME]))


class TestTarget:
    def test_starts_where_it_is_told(self) -> None:
        assert Delay(1, 20, 60, 200).target[0] == 60 * MS

    def test_a_clean_path_needs_no_more_than_the_minimum(self) -> None:
        delay = Delay(1)
        _observe(delay, [5.0] * 200)
        assert delay.target[0] == 20 * MS

    def test_is_a_quantile_of_the_relative_delays(self) -> None:
        delay = Delay(1)
        late = np.random.default_rng(4).uniform(0, 100, WINDOW)
        late[::37] = 0  # never three late ones in a row
        _observe(delay, late.tolist())
        samples = np.floor((np.arange(WINDOW) * 20 + late) * 8 + 1e-6) - np.arange(WINDOW) * FRAME
        ranked = np.sort(samples)
        expected = ranked[WINDOW - 1 - int(WINDOW * LATE_SHARE)] - ranked[0]
        assert abs(int(delay.target[0]) - expected) <= 1

    def test_is_bounded(self) -> None:
        delay = Delay(1, 20, 40, 100)
        _observe(delay, [0.0, 180.0] * 300)
        assert delay.target[0] == 100 * MS

    def test_forgets_jitter_that_is_over(self) -> None:
        delay = Delay(1)
        _observe(delay, [0.0, 80.0] * 100)
        assert delay.target[0] >= 75 * MS
        _observe(delay, [0.0] * (WINDOW + 128), first=200)
        assert delay.target[0] == 20 * MS

    def test_one_late_packet_is_not_a_reason(self) -> None:
        delay = Delay(1)
        _observe(delay, [0.0] * 500 + [150.0] + [0.0] * 100)
        assert delay.target[0] == 20 * MS

    @pytest.mark.parametrize("before", [SETTLED, 500, 1500])
    def test_a_spike_raises_it_at_once_and_is_forgotten_soon(self, before: int) -> None:
        delay = Delay(1)
        _observe(delay, [0.0] * before + [120.0] * 4)
        assert delay.target[0] == 120 * MS
        _observe(delay, [0.0] * SECOND, first=before + 4)
        assert delay.target[0] == 20 * MS

    def test_a_loss_keeps_the_look_ahead_of_the_concealer(self) -> None:
        delay = Delay(1)
        _observe(delay, [0.0] * 100)
        delay.note_loss(ROW)
        _observe(delay, [0.0] * 100, first=100)
        assert delay.target[0] == LOOK_AHEAD
        _observe(delay, [0.0] * 1600, first=200)
        assert delay.target[0] == 20 * MS

    def test_a_pause_of_the_sender_is_not_lateness(self) -> None:
        delay = Delay(1)
        _observe(delay, [3.0] * 200)
        _observe(delay, [3.0] * 200, first=10_000)
        assert delay.target[0] == 20 * MS

    def test_another_clock_is_harmless_after_reset_base(self) -> None:
        delay = Delay(1)
        _observe(delay, [3.0] * 200)
        delay.reset_base(ROW)
        for number in range(200):
            at = np.array([10**12 + (200 + number) * 20_000_000])
            delay.observe(ROW, at, np.array([77_000_000 + number * FRAME]), np.array([FRAME]))
        assert delay.target[0] == 20 * MS

    def test_a_path_that_becomes_faster_is_believed(self) -> None:
        delay = Delay(1)
        _observe(delay, [300.0] * 100 + [0.0] * 150)
        assert delay.target[0] == 20 * MS


class TestDecide:
    def test_leaves_what_is_right(self) -> None:
        delay = Delay(1)
        _observe(delay, [0.0] * 100)
        now = 10**12 + 99 * 20_000_000
        right = np.array([99 * FRAME - 20 * MS])
        assert delay.decide(ROW, now, right, np.array([True]))[0][0] == 0

    @pytest.mark.parametrize("quiet", [True, False])
    def test_goes_to_a_packets_beginning(self, quiet: bool) -> None:
        delay = Delay(1)
        _observe(delay, [0.0] * 100)
        now = 10**12 + 99 * 20_000_000 + 7_000_000
        for off in (-700, -300, -161, 333, 480, 900):
            cursor = np.array([99 * FRAME - 40 * MS - off])
            move, _ = delay.decide(ROW, now, cursor, np.array([quiet]))
            assert move[0] == 0 or (cursor[0] + move[0]) % FRAME == 0
            if quiet or abs(off) > MUCH + FRAME:
                assert move[0] * off > 0

    def test_speech_is_left_alone_for_longer(self) -> None:
        delay = Delay(2)
        for row in (0, 1):
            _observe(delay, [0.0] * 100, row=row)
        now = 10**12 + 99 * 20_000_000 + 5_000_000
        cursor = np.array([99 * FRAME - 60 * MS] * 2)
        asked = [
            delay.decide(np.array([0, 1]), now, cursor, np.array([True, False]))[0].tolist() for _ in range(PATIENCE)
        ]
        assert asked == [[FRAME, 0]] * (PATIENCE - 1) + [[FRAME, FRAME]]

    @pytest.mark.parametrize("left_ms", [1, 4, 11])
    def test_what_a_seam_left_too_long_is_no_seam_worth(self, left_ms: int) -> None:
        delay = Delay(1)
        _observe(delay, [0.0] * 100)
        now = 10**12 + 99 * 20_000_000 + 5_000_000
        cursor = np.array([99 * FRAME - 40 * MS - left_ms * MS])
        assert delay.decide(ROW, now, cursor, np.array([True]))[0][0] == left_ms * MS
        for _ in range(3 * PATIENCE):
            assert delay.decide(ROW, now, cursor, np.array([False]))[0][0] == 0

    def test_what_a_seam_left_short_is_made_good_by_a_long_one(self) -> None:
        delay = Delay(1)
        _observe(delay, [0.0] * 100)
        now = 10**12 + 99 * 20_000_000
        cursor = np.array([99 * FRAME - 20 * MS + 4 * MS + 1])
        asked = [delay.decide(ROW, now, cursor, np.array([False])) for _ in range(PATIENCE)]
        assert [int(off[0]) for off, _ in asked] == [0] * (PATIENCE - 1) + [-FRAME]
        assert asked[-1][1][0] == WORTH

    def test_packets_of_10_ms_need_10_ms_more(self) -> None:
        delay = Delay(1)
        for number in range(200):
            at = np.array([10**12 + number * 10_000_000])
            delay.observe(ROW, at, np.array([number * 80]), np.array([80]))
        now = 10**12 + 199 * 10_000_000
        # Read at 20 ms, the frame's second packet would have had but 10 ms.
        assert delay.decide(ROW, now, np.array([199 * 80 - 20 * MS]), np.array([True]))[0][0] == -80
        assert delay.decide(ROW, now, np.array([199 * 80 - 30 * MS]), np.array([True]))[0][0] == 0


class TestBridge:
    def _settled(self) -> tuple[Delay, int, int]:
        delay = Delay(1)
        _observe(delay, [0.0] * 100)
        return delay, 10**12 + 99 * 20_000_000, 99 * FRAME - 40 * MS

    def _bridge(self, delay: Delay, now: int, cursor: int, hole: int, gap: int, free: bool) -> int:
        move = delay.bridge(ROW, now, np.array([cursor]), np.array([hole]), np.array([gap]), np.array([free]))
        return int(move[0])

    def test_nothing_ahead_waits(self) -> None:
        delay, now, cursor = self._settled()
        assert self._bridge(delay, now, cursor, 0, -1, False) == -FRAME
        assert self._bridge(delay, now, cursor, 80, -1, False) == -80

    def test_waits_no_longer_than_allowed(self) -> None:
        delay, now, cursor = self._settled()
        assert self._bridge(delay, now, cursor - 150 * MS, 0, -1, False) == 0

    def test_skips_what_is_lost_until_the_delay_is_right(self) -> None:
        delay, now, cursor = self._settled()
        assert self._bridge(delay, now, cursor - 300, 0, 480, False) == 300
        assert self._bridge(delay, now, cursor - 300, 0, 160, False) == 160
        assert self._bridge(delay, now, cursor, 0, 160, False) == 0

    def test_never_skips_what_is_there(self) -> None:
        delay, now, cursor = self._settled()
        assert self._bridge(delay, now, cursor - 300, 80, 480, False) == 0

    def test_waits_in_silence_until_the_delay_is_right(self) -> None:
        delay, now, cursor = self._settled()
        assert self._bridge(delay, now, cursor + 100, 0, 480, True) == -100
        assert self._bridge(delay, now, cursor + 100, 0, 480, False) == 0

    def test_never_goes_back_to_what_was_played(self) -> None:
        delay, now, cursor = self._settled()
        for gap in (-1, 480):
            assert self._bridge(delay, now, cursor + 1000, 0, gap, True) == -FRAME


def _gamma(shape: float, seed: int, in_order: bool) -> Played:
    jitter = gamma_jitter(6000, 30, np.random.default_rng(seed), shape)
    return play(schedule(6000, delay_ns=jitter, in_order=in_order), with_pauses)


class TestNetworks:
    """The rows of the sound table that need no audio, on a virtual clock."""

    @pytest.mark.parametrize("in_order", [False, True])
    def test_gamma_jitter_of_30_ms(self, in_order: bool) -> None:
        """Means of 24 networks of two minutes; one alone has but 30 late packets, so its share is ±0.1 %.

        `late` here is audio that was concealed, waits included; the share of late packets is the engine's to show.
        """
        played = [_gamma(8.0, seed, in_order) for seed in range(24)]
        assert np.mean([one.late for one in played]) <= 0.0055
        assert np.mean([one.waited_ms for one in played]) <= 110

    def test_reordering_is_jitter_like_any_other(self) -> None:
        played = play(schedule(4000, delay_ns=reordering(4000, 0.05, 50, np.random.default_rng(1))), with_pauses)
        assert played.late <= 0.01
        assert np.median(played.present_ms) <= 75

    @pytest.mark.parametrize("speaking", [always, with_pauses])
    @pytest.mark.parametrize(
        "trouble",
        [
            stall(2000, 1000, 100),
            stall(2000, 50, 100),
            spike(2000, 1000, 100, 150),
            spike(2000, 1000, 100, 500),
            stall(2000, 1000, 8),
        ],
        ids=["stall 2 s", "stall 2 s as the call begins", "150 ms late for 2 s", "500 ms late for 2 s", "stall 160 ms"],
    )
    def test_back_at_the_target_3_s_after_a_burst_of_late_packets(self, trouble, speaking) -> None:  # type: ignore[no-untyped-def]
        played = play(schedule(2000, delay_ns=trouble, in_order=True), speaking)
        over = int(np.flatnonzero(trouble)[-1]) / SECOND + 0.1
        after = slice(played.at(over + 3), None)
        assert played.target_ms[after].max() <= 40
        assert played.present_ms[after].max() <= 62  # 40, and up to a frame until the next packet's beginning

    def test_a_stall_within_the_longest_delay_loses_no_words(self) -> None:
        trouble = stall(2000, 1000, 8)
        played = play(schedule(2000, delay_ns=trouble, in_order=True), always)
        # What was concealed while waiting is not lost: it is played afterwards, and the delay shows it.
        assert played.present_ms[played.at(20.25)] >= 100
        assert played.late * len(played.time_s) <= 8

    @pytest.mark.parametrize("speaking", [always, with_pauses])
    @pytest.mark.parametrize("ppm", [200.0, -200.0])
    def test_an_hour_of_drift(self, ppm: float, speaking: Callable[[int], bool]) -> None:
        packets = 3600 * SECOND
        played = play(schedule(packets, sent_ns=sending_times(packets, 20, ppm)), speaking)
        assert np.abs(played.ppm[played.at(120) :] - ppm).max() <= 10
        settled = played.present_ms[played.at(60) :]
        # Without a pause: up to 12 ms that no seam was worth yet.
        assert settled.max() <= (62 if speaking is with_pauses else 62 + WORTH / MS)
        assert settled.min() >= 15
        assert played.audible + played.inaudible <= 60
        assert played.late == 0

    def test_a_path_out_of_reach_is_named_when_it_lasts(self) -> None:
        delay = Delay(1)
        _observe(delay, [0.0] * 100)
        named = []
        for number in range(100, 130):
            at = np.array([10**12 + number * 20_000_000 + 500_000_000])
            named.append(delay.observe(ROW, at, np.array([number * FRAME]), np.array([FRAME])) is not None)
        assert not any(named[:15])
        assert all(named[16:])

    def test_a_burst_at_once_is_no_path(self) -> None:
        delay = Delay(1)
        _observe(delay, [0.0] * 100)
        at = np.array([10**12 + 200 * 20_000_000])
        for number in range(100, 200):
            assert delay.observe(ROW, at, np.array([number * FRAME]), np.array([FRAME])) is None

    def test_a_longer_route_is_followed(self) -> None:
        played = play(schedule(2000, delay_ns=spike(2000, 1000, 1000, 80)), always)
        assert played.late * len(played.time_s) <= 8
        assert played.present_ms[-1] <= 62

    def test_lost_packets_leave_no_delay_behind(self) -> None:
        lost = np.zeros(2000, dtype=bool)
        lost[1000:1100] = True
        played = play(schedule(2000, lost=lost), always)
        assert played.present_ms[played.at(22.2) :].max() <= 62

    def test_random_loss_needs_no_corrections(self) -> None:
        played = play(schedule(2000, lost=uniform(2000, 0.05, np.random.default_rng(1))), always)
        assert played.audible <= 2

    @pytest.mark.parametrize("ppm", [200.0, -200.0])
    @pytest.mark.parametrize("sigma_ms", [0.0, 5.0])
    def test_drift_is_measured_and_followed(self, ppm: float, sigma_ms: float) -> None:
        """Ten minutes here, an hour of the whole engine in tools/sound-report."""
        packets = 600 * SECOND
        jitter = gamma_jitter(packets, sigma_ms, np.random.default_rng(2))
        played = play(schedule(packets, sent_ns=sending_times(packets, 20, ppm), delay_ns=jitter), with_pauses)
        assert abs(played.ppm[-1] - ppm) <= 10
        assert played.present_ms[played.at(60) :].max() <= 75
        assert played.audible <= 10
        assert played.late <= 0.005


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 3.0, 30.0]))
def test_a_row_is_the_same_alone_and_among_others(seed: int, sigma_ms: float) -> None:
    rng = np.random.default_rng(seed)
    others, packets = 7, 300
    late = rng.gamma(2.0, 1 + sigma_ms, (packets, others)) * 1e6
    late[100:105] += 2e8
    together, alone = Delay(others), Delay(others)
    rows, mine = np.arange(others), np.array([3])
    for number in range(packets):
        at = (10**12 + number * 20_000_000 + late[number]).astype(np.int64)
        position, length = np.full(others, number * FRAME), np.full(others, FRAME)
        together.observe(rows, at, position, length)
        alone.observe(mine, at[3:4], position[3:4], length[3:4])
        assert together.target[3] == alone.target[3]
    now, cursor, quiet = 10**12 + packets * 20_000_000, position - 700, rng.random(others) < 0.5
    for ours, its in zip(
        together.decide(rows, now, cursor, quiet), alone.decide(mine, now, cursor[3:4], quiet[3:4]), strict=True
    ):
        assert ours[3] == its[0]
