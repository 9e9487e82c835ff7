from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from rtp.comfort import ORDER_MAX, ComfortNoise, payload

ROW = np.array([0])


def _payload(level: int, *coefficients: int) -> npt.NDArray[np.uint8]:
    return np.array([level, *coefficients], dtype=np.uint8)


def _second(comfort: ComfortNoise, row: int = 0) -> npt.NDArray[np.float64]:
    """A whole circle of the row's noise."""
    return np.concatenate([comfort.noise(np.array([row]))[0] for _ in range(52)])[:8192].astype(float)


def _rms_dbov(noise: npt.NDArray[np.float64]) -> float:
    return float(20 * np.log10(np.sqrt((noise**2).mean()) / 32768))


class TestIn:
    @pytest.mark.parametrize("level", [20, 45, 70, 127])
    def test_level_is_what_the_sender_says(self, level: int) -> None:
        comfort = ComfortNoise(1)
        comfort.describe(0, _payload(level))
        assert _rms_dbov(_second(comfort)) == pytest.approx(-level, abs=0.05)

    def test_first_bit_of_the_level_is_ignored(self) -> None:
        plain, marked = ComfortNoise(1), ComfortNoise(1)
        plain.describe(0, _payload(40))
        marked.describe(0, _payload(40 | 0x80))
        assert (plain.noise(ROW) == marked.noise(ROW)).all()

    def test_no_coefficients_are_white_noise(self) -> None:
        comfort = ComfortNoise(1)
        comfort.describe(0, _payload(40))
        power = (np.abs(np.fft.rfft(_second(comfort))) ** 2)[:4096].reshape(8, -1).mean(axis=1)
        assert power.max() / power.min() < 1.3

    @pytest.mark.parametrize("coefficients", [(60,), (200,), (40, 190), (100, 150, 90, 140, 127, 110)])
    def test_the_spectrum_is_that_of_the_lattice(self, coefficients: tuple[int, ...]) -> None:
        """Against a filter run sample by sample, its polynomial from the textbook's step-up recursion."""
        polynomial = [1.0]
        for octet in coefficients:
            k = 258 * (octet - 127) / 32768
            padded = [*polynomial, 0.0]
            polynomial = [a + k * b for a, b in zip(padded, padded[::-1], strict=True)]
        white = np.random.default_rng(1).standard_normal(400_000)
        expected = np.abs(np.fft.rfft(lfilter([1], polynomial, white).reshape(-1, 400), axis=1)) ** 2
        expected = expected.mean(axis=0)[:200].reshape(20, 10).mean(axis=1)
        comfort = ComfortNoise(1)
        comfort.describe(0, _payload(40, *coefficients))
        ours = (np.abs(np.fft.rfft(_second(comfort))) ** 2)[:4000].reshape(20, 200).mean(axis=1)
        ratio = 10 * np.log10((ours / ours.mean()) / (expected / expected.mean()))
        assert np.abs(ratio).max() < 1.5

    def test_shaped_noise_has_the_level_too_and_no_seam(self) -> None:
        comfort = ComfortNoise(1)
        comfort.describe(0, _payload(30, 220, 60))
        noise = np.concatenate([_second(comfort), _second(comfort)])
        assert _rms_dbov(noise) == pytest.approx(-30, abs=0.1)
        steps = np.abs(np.diff(noise))
        assert steps[8191] <= np.quantile(steps, 0.999)

    @given(st.binary(max_size=40))
    def test_any_payload_makes_finite_noise(self, octets: bytes) -> None:
        comfort = ComfortNoise(1)
        comfort.describe(0, np.frombuffer(octets, dtype=np.uint8))
        noise = comfort.noise(ROW)
        assert np.isfinite(noise).all()
        assert np.abs(noise).max() <= 32768 * 12

    def test_more_coefficients_than_are_used_are_ignored(self) -> None:
        few, many = ComfortNoise(1), ComfortNoise(1)
        few.describe(0, _payload(40, *[90] * ORDER_MAX))
        many.describe(0, _payload(40, *[90] * 200))
        assert (few.noise(ROW) == many.noise(ROW)).all()

    def test_an_empty_payload_changes_nothing(self) -> None:
        comfort = ComfortNoise(1)
        comfort.describe(0, _payload(40))
        comfort.describe(0, _payload(0)[:0])
        assert comfort.level[0] > 0


class TestRows:
    def test_a_row_is_the_same_alone_and_among_others(self) -> None:
        together, alone = ComfortNoise(6), ComfortNoise(6)
        for comfort in (together, alone):
            comfort.describe(3, _payload(40, 200, 60))
        together.describe(1, _payload(20))
        together.noise(np.array([0, 1]))
        for _ in range(5):
            crowd = together.noise(np.arange(6))
            assert (crowd[3] == alone.noise(np.array([3]))[0]).all()

    def test_reset_is_silence(self) -> None:
        comfort = ComfortNoise(1)
        comfort.describe(0, _payload(20, 200))
        comfort.reset(ROW)
        assert not comfort.noise(ROW).any()

    def test_background_is_at_the_callers_level(self) -> None:
        comfort = ComfortNoise(2)
        levels = np.array([100.0, 0.0], dtype=np.float32)
        frames = np.concatenate([comfort.background(np.array([0, 1]), levels) for _ in range(50)], axis=1)
        assert np.sqrt((frames[0] ** 2).mean()) == pytest.approx(100, rel=0.03)
        assert not frames[1].any()


@pytest.mark.parametrize(("dbov", "octet"), [(0, 0), (-70, 70), (-70.6, 71), (-300, 127), (3, 0)])
def test_out(dbov: float, octet: int) -> None:
    assert payload(dbov) == bytes([octet])
