from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp.g711 import LINEAR_TO_MU, MU_ENERGY, MU_SILENCE
from rtp.vad import ATTACK, HANGOVER, LOWEST, RATIO, RISE, Vad, level_dbov
from tests.support.speech import VOICES, speech, with_noise

ROW = np.array([0])
SILENT = np.full((1, 160), MU_SILENCE, dtype=np.uint8)


def _noise(dbov: float, seed: int = 0) -> npt.NDArray[np.uint8]:
    samples = np.random.default_rng(seed).standard_normal((1, 160)) * 32768 * 10 ** (dbov / 20)
    return LINEAR_TO_MU[np.rint(samples).astype(np.int16).view(np.uint16)]


def _speaking(vad: Vad, frames: list[npt.NDArray[np.uint8]]) -> list[bool]:
    return [bool(vad.hear(ROW, frame, MU_ENERGY).speaking[0]) for frame in frames]


class PlainVad:
    """One row, as one would write it without tables."""

    def __init__(self) -> None:
        self.floor = LOWEST
        self.speaking = False
        self.run = 0

    def hear(self, frame: npt.NDArray[np.uint8]) -> bool:
        energy = MU_ENERGY[frame].sum() * np.float32(1 / 160)
        loud = energy > self.floor * RATIO
        self.floor = max(min(self.floor * RISE, energy), LOWEST)
        if loud == self.speaking:
            self.run = 0
        else:
            self.run += 1
        if self.run >= (HANGOVER if self.speaking else ATTACK):
            self.speaking, self.run = not self.speaking, 0
        return self.speaking


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-90, -10), min_size=1, max_size=120))
def test_agrees_with_the_plain_one_and_knows_no_neighbours(levels: list[int]) -> None:
    frames = [_noise(level, i) for i, level in enumerate(levels)]
    plain, together, alone = PlainVad(), Vad(5), Vad(5)
    rng = np.random.default_rng(len(levels))
    for frame in frames:
        crowd = rng.integers(0, 256, (5, 160)).astype(np.uint8)
        crowd[2] = frame
        heard = together.hear(np.arange(5), crowd, MU_ENERGY)
        single = alone.hear(np.array([2]), frame, MU_ENERGY)
        assert heard.speaking[2] == single.speaking[0] == plain.hear(frame[0])
        assert heard.energy[2] == single.energy[0]
        assert together.floor[2] == alone.floor[2]


def test_starts_after_the_attack_and_stops_after_the_hangover() -> None:
    vad = Vad(1)
    assert _speaking(vad, [_noise(-20)] * (ATTACK + 1)) == [False] * (ATTACK - 1) + [True] * 2
    assert _speaking(vad, [SILENT] * (HANGOVER + 1)) == [True] * (HANGOVER - 1) + [False] * 2


def test_changed_is_said_once_for_each_change() -> None:
    vad = Vad(1)
    frames = [SILENT] * 10 + [_noise(-20)] * 30 + [SILENT] * 60
    changes = [bool(vad.hear(ROW, frame, MU_ENERGY).changed[0]) for frame in frames]
    assert np.flatnonzero(changes).tolist() == [10 + ATTACK - 1, 40 + HANGOVER - 1]


def test_a_click_is_not_speech() -> None:
    assert not any(_speaking(Vad(1), [SILENT] * 5 + [_noise(-10)] * (ATTACK - 1) + [SILENT] * 5))


def test_pauses_between_words_do_not_stop_speech() -> None:
    vad = Vad(1)
    frames = ([_noise(-25)] * 15 + [SILENT] * (HANGOVER - 5)) * 6
    assert all(_speaking(vad, frames)[ATTACK:])


def test_steady_noise_becomes_the_floor() -> None:
    vad = Vad(1)
    noise = [_noise(-45, seed) for seed in range(1000)]
    assert not any(_speaking(vad, noise)[-100:])
    assert vad.background(ROW)[0] == pytest.approx(32768 * 10 ** (-45 / 20), rel=0.2)


def test_silence_has_no_audible_background() -> None:
    vad = Vad(1)
    _speaking(vad, [SILENT] * 10)
    assert vad.background(ROW)[0] == 0


@pytest.mark.parametrize("voice", VOICES)
def test_finds_the_speech_of_every_voice_in_a_quiet_room(voice: str) -> None:
    clean = speech(voice)
    loud = (clean.reshape(-1, 160).astype(float) ** 2).mean(axis=1) > 32768**2 * 10**-4.5
    coded = LINEAR_TO_MU[with_noise(clean, -65, 1).view(np.uint16)].reshape(-1, 1, 160)
    vad = Vad(1)
    _speaking(vad, [_noise(-65, seed) for seed in range(100)])
    speaking = np.array(_speaking(vad, list(coded)))
    assert speaking[loud].mean() >= 0.95
    assert not speaking[:8].any()


def test_levels() -> None:
    assert level_dbov(np.array([1.0, 0.01, 0.0], dtype=np.float32)).tolist() == pytest.approx([0, -20, -127])


def test_reset_forgets_the_room() -> None:
    vad = Vad(1)
    _speaking(vad, [_noise(-20)] * 20)
    vad.reset(ROW)
    assert not vad.speaking(ROW)[0]
    assert vad.floor[0] == LOWEST
