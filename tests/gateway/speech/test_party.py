"""gateway/speech/party.py"""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from gateway.speech import party as module
from gateway.speech.party import Party
from gateway.speech.stages import EngineFault, Partial, Stage
from gateway.speech.turn import Turn
from tests.gateway.speech.test_endpointing import SILENCE, mulaw
from tests.support.engines import PretendEngine
from tests.support.interpreting import means, tongue


class Told:
    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.log: list[str] = []

    def began(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.log.append("began")

    def interrupts(self, turn: Turn) -> None:
        self.log.append("interrupts")

    def guessed(self, turn: Turn) -> None:
        self.log.append(f"guessed {turn.guess}")

    def understood(self, turn: Turn) -> None:
        self.log.append(f"understood {turn.text}")

    def failed(self, fault: EngineFault) -> None:
        self.log.append(f"failed {fault.stage}")

    def worked(self, stage: Stage) -> None:
        self.log.append(f"worked {stage}")


class Scene:
    def __init__(self) -> None:
        self.engine = PretendEngine("pretend", hears={"en"})
        self.told = Told()
        self.now = 100.0
        numbers = count(1)
        made = means(self.engine, lambda: self.now)
        self.party = Party("customer", tongue("en"), made, self.told, lambda: f"seg_{next(numbers)}")
        self.clock_ms = 0

    def say(self, ms: int, seed: int = 0) -> None:
        self.hear(mulaw(-20, ms, seed))

    def be_silent(self, ms: int) -> None:
        self.hear(SILENCE * (ms * 8))

    def hear(self, audio: bytes) -> None:
        for at in range(0, len(audio), 160):
            self.now += 0.02  # a frame is there when its last sample is
            self.party.hear(self.clock_ms, audio[at : at + 160])
            self.clock_ms += 20


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_turn_from_its_first_sound_to_its_words() -> None:
    async def main() -> None:
        scene = Scene()
        scene.engine.hears_next = ["good  morning"]
        scene.be_silent(500)
        scene.say(1000)
        (ear,) = scene.engine.recognizer.ears  # type: ignore[union-attr]
        ear.partial(Partial("good"))
        ear.partial(Partial("good"))
        scene.be_silent(300)
        assert ear.pauses == 1
        ear.partial(Partial("good morning", stable=12))
        scene.be_silent(300)
        await settle()
        log = ["began", "interrupts", "guessed good", "guessed good morning", "worked recognition"]
        assert scene.told.log == [*log, "understood good morning"]
        (turn,) = scene.told.turns
        assert (turn.start_ms, turn.end_ms) == (500, 1500)
        assert turn.ended_at == pytest.approx(100.0 + 1.5)
        assert [turn.clauses.get_nowait() for _ in range(2)] == ["good morning", None]

    asyncio.run(main())


def test_a_knock_is_dropped() -> None:
    async def main() -> None:
        scene = Scene()
        scene.say(80)
        scene.be_silent(700)
        (ear,) = scene.engine.recognizer.ears  # type: ignore[union-attr]
        assert ear.dropped == 1
        assert ear.ends == []
        assert scene.told.log == ["began", "understood "]

    asyncio.run(main())


def test_a_fault_costs_the_turn_and_keeps_what_was_guessed() -> None:
    async def main() -> None:
        scene = Scene()
        scene.engine.hears_next = [EngineFault(Stage.RECOGNITION, "pretend", "away", retryable=True), "again"]
        scene.say(500)
        (ear,) = scene.engine.recognizer.ears  # type: ignore[union-attr]
        ear.partial(Partial("hel"))
        scene.be_silent(600)
        await settle()
        assert scene.told.log[-2:] == ["failed recognition", "understood hel"]
        assert scene.told.turns[0].failed
        scene.say(500, seed=1)
        scene.be_silent(600)
        await settle()
        assert scene.told.log[-2:] == ["worked recognition", "understood again"]

    asyncio.run(main())


def test_who_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)

    async def main() -> None:
        scene = Scene()
        scene.say(500)
        scene.be_silent(600)
        for _ in range(2000):
            if "failed recognition" in scene.told.log:
                break
            await asyncio.sleep(0.005)
        assert scene.told.turns[0].failed

    asyncio.run(main())


def test_turns_that_wait_are_bounded() -> None:
    async def main() -> None:
        scene = Scene()
        for seed in range(module.WAITING + 2):
            scene.say(300, seed)
            scene.be_silent(600)
        await settle()
        assert scene.told.log.count("began") == module.WAITING
        assert scene.party.missed == 2
        assert scene.party.close() is None

    asyncio.run(main())


def test_who_leaves_is_understood_still() -> None:
    async def main() -> None:
        scene = Scene()
        scene.engine.hears_next = ["bye"]
        scene.say(500)
        scene.party.leave()
        await settle()
        assert scene.told.log[-1] == "understood bye"
        await settle()
        (ear,) = scene.engine.recognizer.ears  # type: ignore[union-attr]
        assert ear.closed

    asyncio.run(main())


def test_without_a_recognizer_nobody_is_told_of_turns() -> None:
    told = Told()
    engine = PretendEngine("pretend", hears={"en"})
    deaf = Party("agent", tongue("xx"), means(engine, lambda: 0.0), told, lambda: "seg")
    audio = mulaw(-20, 500)
    for at in range(0, len(audio), 160):
        deaf.hear(at // 8, audio[at : at + 160])
    assert deaf.is_speaking
    assert not deaf.can_hear
    assert not deaf.means_to_speak
    assert told.log == []
