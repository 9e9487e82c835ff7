from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp.timescale import AHEAD, FRAME, LAG_MAX, LAG_MIN, SEAM, compress, expand
from tests.support.speech import VOICES, speech

I16 = npt.NDArray[np.int16]
NOISY = np.array([False])
QUIET = np.array([True])
ANY = np.array([0])  # a seam of any length will do
SPANS = [(0, 19), (0, 20), (0, 60), (0, 160), (0, 900), (96, 95), (96, 96), (96, 160)]
FADE = 0.5 - 0.5 * np.cos(np.pi * (np.arange(SEAM) + 0.5) / SEAM)


def _most(samples: int) -> npt.NDArray[np.int64]:
    return np.array([samples])


def _best_lag(
    here: npt.NDArray[np.float64], there: Callable[[int], npt.NDArray[np.float64]], most: int, least: int = 0
) -> int:
    """The plain search: the longest peak within 5 % of the best correlation, 0 when the best is too low."""
    alike = {}
    enough = 0.85 if least else 0.6
    for lag in range(max(least, LAG_MIN), min(most, LAG_MAX) + 1):
        other = there(lag)
        alike[lag] = here @ other / np.sqrt((here @ here) * (other @ other) + (100 * SEAM) ** 2)
    best = max(alike.values(), default=-1.0)
    if best < enough:
        return 0
    peaks = [lag for lag in alike if alike[lag] >= max(alike.get(lag - 1, -1), alike.get(lag + 1, -1))]
    return max(lag for lag in peaks if alike[lag] >= max(best * 0.95, enough))


def _moments(count: int) -> list[I16]:
    """(1, 320) of speech each."""
    rng = np.random.default_rng(8)
    places = [(speech(VOICES[i % len(VOICES)]), int(rng.integers(4000, 36000))) for i in range(count)]
    return [samples[at : at + AHEAD][None] for samples, at in places]


class TestAgainstPlainReferences:
    @pytest.mark.parametrize(("least", "most"), SPANS)
    def test_compress(self, least: int, most: int) -> None:
        for ahead in _moments(20):
            x = ahead[0].astype(float)
            lag = _best_lag(x[:SEAM], lambda lag, x=x: x[lag : lag + SEAM], most, least)
            expected = x[lag : lag + FRAME].copy()
            expected[:SEAM] = x[:SEAM] * (1 - FADE) + expected[:SEAM] * FADE
            frame, removed = compress(ahead, np.array([least]), _most(most), NOISY)
            assert removed[0] == lag
            assert (frame[0] == (np.rint(expected) if lag else x[:FRAME])).all()

    @pytest.mark.parametrize(("least", "most"), SPANS)
    def test_expand(self, least: int, most: int) -> None:
        for around in _moments(20):
            x = around[0].astype(float)
            here = x[FRAME : FRAME + SEAM]
            lag = _best_lag(here, lambda lag, x=x: x[FRAME - lag : FRAME - lag + SEAM], most, least)
            expected = x[FRAME - lag : 2 * FRAME - lag].copy()
            expected[:SEAM] = here * (1 - FADE) + expected[:SEAM] * FADE
            frame, inserted = expand(around, np.array([least]), _most(most), NOISY)
            assert inserted[0] == lag
            assert (frame[0] == (np.rint(expected) if lag else x[FRAME:])).all()


def _tone(hertz: float, samples: int) -> I16:
    return np.rint(8000 * np.sin(2 * np.pi * hertz / 8000 * np.arange(samples)))[None].astype(np.int16)


def _compressed(samples: I16) -> tuple[I16, int]:
    out, cursor, removed_in_all, frame_number = [], 0, 0, 0
    while cursor + AHEAD <= len(samples):
        if frame_number % 3 == 0:
            frame, removed = compress(samples[None, cursor : cursor + AHEAD], ANY, _most(160), NOISY)
            out.append(frame[0])
            cursor += FRAME + int(removed[0])
            removed_in_all += int(removed[0])
        else:
            out.append(samples[cursor : cursor + FRAME])
            cursor += FRAME
        frame_number += 1
    return np.concatenate(out), removed_in_all


def _expanded(samples: I16) -> tuple[I16, int]:
    out, cursor, inserted_in_all, frame_number = [], FRAME, 0, 0
    while cursor + FRAME <= len(samples):
        if frame_number % 3 == 0:
            frame, inserted = expand(samples[None, cursor - FRAME : cursor + FRAME], ANY, _most(160), NOISY)
            out.append(frame[0])
            cursor += FRAME - int(inserted[0])
            inserted_in_all += int(inserted[0])
        else:
            out.append(samples[cursor : cursor + FRAME])
            cursor += FRAME
        frame_number += 1
    return np.concatenate(out), inserted_in_all


def _edge_power(samples: I16) -> float:
    """Share of power above 3.4 kHz, where telephone speech has nearly none: a click is flat and shows here."""
    spectrum = np.abs(np.fft.rfft(samples.astype(float))) ** 2
    return float(spectrum[int(len(spectrum) * 0.85) :].sum() / spectrum.sum())


class TestSound:
    @pytest.mark.parametrize("hertz", [100.0, 160.0, 250.0, 400.0])
    def test_a_tone_stays_a_tone(self, hertz: float) -> None:
        """Its derivative never exceeds what the tone itself has: no step, no click."""
        samples = _tone(hertz, 8000)[0]
        steepest = np.abs(np.diff(samples.astype(int))).max()
        for change in (_compressed, _expanded):
            changed, by = change(samples)
            assert by > 1000
            assert np.abs(np.diff(changed.astype(int))).max() <= steepest * 1.02 + 2

    @pytest.mark.parametrize("voice", VOICES)
    @pytest.mark.parametrize("change", [_compressed, _expanded])
    def test_speech_gets_no_clicks(self, voice: str, change: Callable[[I16], tuple[I16, int]]) -> None:
        samples = speech(voice)
        changed, by = change(samples)
        assert by > len(samples) * 0.05  # it does change the pace, by a good part of what is asked
        assert np.abs(np.diff(changed.astype(int))).max() <= np.abs(np.diff(samples.astype(int))).max()
        assert _edge_power(changed) <= _edge_power(samples) * 1.3

    @pytest.mark.parametrize("voice", VOICES)
    @pytest.mark.parametrize("change", [_compressed, _expanded])
    def test_what_is_not_changed_is_the_stream_itself(
        self, voice: str, change: Callable[[I16], tuple[I16, int]]
    ) -> None:
        """Every frame ends on samples of the stream in their order: only the seams are made up."""
        samples = speech(voice)
        changed, _ = change(samples)
        text = samples.tobytes()
        for frame in changed.reshape(-1, FRAME):
            assert frame[SEAM:].tobytes() in text


class TestPauses:
    def test_exactly_what_is_asked_for_goes(self) -> None:
        noise = np.rint(np.random.default_rng(1).standard_normal((1, AHEAD)) * 30).astype(np.int16)
        for wanted in (1, 19, 77, 160):
            assert compress(noise, ANY, _most(wanted), QUIET)[1][0] == wanted
            assert expand(noise, ANY, _most(wanted), QUIET)[1][0] == wanted
        assert compress(noise, ANY, _most(400), QUIET)[1][0] == LAG_MAX

    def test_a_word_that_begins_is_not_cut(self) -> None:
        noise = np.random.default_rng(1).standard_normal((1, AHEAD)) * 30
        noise[:, FRAME:] *= 30
        assert compress(np.rint(noise).astype(np.int16), ANY, _most(80), QUIET)[1][0] == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9), st.integers(0, 400), st.booleans())
def test_a_row_is_the_same_alone_and_among_others(place: int, most: int, quiet: bool) -> None:
    ahead = np.concatenate(_moments(10))
    mosts = np.full(10, 160)
    mosts[place] = most
    quiets = np.arange(10) % 2 == 0
    quiets[place] = quiet
    leasts = np.arange(10) % 3 * 48
    only = slice(place, place + 1)
    for change in (compress, expand):
        frames, lags = change(ahead, leasts, mosts, quiets)
        frame, lag = change(ahead[only], leasts[only], mosts[only], quiets[only])
        assert (frames[place] == frame[0]).all()
        assert lags[place] == lag[0]
