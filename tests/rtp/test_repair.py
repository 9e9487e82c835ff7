"""Holes and the pace of play-out, through the engine on a virtual clock."""

from collections.abc import Iterator

import numpy as np
import pytest

from rtp import g711
from rtp.plane import FRAME
from tests.support.engine import Engine, rtp_packet


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


def voice(n: int) -> bytes:
    """Frame n of a voice: a pitch of 100 Hz with harmonics, which time scaling finds seams in."""
    at = np.arange(n * FRAME, (n + 1) * FRAME)
    tone = sum(np.sin(2 * np.pi * k * at / 80) / k for k in range(1, 6)) * 5000
    return g711.LINEAR_TO_MU[tone.astype(np.int16).view(np.uint16)].tobytes()


def linear(frames: list[bytes]) -> np.ndarray:
    return g711.MU_TO_LINEAR[np.frombuffer(b"".join(frames), np.uint8)].astype(int)


def talk(engine: Engine, row: int, first: int, count: int, lost: frozenset[int] = frozenset()) -> None:
    for n in range(first, first + count):
        if n not in lost:
            engine.deliver(row, rtp_packet(n, n * FRAME, voice(n)))
        engine.frames(1)


def test_a_hole_in_a_voice_is_filled_without_a_click(engine: Engine) -> None:
    row = engine.open()
    talk(engine, row, 0, 60, lost=frozenset({20, 40, 41}))
    heard = linear(engine.heard[row])
    steepest = np.abs(np.diff(linear([voice(n) for n in range(10)]))).max()
    assert np.abs(np.diff(heard)).max() < 1.3 * steepest
    hole = heard[20 * FRAME : 21 * FRAME]
    assert np.sqrt((hole**2).mean()) > 0.5 * np.sqrt((heard[:FRAME] ** 2).mean())


def test_a_long_hole_fades_to_nothing(engine: Engine) -> None:
    row = engine.open()
    talk(engine, row, 0, 30)
    engine.frames(20)
    assert np.abs(linear(engine.heard[row][-5:])).max() < 100


def test_frames_go_on_while_nothing_arrives(engine: Engine) -> None:
    row = engine.open()
    talk(engine, row, 0, 10)
    before = len(engine.heard[row])
    engine.frames(100)
    assert len(engine.heard[row]) == before + 100


def test_a_burst_is_back_at_its_target_within_three_seconds_of_speech(engine: Engine) -> None:
    """2 s of packets come late and all at once; afterwards the delay shrinks, in speech, without clicks."""
    row = engine.open()
    talk(engine, row, 0, 100)
    engine.frames(100)
    for n in range(100, 200):
        engine.deliver(row, rtp_packet(n, n * FRAME, voice(n)))
    talk(engine, row, 200, 150)
    delay_ms = engine.table.delay.present(np.array([row]), engine.now_ns, engine.table.ring.cursor[[row]])[0] / 8
    target_ms = engine.table.delay.target[row] / 8
    assert delay_ms <= target_ms + 25
    steepest = np.abs(np.diff(linear([voice(n) for n in range(10)]))).max()
    assert np.abs(np.diff(linear(engine.heard[row][-140:]))).max() < 1.5 * steepest


def test_a_delay_that_is_too_long_is_shortened(engine: Engine) -> None:
    row = engine.open()
    talk(engine, row, 0, 100)
    engine.table.ring.cursor[row] -= 8 * FRAME  # 160 ms too late
    before = int(engine.plane.stats["frames_trimmed"][row])
    talk(engine, row, 100, 200)
    assert engine.plane.stats["frames_trimmed"][row] > before
    delay = engine.table.delay.present(np.array([row]), engine.now_ns, engine.table.ring.cursor[[row]])[0]
    assert delay / 8 <= engine.settings.jitter_start_ms + 20  # to a packet's length; not below the start value
