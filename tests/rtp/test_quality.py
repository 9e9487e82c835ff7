"""The E-model against a scalar reading of G.107 and against figures that are published."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp import quality
from rtp.quality import Quality


def plain_r(loss_percent: float, burst: float, delay_ms: float, bpl: float) -> float:
    """G.107 §7 with default values, by the letter."""
    idd = 0.0
    if delay_ms > 100:
        x = math.log(delay_ms / 100) / math.log(2)
        idd = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    ieeff = 0 + (95 - 0) * loss_percent / (loss_percent / burst + bpl)
    return max(93.2 - idd - ieeff, 0.0)


def plain_mos(r: float) -> float:
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def test_clean_g711() -> None:
    assert quality.r_factor(0.0, 1.0, 20.0) == pytest.approx(93.2)
    assert quality.mos(93.2) == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(("r", "mos"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1.0)])
def test_the_table_of_g107_annex_b(r: float, mos: float) -> None:
    assert quality.mos(r) == pytest.approx(mos, abs=0.01)


def test_mos_stays_in_its_scale() -> None:
    scores = quality.mos(np.linspace(-50, 200, 1000))
    assert scores.min() == 1.0
    assert scores.max() == pytest.approx(4.5)
    assert (np.diff(scores) >= 0).all()


@given(st.floats(0, 100), st.floats(1, 20), st.floats(0, 5000), st.sampled_from([25.1, 4.3]))
def test_r_agrees_with_the_plain_form(loss: float, burst: float, delay_ms: float, bpl: float) -> None:
    r = quality.r_factor(loss / 100, burst, delay_ms, bpl)
    assert r == pytest.approx(plain_r(loss, burst, delay_ms, bpl))
    assert quality.mos(r) == pytest.approx(plain_mos(float(r)))


def test_delay_counts_from_100_ms_on() -> None:
    assert quality.delay_impairment([0.0, 50.0, 100.0]).tolist() == [0.0, 0.0, 0.0]
    assert quality.delay_impairment(200.0) == pytest.approx(3.04, abs=0.01)  # x = 1
    assert quality.delay_impairment(400.0) == pytest.approx(24.07, abs=0.01)  # x = 2
    assert (np.diff(quality.delay_impairment(np.arange(100.0, 2000.0, 10.0))) > 0).all()


def test_concealment_and_burstiness_count() -> None:
    assert quality.loss_impairment(0.05) == pytest.approx(95 * 5 / 30.1)
    assert quality.loss_impairment(0.05, bpl=quality.BPL_PLAIN) == pytest.approx(95 * 5 / 9.3)
    assert quality.loss_impairment(0.05, 3.0) > quality.loss_impairment(0.05, 1.0)


def test_burst_ratio_of_random_and_of_bursty_loss() -> None:
    """Random loss has runs of 1/(1 − p) on average; a Gilbert-Elliott channel with runs of 5 has 5·(1 − p)."""
    rng = np.random.default_rng(3)
    lost = rng.random(200_000) < 0.1
    runs = int((lost[1:] & ~lost[:-1]).sum() + lost[0])
    assert quality.burst_ratio(len(lost), lost.sum(), runs) == pytest.approx(1.0, abs=0.02)
    assert quality.burst_ratio(1000, 100, 20) == pytest.approx(5 * 0.9)
    assert quality.burst_ratio([100, 0, 100], [0, 0, 100], [0, 0, 1]).tolist() == [1.0, 1.0, 1.0]


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), max_size=60), st.integers(0, 300))
def test_counting_agrees_with_the_plain_form(frames: list[list[bool]], delay_ms: int) -> None:
    rows = np.array([4, 0, 2])
    legs = Quality(5)
    for lost in frames:
        legs.count(rows, np.array(lost))
    rating = legs.rate(rows, np.full(3, float(delay_ms)))
    for k in range(3):
        mine = [lost[k] for lost in frames]
        runs = sum(now and not before for before, now in zip([False, *mine], mine, strict=False))
        if not mine:
            assert (rating.r[k], rating.mos[k]) == (0.0, 0.0)
            continue
        loss = sum(mine) / len(mine)
        burst = max(sum(mine) / max(runs, 1) * (1 - loss), 1.0)
        assert rating.loss[k] == pytest.approx(loss)
        assert rating.burst_ratio[k] == pytest.approx(burst)
        assert rating.r[k] == pytest.approx(plain_r(loss * 100, burst, delay_ms, 25.1))
        assert rating.mos[k] == pytest.approx(plain_mos(float(rating.r[k])))


def test_an_interval_begins_afresh_and_a_run_may_cross_it() -> None:
    row = np.array([0])
    legs = Quality(1)
    for lost in (False, True, True):
        legs.count(row, np.array([lost]))
    legs.rate(row, 50.0)
    legs.count(row, np.array([True]))
    legs.count(row, np.array([False]))
    rating = legs.rate(row, 50.0)
    assert (rating.loss[0], rating.burst_ratio[0]) == (0.5, 1.0)
    assert legs.rate(row, 50.0).r[0] == 0.0


def test_reset_forgets_one_row_and_no_other() -> None:
    legs = Quality(2)
    legs.count(np.array([0, 1]), np.array([True, True]))
    legs.reset(np.array([0]))
    assert legs.rate(np.array([0, 1]), 0.0).loss.tolist() == [0.0, 1.0]
