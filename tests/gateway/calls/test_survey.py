import numpy as np
import pytest

from gateway.calls.diagnosis import SILENT_FRAMES, WATCHED
from gateway.calls.survey import Survey
from rtp.engine import Leg
from rtp.plane import STATS

LEG = Leg(2, 7, 40_000)
GROWTH = {"last_packet_ns": 1_000_000_000, "frames_up": 50}


@pytest.fixture
def stats() -> np.ndarray:
    stats = np.zeros(4, STATS)
    stats["generation"][LEG.row] = LEG.generation
    return stats


def after(stats: np.ndarray, survey: Survey, seconds: int, **growth: int) -> None:
    for _ in range(seconds):
        for name, count in growth.items():
            stats[name][LEG.row] += count
        survey.take(stats)


def test_of_its_first_second_nothing_is_said(stats: np.ndarray) -> None:
    survey = Survey(4)
    assert survey.of(LEG) is None
    assert not survey.is_well(LEG)
    after(stats, survey, 1, **GROWTH)
    assert survey.of(LEG) is None
    assert not survey.is_well(LEG)


def test_a_leg_with_audio_is_well(stats: np.ndarray) -> None:
    survey = Survey(4)
    after(stats, survey, 5, **GROWTH)
    assert survey.is_well(LEG)


@pytest.mark.parametrize(
    "growth",
    [
        {},
        {"frames_up": 50},
        {"packets_stranger": 50},
        {**GROWTH, "packets_refused": 1},
        {**GROWTH, "frames_silent": 50},
    ],
)
def test_a_leg_that_a_rule_might_name_is_not(stats: np.ndarray, growth: dict[str, int]) -> None:
    survey = Survey(4)
    after(stats, survey, SILENT_FRAMES // 50 + 2, **growth)
    assert not survey.is_well(LEG)


def test_what_there_is_and_what_it_grew_by(stats: np.ndarray) -> None:
    survey = Survey(4)
    after(stats, survey, 3, **GROWTH, packets_stranger=3)
    second = survey.of(LEG)
    assert second is not None
    assert second.number == 3
    assert second.now == dict.fromkeys(WATCHED, 0) | {"last_packet_ns": 3e9, "frames_up": 150, "packets_stranger": 9}
    assert second.grown == dict.fromkeys(WATCHED, 0) | GROWTH | {"packets_stranger": 3}


def test_the_next_leg_of_a_row_is_another_one(stats: np.ndarray) -> None:
    survey = Survey(4)
    after(stats, survey, 3, **GROWTH)
    stats["generation"][LEG.row] = 8
    after(stats, survey, 1, **GROWTH)
    for leg in (LEG, LEG._replace(generation=8)):
        assert survey.of(leg) is None
        assert not survey.is_well(leg)
    after(stats, survey, 1, **GROWTH)
    assert survey.is_well(LEG._replace(generation=8))
    assert not survey.is_well(LEG)
