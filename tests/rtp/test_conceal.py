from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter, lfiltic

from rtp import conceal
from rtp.conceal import FADED, FRAME, HALF, HISTORY, PITCH_MAX, PITCH_MIN, Concealer
from tests.support import pesqs, playing
from tests.support.speech import VOICES, speech

NO_NOISE = np.zeros((1, FRAME))
LOST = np.ones((1, 2), dtype=bool)
WHOLE = np.zeros((1, 2), dtype=bool)
ROW = np.array([0])


def _moments(count: int) -> list[tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], npt.NDArray[np.int16]]]:
    """(history, frame, future) at places where somebody speaks, each (1, n)."""
    found = []
    rng = np.random.default_rng(3)
    while len(found) < count:
        samples = speech(VOICES[len(found) % len(VOICES)])
        at = int(rng.integers(HISTORY, len(samples) - 2 * FRAME))
        if np.abs(samples[at - FRAME : at + 2 * FRAME].astype(int)).mean() > 300:
            cut = samples[at - HISTORY : at + 2 * FRAME][None]
            found.append((cut[:, :HISTORY], cut[:, HISTORY : HISTORY + FRAME], cut[:, HISTORY + FRAME :]))
    return found


def _tone(hertz: float, samples: int, start: int = 0) -> npt.NDArray[np.int16]:
    turn = 2 * np.pi * hertz / 8000 * np.arange(start, start + samples)
    return np.rint(6000 * np.sin(turn) + 2000 * np.sin(2 * turn + 1))[None].astype(np.int16)


class TestAgainstPlainReferences:
    def test_pitch_is_the_best_normalized_correlation(self) -> None:
        for history, _, _ in _moments(12):
            past = history[0].astype(float)
            template = past[-160:]
            scores = []
            for lag in range(PITCH_MIN, PITCH_MAX + 1):
                there = past[HISTORY - 160 - lag : HISTORY - lag]
                alike = there @ template / np.sqrt((there @ there) * (template @ template) + (100 * 160) ** 2)
                scores.append(alike - 0.1 * (lag - PITCH_MIN) / (PITCH_MAX - PITCH_MIN))
            assert conceal._pitch(history.astype(float))[0] == PITCH_MIN + int(np.argmax(scores))

    def test_extension_is_the_filter_run_on_the_repeated_residual(self) -> None:
        for history, _, _ in _moments(12):
            past = history[0].astype(float)
            window = conceal._WINDOWS[240]
            framed = past[-240:] * window
            r = np.correlate(framed, framed, "full")[239 : 239 + conceal.ORDER + 1]
            r[0] = r[0] * 1.0001 + 1000
            weights = solve_toeplitz(r[:-1], r[1:])
            error_filter = np.concatenate([[1], -weights * 0.99 ** np.arange(1, conceal.ORDER + 1)])
            residual = lfilter(error_filter, [1], past)
            period = int(conceal._pitch(history.astype(float))[0])
            excitation = residual[-period:][np.arange(250) % period]
            state = lfiltic([1], error_filter, past[::-1][: conceal.ORDER])
            expected, _ = lfilter([1], error_filter, excitation, zi=state)
            ours = conceal._extended(history.astype(float), np.array([period]), 250)[0]
            assert np.abs(ours - expected).max() < 0.5

    def test_meeting_is_a_linear_stretch_by_the_best_shift(self) -> None:
        rng = np.random.default_rng(5)
        for _ in range(20):
            past = rng.standard_normal((1, FRAME + HALF + 10)) * 3000
            shift = int(rng.integers(-10, 11))
            behind = past[:, FRAME + shift : FRAME + shift + 70]
            expected = np.interp(np.arange(FRAME) * (1 + shift / FRAME), np.arange(past.shape[1]), past[0])
            assert np.allclose(conceal._met(past, behind, FRAME)[0], expected)


class TestHoles:
    def test_whole_frames_pass_untouched(self) -> None:
        history, frame, future = _moments(1)[0]
        out = Concealer(1).process(ROW, frame, WHOLE, history, future, ~WHOLE, NO_NOISE)
        assert (out == frame).all()

    @pytest.mark.parametrize("hertz", [80.0, 125.0, 200.0])
    @pytest.mark.parametrize("look_ahead", [False, True])
    def test_a_steady_tone_goes_on_as_if_nothing_were_missing(self, hertz: float, look_ahead: bool) -> None:
        history, frame, future = (_tone(hertz, n, at) for n, at in ((HISTORY, 0), (160, HISTORY), (160, HISTORY + 160)))
        out = Concealer(1).process(ROW, frame * 0, LOST, history, future, np.full((1, 2), look_ahead), NO_NOISE)
        error = (out - frame.astype(float)).std() / frame.std()
        assert error < (0.15 if look_ahead else 0.35)

    def test_only_what_is_missing_changes(self) -> None:
        history, frame, future = _moments(1)[0]
        holed = frame.copy()
        holed[:, HALF:] = 12345
        missing = np.array([[False, True]])
        out = Concealer(1).process(ROW, holed, missing, history, future, ~WHOLE, NO_NOISE)
        assert (out[:, :HALF] == frame[:, :HALF]).all()
        assert np.abs(out[:, HALF:].astype(int)).max() < 12345

    def test_what_stands_in_a_missing_half_is_never_heard(self) -> None:
        history, frame, future = _moments(1)[0]
        for missing in ([True, True], [True, False], [False, True]):
            holes = np.repeat(np.array([missing]), HALF, axis=1)
            outs = [
                Concealer(1).process(
                    ROW, np.where(holes, np.int16(v), frame), np.array([missing]), history, future, WHOLE, NO_NOISE
                )
                for v in (0, 30000)
            ]
            assert (outs[0] == outs[1]).all()

    def test_a_hole_seen_to_its_end_needs_no_cross_fade_behind_it(self) -> None:
        history, frame, future = _moments(1)[0]
        concealer = Concealer(1)
        concealer.process(ROW, frame, LOST, history, future, ~WHOLE, NO_NOISE)
        assert not concealer.active[0]

    def test_a_hole_without_look_ahead_stays_active_until_speech_is_back(self) -> None:
        history, frame, future = _moments(1)[0]
        concealer = Concealer(1)
        concealer.process(ROW, frame, LOST, history, future, WHOLE, NO_NOISE)
        assert concealer.active[0]
        out = concealer.process(ROW, future, WHOLE, history, future, WHOLE, NO_NOISE)
        assert not concealer.active[0]
        changed = np.flatnonzero(out[0] != future[0])
        assert changed.size > 0
        assert changed.max() < conceal.RECOVERY

    def test_a_long_hole_is_background_noise_and_nothing_else_from_60_ms_on(self) -> None:
        history, frame, future = _moments(1)[0]
        concealer = Concealer(1)
        noise = np.rint(np.random.default_rng(1).standard_normal((1, FRAME)) * 20)
        for _ in range(FADED // FRAME):
            concealer.process(ROW, frame, LOST, history, future, WHOLE, noise)
        assert concealer.faded(ROW)[0]
        out = concealer.process(ROW, frame, LOST, history, future, WHOLE, noise)
        assert (out == noise).all()

    def test_silence_before_the_hole_stays_silence(self) -> None:
        nothing = np.zeros((1, HISTORY), dtype=np.int16)
        out = Concealer(1).process(ROW, nothing[:, :160] + 99, LOST, nothing, nothing[:, :160], ~WHOLE, NO_NOISE)
        assert not out.any()

    def test_loudest_input_does_not_wrap_around(self) -> None:
        square = np.where(np.arange(640) // 40 % 2, 32767, -32768).astype(np.int16)[None]
        out = Concealer(1).process(ROW, square[:, 320:480], LOST, square[:, :320], square[:, 480:], ~WHOLE, NO_NOISE)
        assert np.sign(out[0, 10:30]).tolist() == np.sign(square[0, 330:350]).tolist()

    @pytest.mark.parametrize("look_ahead", [False, True])
    def test_no_click_at_either_edge(self, look_ahead: bool) -> None:
        """The steps of the filled signal are no larger than those of the speech around the hole."""
        for history, frame, future in _moments(24):
            concealer = Concealer(1)
            first = concealer.process(ROW, frame, LOST, history, future, np.full((1, 2), look_ahead), NO_NOISE)
            then = concealer.process(ROW, future, WHOLE, history, future, WHOLE, NO_NOISE)
            real = np.concatenate([history[0], frame[0], future[0]]).astype(float)
            heard = np.concatenate([history[0], first[0], then[0]]).astype(float)
            limit = np.abs(np.diff(real)).max()
            edges = np.abs(np.diff(heard))[[HISTORY - 1, HISTORY, HISTORY + FRAME - 1, HISTORY + FRAME]]
            assert edges.max() <= 1.2 * limit


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=3, max_size=12), st.integers(1, 9))
def test_a_row_is_the_same_bits_alone_and_among_others(pattern: list[tuple[bool, bool]], place: int) -> None:
    """FIELD's isolation rule, for every pattern of halves that a leg may meet."""
    rng = np.random.default_rng(place)
    others = 10
    frames = np.stack([speech(VOICES[i % 6])[8000 + 37 * i :][: (len(pattern) + 3) * FRAME] for i in range(others)])
    lost = rng.random((others, len(pattern) + 1, 2)) < 0.4
    lost[place] = [*pattern, (False, False)]
    noise = np.rint(rng.standard_normal((others, FRAME)) * 10)

    def run(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
        concealer = Concealer(others)
        heard = frames[:, : 2 * FRAME].copy()
        for f in range(len(pattern)):
            at = (f + 2) * FRAME
            out = concealer.process(
                rows,
                frames[rows, at : at + FRAME],
                lost[rows, f],
                heard[rows, -HISTORY:],
                frames[rows, at + FRAME : at + 2 * FRAME],
                ~lost[rows, f + 1],
                noise[rows],
            )
            wide = np.zeros((others, FRAME), dtype=np.int16)
            wide[rows] = out
            heard = np.concatenate([heard, wide], axis=1)
        return heard[place]

    assert (run(np.arange(others)) == run(np.array([place]))).all()


@pytest.mark.parametrize("look_ahead", [True, False])
@pytest.mark.parametrize("condition", ["random 3 %", "random 10 %", "bursts of 3, 5 %", "bursts of 5, 10 %"])
def test_sounds_better_than_repeating_the_last_frame(condition: str, look_ahead: bool) -> None:
    """A small copy of the table of tools/sound-report: PESQ, all voices, 2 seeds each."""
    frames, lengths = pesqs.framed(VOICES, 2)
    received = playing.companded(frames)
    lost = pesqs.losses(condition, lengths, frames.shape[1])
    ours = pesqs.scores(frames, playing.concealed(received, lost, look_ahead), lengths).mean()
    repeated = pesqs.scores(frames, pesqs.repeat_with_fade(received, lost), lengths).mean()
    nothing = pesqs.scores(frames, pesqs.silence(received, lost), lengths).mean()
    assert ours >= repeated + 0.10
    assert ours >= nothing
