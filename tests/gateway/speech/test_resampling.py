from __future__ import annotations

from itertools import pairwise
from math import ceil

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from gateway.speech import mulaw
from gateway.speech.resampling import Resampler, ToTelephone, resample

RATES = [(24_000, 8000), (22_050, 8000), (16_000, 8000), (48_000, 8000), (44_100, 8000), (8000, 16_000)]


def tone(hz: float, rate: int, seconds: float = 0.5) -> npt.NDArray[np.float64]:
    return 10_000 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


def level_db(samples: npt.NDArray[np.int16]) -> float:
    middle = samples[len(samples) // 4 : -len(samples) // 4].astype(float)
    return 20 * np.log10(np.sqrt((middle**2).mean()) / (10_000 / np.sqrt(2)) + 1e-9)


@pytest.mark.parametrize(("old", "new"), RATES)
def test_speech_passes_as_it_is_and_in_its_place(old: int, new: int) -> None:
    for hz in (100, 1000, 3000, 3500):
        out = resample(tone(hz, old), old, new)
        expected = tone(hz, new)
        inner = slice(200, min(len(out), len(expected)) - 200)
        assert np.abs(out[inner] - expected[inner]).max() < 20, hz


@pytest.mark.parametrize(("old", "new"), [pair for pair in RATES if pair[0] > pair[1]])
def test_what_would_fold_back_is_gone(old: int, new: int) -> None:
    for hz in (4010, 4500, 5000, 6500, 7900):
        if hz < old / 2:
            assert level_db(resample(tone(hz, old), old, new)) < -60, hz


def test_nothing_new_appears_when_the_rate_is_raised() -> None:
    out = resample(tone(3400, 8000), 8000, 16_000).astype(float)
    spectrum = np.abs(np.fft.rfft(out[1000:5000] * np.hanning(4000)))
    image = spectrum[int(4400 / 4) : int(4800 / 4)].max()
    assert 20 * np.log10(image / spectrum.max()) < -60


@given(
    st.sampled_from([*RATES, (8000, 8000)]),
    st.lists(st.integers(0, 3000), max_size=10),
)
@settings(max_examples=60, deadline=None)
def test_pieces_of_any_length_make_the_same(rates: tuple[int, int], cuts: list[int]) -> None:
    old, new = rates
    samples = np.random.default_rng(7).integers(-20_000, 20_000, 3000).astype(np.int16)
    resampler, edges = Resampler(old, new), [0, *sorted(cuts), 3000]
    pieces = [resampler.feed(samples[start:end]) for start, end in pairwise(edges)]
    whole = np.concatenate([*pieces, resampler.finish()])
    assert len(whole) == ceil(3000 * new / old)
    assert np.array_equal(whole, resample(samples, old, new))


def test_it_agrees_with_a_reference() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 24_000)
    quiet_top = resample_poly(resample_poly(noise, 1, 5), 5, 1)  # nothing above 2400 Hz
    ours, theirs = resample(quiet_top, 24_000, 8000), resample_poly(quiet_top, 1, 3)
    assert np.abs(ours - theirs)[200:-200].max() < 60


def test_full_scale_does_not_wrap_around() -> None:
    square = np.where(np.arange(6000) // 30 % 2, 32767, -32768).astype(np.int16)
    out = resample(square, 24_000, 8000)
    assert (np.sign(out[100:-100].astype(int)) == np.sign(square[::3][100:-100].astype(int))).mean() > 0.8


def test_to_telephone_is_mulaw() -> None:
    telephone = ToTelephone(24_000)
    samples = tone(1000, 24_000)
    octets = telephone.feed(samples[:5000]) + telephone.feed(samples[5000:]) + telephone.finish()
    assert octets == mulaw.encode(resample(samples, 24_000, 8000)).tobytes()
