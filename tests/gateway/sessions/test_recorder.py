"""gateway/sessions/recorder.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sessions.recorder import AGENT, CHANNELS, CUSTOMER, TO_AGENT, TO_CUSTOMER, Recorder

T0 = 1_800_000_000.0


def tracks(recorder: Recorder, now: float) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Everything so far, with what came late put in. (frames, 4)"""
    blocks = [recorder.take(now, final=True)]
    while blocks[-1].octets:
        blocks.append(recorder.take(now, final=True))
    frames = np.frombuffer(b"".join(b.octets for b in blocks), np.uint8).reshape(-1, CHANNELS).copy()
    for channel, first, octets in blocks[0].late:
        frames[first : first + len(octets), channel] = np.frombuffer(octets, np.uint8)
    return frames


def where(track: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> tuple[int, int]:
    """First sample that is no silence, and how many there are."""
    found = np.flatnonzero(track != 0xFF)
    return (int(found[0]), len(found)) if len(found) else (-1, 0)


def frame(mark: int) -> bytes:
    return bytes([mark]) * 160


def test_two_parties_on_one_clock() -> None:
    recorder = Recorder(T0)
    for n in range(50):
        recorder.heard("customer", 7_000 + n * 20, frame(1), T0 + 0.02 * (n + 1))
        recorder.heard("agent", n * 20, frame(2), T0 + 0.5 + 0.02 * (n + 1))
    made = tracks(recorder, T0 + 2)
    assert len(made) == 16_000
    assert where(made[:, CUSTOMER]) == (0, 8000)
    assert where(made[:, AGENT]) == (4000, 8000)


def test_jitter_moves_nothing() -> None:
    recorder = Recorder(T0)
    random = np.random.default_rng(1)
    sound = random.integers(0, 127, 160 * 100, np.uint8).tobytes()
    for n in range(100):
        late = float(random.uniform(0, 0.15)) if n else 0.0
        recorder.heard("customer", n * 20, sound[n * 160 : (n + 1) * 160], T0 + 0.02 * (n + 1) + late)
    made = tracks(recorder, T0 + 3)
    assert made[:16000, CUSTOMER].tobytes() == sound


def test_a_replay_after_a_lost_stream_finds_its_place() -> None:
    recorder = Recorder(T0)
    written = []
    for n in range(500):
        now = T0 + 0.02 * (n + 1)
        if not 100 <= n < 300:
            recorder.heard("customer", n * 20, frame(1), now)
        if n == 300:
            for missed in range(100, 300):
                recorder.heard("customer", missed * 20, frame(2), now)
        if n % 50 == 49:
            written.append(recorder.take(now))
    written.append(recorder.take(T0 + 10, final=True))
    made = np.frombuffer(b"".join(block.octets for block in written), np.uint8).reshape(-1, 4).copy()
    for block in written:
        for channel, first, octets in block.late:
            made[first : first + len(octets), channel] = np.frombuffer(octets, np.uint8)
    assert made[:, CUSTOMER].tobytes() == frame(1) * 100 + frame(2) * 200 + frame(1) * 200


def test_translation_lies_where_it_is_heard() -> None:
    recorder = Recorder(T0)
    recorder.said("customer", "agent", b"\x01" * 8000, T0 + 1)
    recorder.said("customer", "agent", b"\x02" * 8000, T0 + 1.2)  # queued behind the first
    recorder.said("agent", None, b"\x03" * 800, T0 + 5)
    made = tracks(recorder, T0 + 6)
    assert where(made[:, TO_AGENT]) == (8000, 16000)
    assert (made[16000:24000, TO_AGENT] == 2).all()
    assert where(made[:, TO_CUSTOMER]) == (40_000, 800)
    assert where(made[:, CUSTOMER]) == (-1, 0)


def test_what_was_cleared_was_not_heard() -> None:
    recorder = Recorder(T0)
    recorder.said("customer", "agent", b"\x01" * 16000, T0)
    recorder.cleared("agent", 1500, T0 + 0.5)
    recorder.said("customer", "agent", b"\x02" * 800, T0 + 0.6)
    made = tracks(recorder, T0 + 3)
    assert (made[:4000, TO_AGENT] == 1).all()
    assert where(made[4000:, TO_AGENT]) == (800, 800)
    recorder.cleared("agent", 10_000, T0 + 3)  # more than there is


def test_a_new_leg_and_a_new_count() -> None:
    recorder = Recorder(T0)
    recorder.heard("customer", 500_000, frame(1), T0 + 0.02)
    recorder.rejoined("customer")
    recorder.heard("customer", 0, frame(2), T0 + 1.02)
    recorder.heard("customer", 900_000_000, frame(3), T0 + 2.02)  # a jump that no clock makes
    made = tracks(recorder, T0 + 3)[:, CUSTOMER]
    assert [where(np.where(made == mark, made, 0xFF))[0] for mark in (1, 2, 3)] == [0, 8000, 16000]


def test_a_third_party_is_mixed_with_the_agent() -> None:
    recorder = Recorder(T0)
    recorder.heard("agent", 0, b"\x90" * 160, T0 + 0.02)
    recorder.heard("participant-3", 0, b"\x10" * 160, T0 + 0.02)
    recorder.heard("participant-3", 20, b"\x20" * 160, T0 + 0.04)
    made = tracks(recorder, T0 + 0.1)[:, AGENT]
    assert (made[:160] & 0x7F == 0x7F).all()  # opposite samples cancel
    assert (made[160:320] == 0x20).all()


def test_a_resumed_recorder_goes_on_behind_what_is_written() -> None:
    recorder = Recorder(T0, written=80_000)
    recorder.heard("customer", 0, frame(1), T0 + 20.02)
    made = tracks(recorder, T0 + 21)
    assert len(made) == 21 * 8000 - 80_000
    assert where(made[:, CUSTOMER]) == (20 * 8000 - 80_000, 160)


@pytest.mark.parametrize("ppm", [-200.0, -50.0, 80.0, 200.0])
def test_an_hour_of_drift_and_loss_stays_within_20_ms(ppm: float) -> None:
    recorder = Recorder(T0)
    random = np.random.default_rng(2)
    lost = random.random(180_000) < 0.05
    delays = random.gamma(2.0, 0.01, 180_000)
    worst = 0.0
    for n in range(180_000):
        sent = T0 + 0.02 * (n + 1) / (1 + ppm * 1e-6)
        if lost[n]:
            continue
        recorder.heard("customer", n * 20, b"\x01" * 160, sent + delays[n])
        if n % 3000 == 2999:
            offset = recorder._speakers["customer"].offset
            assert offset is not None
            true = (sent - T0) * 8000 - 160
            worst = max(worst, abs(n * 160 + offset - true))
            recorder.take(sent + delays[n])
    assert worst / 8 < 20
    assert len(tracks(recorder, T0 + 3600)) > 0
    assert recorder.written == 3600 * 8000


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["customer", "agent", "p3"]),
            st.integers(0, 10**9),
            st.binary(max_size=400),
            st.floats(0, 100),
            st.sampled_from(["heard", "said", "cleared", "rejoined", "take"]),
        ),
        max_size=25,
    )
)
def test_whatever_comes_the_length_is_the_clocks(steps: list[tuple[str, int, bytes, float, str]]) -> None:
    recorder, now, total = Recorder(T0), T0, 0
    for speaker, number, octets, passed, what in steps:
        now += passed
        if what == "heard":
            recorder.heard(speaker, number, octets, now)
        elif what == "said":
            recorder.said(speaker, None if number % 2 else "agent", octets * 50, now)
        elif what == "cleared":
            recorder.cleared(speaker, number, now)
        elif what == "rejoined":
            recorder.rejoined(speaker)
        else:
            block = recorder.take(now)
            total += len(block.octets) // CHANNELS
            assert all(first >= 0 for _, first, _ in block.late)
    while octets := recorder.take(now, final=True).octets:
        assert len(octets) <= 60 * 8000 * CHANNELS
        total += len(octets) // CHANNELS
    assert total == recorder.written == recorder.position(now)
