from __future__ import annotations

import numpy as np
import pytest

from rtp.drift import FEWEST, Drift

ROW = np.array([0])
BLOCK_S = 5.12


def _feed(drift: Drift, ppm: float, noise: np.ndarray, start: int = 0, step: float = 0.0) -> None:
    for i, extra in enumerate(noise, start):
        time_ns = np.array([int(i * BLOCK_S * 1e9)])
        drift.add(ROW, time_ns, np.array([round(-ppm / 125 * i * BLOCK_S + extra + step)]))


@pytest.mark.parametrize("ppm", [0.0, 3.0, -50.0, 200.0])
def test_a_clean_line_is_found_in_half_a_minute(ppm: float) -> None:
    drift = Drift(1)
    _feed(drift, ppm, np.zeros(FEWEST + 1))
    assert abs(drift.ppm[0] - ppm) <= 10
    _feed(drift, ppm, np.zeros(40), FEWEST + 1)
    assert abs(drift.ppm[0] - ppm) <= 1


def test_nothing_is_claimed_too_early() -> None:
    drift = Drift(1)
    _feed(drift, 200, np.zeros(FEWEST - 1))
    assert drift.ppm[0] == 0


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_weighted_least_squares(seed: int) -> None:
    """The recursive sums against numpy's fit of all the blocks at once."""
    drift = Drift(1)
    noise = np.random.default_rng(seed).normal(0, 10, 200)
    _feed(drift, 120, noise)
    i = np.arange(200)
    y = np.rint(-120 / 125 * i * BLOCK_S + noise)
    weight = (1 - 1 / 40) ** (199 - i)
    slope = np.polyfit(i * BLOCK_S, y, 1, w=np.sqrt(weight))[0]
    assert abs(drift.ppm[0] - -125 * slope) <= 1


def test_a_step_of_the_path_is_not_drift() -> None:
    drift = Drift(1)
    _feed(drift, 50, np.zeros(60))
    _feed(drift, 50, np.zeros(60), 60, step=800.0)
    assert abs(drift.ppm[0] - 50) <= 5


def test_one_block_of_nonsense_is_ignored() -> None:
    drift = Drift(1)
    noise = np.zeros(80)
    noise[60] = 5000
    _feed(drift, 50, noise)
    assert abs(drift.ppm[0] - 50) <= 1


def test_a_new_base_keeps_the_figure_and_a_new_leg_does_not() -> None:
    drift = Drift(1)
    _feed(drift, 80, np.zeros(30))
    drift.new_base(ROW)
    assert abs(drift.ppm[0] - 80) <= 2
    _feed(drift, 80, np.zeros(30), 100, step=1e6)
    assert abs(drift.ppm[0] - 80) <= 2
    drift.reset(ROW)
    assert drift.ppm[0] == 0
