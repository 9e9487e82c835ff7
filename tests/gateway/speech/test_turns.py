"""gateway/speech/turns.py"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.speech.endpointing import Tuning
from gateway.speech.turns import Began, Ended, Event, Paused, Spoke, Turns
from tests.gateway.speech.test_endpointing import SILENCE, mulaw

TUNING = Tuning(hangover_ms=500)
HISS = mulaw(-55, 20_000, seed=7)


def feed(turns: Turns, audio: bytes, start_ms: int = 0, frame: int = 160) -> list[Event]:
    events: list[Event] = []
    for at in range(0, len(audio), frame):
        events += turns.push(start_ms + at // 8, audio[at : at + frame])
    return events


def kinds(events: list[Event]) -> list[str]:
    """Without the audio, and what came twice in a row once."""
    return [type(event).__name__ for event in events if not isinstance(event, Spoke)]


def given_audio(events: list[Event]) -> bytes:
    return b"".join(event.mulaw for event in events if isinstance(event, Spoke))


def hiss(ms: int) -> bytes:
    return HISS[: ms * 8]


def test_a_turn_with_a_pause() -> None:
    speech = mulaw(-20, 1000), mulaw(-20, 600, seed=1)
    events = feed(Turns(TUNING, 260), hiss(1000) + speech[0] + hiss(340) + speech[1] + hiss(1000))
    assert kinds(events) == ["Began", "Paused", "Paused", "Ended"]
    began, ended = events[0], events[-1]
    assert began == Began(1000)
    assert isinstance(ended, Ended)
    assert ended.start_ms == 1000
    assert ended.end_ms == pytest.approx(2940, abs=20)
    assert ended.voiced_ms == pytest.approx(1600, abs=40)
    pauses = [event.at_ms for event in events if isinstance(event, Paused)]
    assert pauses == pytest.approx([2000, 2940], abs=20)
    audio = given_audio(events)
    assert speech[0] + hiss(340) + speech[1] in audio  # the pause too, as it was
    assert 200 <= len(audio) // 8 - 1940 <= 200 + TUNING.tail_ms + 60


def test_the_silence_at_the_end_is_given_to_nobody() -> None:
    events = feed(Turns(TUNING, 260), hiss(500) + mulaw(-20, 1000) + hiss(3000))
    assert len(given_audio(events)) // 8 <= 200 + TUNING.onset_ms + 1000 + TUNING.tail_ms
    assert kinds(events)[-1] == "Ended"


def test_a_pause_is_told_when_it_has_lasted_a_clause() -> None:
    turns = Turns(TUNING, 260)
    assert kinds(feed(turns, hiss(200) + mulaw(-20, 500) + hiss(240))) == ["Began"]
    assert kinds(feed(turns, hiss(60), 940)) == ["Paused"]
    assert kinds(feed(turns, hiss(160), 1000)) == []
    assert kinds(feed(turns, hiss(80), 1160)) == ["Ended"]


def test_a_click_is_no_turn() -> None:
    assert kinds(feed(Turns(TUNING, 260), hiss(500) + mulaw(-10, 40) + hiss(1000))) == []


def test_a_long_turn_is_cut_and_goes_on() -> None:
    events = feed(Turns(Tuning(longest_ms=2000), 260), mulaw(-20, 5000) + hiss(600))
    ends = [event for event in events if isinstance(event, Ended)]
    assert [end.cut for end in ends] == [True, True, False]
    assert len(given_audio(events)) >= 5000 * 8


def test_softer_endings_belong_to_the_turn() -> None:
    events = feed(Turns(TUNING, 260), hiss(500) + mulaw(-30, 600) + mulaw(-47.5, 300) + hiss(800))
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended.end_ms >= 1300


def test_who_leaves_has_finished() -> None:
    turns = Turns(TUNING, 260)
    feed(turns, hiss(200) + mulaw(-20, 500))
    assert kinds(turns.flush()) == ["Ended"]
    assert kinds(turns.flush()) == []


def test_a_short_hole_in_the_clock_is_silence_a_long_one_ends_the_turn() -> None:
    turns = Turns(TUNING, 260)
    feed(turns, mulaw(-20, 500))
    assert kinds(feed(turns, mulaw(-20, 200), 800)) == ["Paused"]
    events = feed(turns, mulaw(-20, 200), 9000)
    assert kinds(events) == ["Ended", "Began"]
    assert isinstance(events[0], (Ended, Spoke))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(20, 1500)), max_size=8),
    st.sampled_from([80, 160, 320, 800, 1600]),
)
@settings(max_examples=40, deadline=None)
def test_turns_begin_and_end_in_order_whatever_comes(parts: list[tuple[bool, int]], frame: int) -> None:
    audio = b"".join(mulaw(-20, ms) if loud else SILENCE * (ms * 8) for loud, ms in parts)
    turns = Turns(TUNING, 260)
    events = feed(turns, audio, frame=frame) + turns.flush()
    open_since: int | None = None
    for event in events:
        if isinstance(event, Began):
            assert open_since is None
            open_since = event.at_ms
        else:
            assert open_since is not None
            if isinstance(event, Ended):
                assert open_since == event.start_ms <= event.end_ms
                open_since = None
    assert open_since is None
    assert len(given_audio(events)) <= len(audio) + 500 * 8
