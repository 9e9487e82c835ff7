"""gateway/speech/endpointing.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.endpointing import WINDOW_MS, Endpointer, Started, Tuning, Utterance, levels_db

FRAME = 160


def mulaw(level_db: float, ms: int, seed: int = 0) -> bytes:
    """White noise of this level, as mu-law by the nearest code point."""
    noise = np.random.default_rng(seed).standard_normal(ms * 8) * 10 ** (level_db / 20) * 32124
    code = ~np.arange(256) & 0xFF
    values = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    signed = np.where(code & 0x80, -values, values)
    order = np.argsort(signed, kind="stable")
    at = np.clip(np.searchsorted(signed[order], noise), 0, 255)
    return order[at].astype(np.uint8).tobytes()


SILENCE = b"\xff"


def feed(endpointer: Endpointer, audio: bytes, start_ms: int = 0, frame: int = FRAME) -> list[Started | Utterance]:
    events: list[Started | Utterance] = []
    for at in range(0, len(audio), frame):
        events += endpointer.push(start_ms + at // 8, audio[at : at + frame])
    return events


def utterances(events: list[Started | Utterance]) -> list[Utterance]:
    return [event for event in events if isinstance(event, Utterance)]


@pytest.mark.parametrize("level", [-15.0, -20.0, -40.0])
def test_levels(level: float) -> None:
    levels = levels_db(mulaw(level, 2000))
    assert sum(levels) / 100 == pytest.approx(level, abs=0.5)
    assert [levels_db(mulaw(level, 2000)[n : n + FRAME])[0] for n in range(0, 16_000, FRAME)] == pytest.approx(levels)
    assert levels_db(SILENCE * FRAME) == pytest.approx([-100])


@pytest.mark.parametrize("frame", [80, 160, 320, 800, 1600, 8000])
def test_one_utterance_whatever_the_frame(frame: int) -> None:
    speech = mulaw(-20, 1000)
    events = feed(Endpointer(), SILENCE * 8000 + speech + SILENCE * 8000, frame=frame)
    assert isinstance(events[0], Started)
    assert events[0].at_ms == 1000
    (said,) = utterances(events)
    assert speech in said.mulaw
    assert 700 <= said.start_ms <= 1000
    assert 2000 + 400 <= said.end_ms <= 2000 + 400 + 2 * WINDOW_MS
    assert len(said.mulaw) == (said.end_ms - said.start_ms) * 8


def test_a_pause_shorter_than_the_hangover_does_not_split() -> None:
    audio = SILENCE * 4000 + mulaw(-20, 500) + SILENCE * 2400 + mulaw(-20, 500) + SILENCE * 4000
    assert len(utterances(feed(Endpointer(), audio))) == 1
    apart = SILENCE * 4000 + mulaw(-20, 500) + SILENCE * 5600 + mulaw(-20, 500) + SILENCE * 4000
    assert len(utterances(feed(Endpointer(), apart))) == 2


def test_a_click_is_no_speech() -> None:
    assert feed(Endpointer(), SILENCE * 8000 + mulaw(-3, 20) + SILENCE * 8000) == []


def test_a_steady_noise_is_learnt_and_speech_over_it_found() -> None:
    endpointer = Endpointer()
    noise = mulaw(-42, 20_000)
    feed(endpointer, noise)
    assert endpointer._activity.floor_db == pytest.approx(-42, abs=2)
    speech = mulaw(-20, 1000, seed=5)
    (said,) = utterances(feed(endpointer, speech + mulaw(-42, 2000, seed=6), start_ms=20_000))
    assert speech in said.mulaw
    assert said.end_ms < 21_600


def test_nothing_quiet_is_speech() -> None:
    assert feed(Endpointer(), SILENCE * 8000 + mulaw(-52, 3000) + SILENCE * 8000) == []


def test_an_utterance_has_a_longest_length_and_loses_nothing() -> None:
    tuning = Tuning(longest_ms=2000)
    speech = mulaw(-20, 5000)
    endpointer = Endpointer(tuning)
    pieces = utterances(feed(endpointer, speech) + endpointer.flush())
    assert len(pieces) >= 3
    assert all(piece.end_ms - piece.start_ms <= 2000 for piece in pieces)
    assert b"".join(piece.mulaw for piece in pieces) == speech


def test_a_short_hole_keeps_the_timing_a_long_one_ends() -> None:
    speech = mulaw(-20, 400)
    endpointer = Endpointer()
    events = feed(endpointer, speech) + feed(endpointer, speech, start_ms=400 + 200)
    events += feed(endpointer, SILENCE * 8000, start_ms=1000)
    (said,) = utterances(events)
    assert said.mulaw[400 * 8 : 600 * 8] == SILENCE * 1600
    endpointer = Endpointer()
    first = utterances(feed(endpointer, speech) + feed(endpointer, speech, start_ms=5000))
    assert [(u.start_ms, u.end_ms) for u in first] == [(0, 400)]
    (second,) = utterances(endpointer.flush())
    assert (second.start_ms, second.end_ms) == (5000, 5400)


@given(st.lists(st.tuples(st.integers(-200, 3000), st.binary(max_size=400), st.booleans()), max_size=40))
def test_memory_is_bounded_and_time_adds_up(pieces: list[tuple[int, bytes, bool]]) -> None:
    tuning = Tuning(longest_ms=1000)
    endpointer = Endpointer(tuning)
    at = 0
    for jump, octets, loud in pieces:
        at = max(0, at + jump)
        for event in endpointer.push(at, octets * (20 if loud else 1)):
            if isinstance(event, Utterance):
                assert len(event.mulaw) // 8 == event.end_ms - event.start_ms
                assert event.end_ms - event.start_ms <= 1000
        at += len(octets) // 8
        held = len(endpointer._audio)
        assert held <= (1000 + WINDOW_MS) * 8
