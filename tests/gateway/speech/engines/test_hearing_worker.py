"""gateway/speech/engines/hearing_worker.py"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.speech import mulaw
from gateway.speech.engines.hearing_worker import (
    GUESS_MS,
    LEVEL_DB,
    RATE,
    Answer,
    Audio,
    Drop,
    End,
    Gain,
    Guess,
    Listener,
    Pause,
    Word,
    polished,
)


class Hypothesis:
    def __init__(self, text: str) -> None:
        self.hypstr = text
        self.prob = 0.25


class FakeDecoder:
    """Hears one word for each half second; knows no silence."""

    def __init__(self) -> None:
        self.samples = 0
        self.open = False
        self.utterances = 0

    def start_utt(self) -> None:
        assert not self.open
        self.open, self.samples = True, 0

    def process_raw(self, data: bytes, no_search: bool = False, full_utt: bool = False) -> int:
        assert self.open
        self.samples += len(data) // 2
        return 0

    def end_utt(self) -> None:
        assert self.open
        self.open = False
        self.utterances += 1

    def hyp(self) -> Any:
        words = round(self.samples / (RATE / 2) - 0.2)
        return Hypothesis(" ".join(["i"] + ["see"] * (words - 1))) if words > 0 else None


def audio(ms: int) -> list[Audio]:
    tone = mulaw.encode(8000 * np.sin(np.arange(ms * 8))).tobytes()
    return [Audio(tone[at : at + 640]) for at in range(0, len(tone), 640)]


def take(listener: Listener, *orders: Any) -> list[Word]:
    return [word for order in orders for word in listener.take(order)]


def test_a_turn_is_guessed_committed_and_answered() -> None:
    decoder = FakeDecoder()
    listener = Listener(decoder)
    guesses = take(listener, *audio(2000))
    assert 2 <= len(guesses) <= 2000 // GUESS_MS
    assert all(isinstance(guess, Guess) and guess.stable == 0 for guess in guesses)
    (committed,) = take(listener, Pause())
    assert committed == Guess(0, "I see see see", 13, 2000)
    *_, answer = take(listener, *audio(500), End(0))
    assert isinstance(answer, Answer)
    assert answer.text == "I see see see I"
    assert answer.turn == 0
    assert answer.confidence == pytest.approx((4 * 0.25**0.25 + 0.25) / 5)
    assert decoder.utterances == 2


def test_the_next_turn_begins_anew() -> None:
    listener = Listener(FakeDecoder())
    take(listener, *audio(1000), End(0))
    (guess, *_) = take(listener, *audio(1000))
    assert isinstance(guess, Guess)
    assert guess.turn == 1
    (answer,) = take(listener, End(1))
    assert isinstance(answer, Answer)
    assert answer.text == "I see"


def test_what_is_dropped_is_forgotten() -> None:
    decoder = FakeDecoder()
    listener = Listener(decoder)
    take(listener, *audio(1000), Drop(), Drop())
    assert not decoder.open
    assert take(listener, End(0)) == [Answer(0, "", 0.0)]


def test_a_pause_without_speech_says_nothing() -> None:
    assert take(Listener(FakeDecoder()), Pause()) == []


@pytest.mark.parametrize(
    ("heard", "written"),
    [("i am here", "I am here"), ("", ""), ("  so am  i ", "So am I"), ("i'm in", "I'm in"), ("big", "Big")],
)
def test_text_is_written_as_people_do(heard: str, written: str) -> None:
    assert polished(heard) == written


@pytest.mark.parametrize("level_db", [-45.0, -26.0, -14.0])
def test_every_speaker_is_brought_to_one_level(level_db: float) -> None:
    gain, random = Gain(), np.random.default_rng(2)
    out = np.zeros(0)
    for _ in range(20):
        speech = random.normal(0, 10 ** (level_db / 20) * 32768, RATE // 5)
        out = gain.apply(np.clip(speech, -32768, 32767).astype(np.int16))
    assert 10 * np.log10(np.mean((out / 32768) ** 2)) == pytest.approx(LEVEL_DB, abs=1.5)


def test_silence_is_not_made_loud_without_bound() -> None:
    assert np.abs(Gain().apply(np.full(RATE, 1, np.int16))).max() <= 16
