from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.calls import inputs
from gateway.calls.call import State
from gateway.calls.diagnosis import Diagnosis
from gateway.calls.watch import SHARE, TURNS, Watch
from rtp.engine import Leg
from rtp.plane import STATS

ROWS = 4096


class Runner:
    """A call that notes what it was told."""

    def __init__(self, leg: Leg | None, state: State = State.ACTIVE) -> None:
        self.leg = leg
        self.call = SimpleNamespace(state=state, held=False)
        self.diagnosis = Diagnosis()
        self.told: list[inputs.Input] = []
        self.warnings: list[str] = []
        self.log = SimpleNamespace(warning=lambda event, **_: self.warnings.append(event))

    def feed(self, event: inputs.Input) -> None:
        self.told.append(event)


class Faults(dict[str, Any]):
    def __missing__(self, cause: str) -> Any:
        self[cause] = SimpleNamespace(count=0)
        self[cause].inc = lambda: setattr(self[cause], "count", self[cause].count + 1)
        return self[cause]


class Story:
    def __init__(self) -> None:
        self.stats = np.zeros(ROWS, STATS)
        self.faults = Faults()
        self.watch = Watch(SimpleNamespace(stats=self.stats, capacity=ROWS), SimpleNamespace(audio_faults=self.faults))  # type: ignore[arg-type]
        self.runners: list[Any] = []

    def call(self, state: State = State.ACTIVE) -> Runner:
        row = len(self.runners)
        self.stats["generation"][row] = 1
        self.runners.append(Runner(Leg(row, 1, 40_000), state))
        return self.runners[-1]  # type: ignore[no-any-return]

    def second(self, turns: int = TURNS, **growth: int) -> None:
        for name, count in growth.items():
            self.stats[name][: len(self.runners)] += count
        self.watch.each_second(self.runners)
        for _ in range(turns):
            self.watch.turn()


@pytest.fixture
def story() -> Story:
    return Story()


TALKING = {"last_packet_ns": 1_000_000_000, "frames_up": 50}


def test_a_call_that_talks_is_left_alone(story: Story) -> None:
    runner = story.call()
    story.second(**TALKING)
    runner.told.clear()  # of its first second
    for _ in range(10):
        story.second(**TALKING)
    assert runner.told == []


def test_a_call_without_packets_is_told_of_each_second_and_diagnosed_once(story: Story) -> None:
    runner = story.call()
    story.second(**TALKING)
    story.second(**TALKING)
    runner.told.clear()
    for _ in range(5):
        story.second()
    assert runner.told == [inputs.Tick(2.0)] * 5
    assert runner.warnings == ["one_way_audio"]
    assert story.faults["no_packets"].count == 1


def test_a_call_that_does_not_talk_yet_is_told_and_not_diagnosed(story: Story) -> None:
    runner = story.call(State.PREPARING)
    runner.leg = None
    for _ in range(4):
        story.second(**TALKING)
    assert runner.told == [inputs.Tick(None)] * 4
    assert runner.warnings == []


def test_a_call_in_another_state_with_packets_is_told(story: Story) -> None:
    runner = story.call(State.ENDING)
    for _ in range(4):
        story.second(**TALKING)
    assert len(runner.told) == 4


@pytest.mark.parametrize("calls", [SHARE, SHARE * TURNS, 3000])
def test_many_are_spread_over_the_second_and_all_have_their_turn(story: Story, calls: int) -> None:
    for _ in range(calls):
        story.call()
    story.second(turns=1)
    told = sum(len(runner.told) for runner in story.runners)
    assert told == max(SHARE, -(-calls // TURNS))
    for _ in range(TURNS - 1):
        story.watch.turn()
    assert all(len(runner.told) == 1 for runner in story.runners)
