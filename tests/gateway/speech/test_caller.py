"""gateway/speech/caller.py"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.speech import caller as module
from gateway.speech.caller import Caller, Tongue, Turn
from gateway.speech.detection import TextDetector
from gateway.speech.endpointing import Tuning
from gateway.speech.stages import EngineFault, Heard, Partial, Stage
from tests.gateway.speech.test_endpointing import SILENCE, mulaw
from tests.support.engines import PretendEngine

SPEECH = mulaw(-20, 600)
PAUSE = SILENCE * 8 * 800
DETECTOR = TextDetector()


class Notes:
    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.spoke = 0
        self.partials: list[str] = []
        self.faults: list[EngineFault] = []

    def speaks(self) -> None:
        self.spoke += 1

    def partly(self, partial: Partial, at_ms: int) -> None:
        self.partials.append(partial.text)

    def said(self, turn: Turn) -> None:
        self.turns.append(turn)

    def misheard(self, fault: EngineFault) -> None:
        self.faults.append(fault)


class Line:
    """A caller on a line: `say` feeds audio in frames, on one media clock."""

    def __init__(self, engine: PretendEngine, given: str | None, among: list[str]) -> None:
        assert engine.recognizer is not None
        self.engine = engine
        self.notes = Notes()
        self.tongue = Tongue(given, among, DETECTOR)
        self.caller = Caller(engine.recognizer, self.tongue, self.notes, Tuning())
        self.ear = engine.recognizer.ears[-1]
        self._at_ms = 0

    def say(self, audio: bytes) -> None:
        for at in range(0, len(audio), 160):
            self.caller.audio(self._at_ms, audio[at : at + 160])
            self._at_ms += 20

    async def settled(self) -> None:
        if self.caller._understanding is not None:
            await self.caller._understanding


def on_a_line(scenario: Callable[[Line], Awaitable[None]], given: str | None = "en", detects: bool = False) -> None:
    async def main() -> None:
        engine = PretendEngine("pretend", hears={"en", "es"}, detects=detects)
        await scenario(Line(engine, given, ["en", "es"]))

    asyncio.run(main())


def test_a_turn_is_fed_with_its_beginning_and_understood() -> None:
    async def scenario(line: Line) -> None:
        line.engine.hears_next = ["good morning"]
        line.say(PAUSE + SPEECH + PAUSE)
        await line.settled()
        (turn,) = line.notes.turns
        assert (turn.text, turn.language, turn.confidence) == ("good morning", "en", 0.9)
        assert 500 <= turn.start_ms <= 800 < 1400 <= turn.end_ms
        assert SPEECH in bytes(line.ear.fed)
        assert line.notes.spoke == 1

    on_a_line(scenario)


def test_a_cough_does_not_interrupt_and_speech_does_before_it_ends() -> None:
    async def scenario(line: Line) -> None:
        line.say(PAUSE + mulaw(-20, 120) + PAUSE)
        assert line.notes.spoke == 0
        line.say(mulaw(-20, 400))
        assert line.notes.spoke == 1
        line.caller.close()

    on_a_line(scenario)


def test_turns_stay_in_order_though_the_first_takes_longer() -> None:
    async def scenario(line: Line) -> None:
        line.say(SPEECH + PAUSE + SPEECH + PAUSE)
        first, second = line.ear.ends
        second.set_result(Heard("second", "en", 1.0))
        await asyncio.sleep(0)
        assert line.notes.turns == []
        first.set_result(Heard("first", "en", 1.0))
        await line.settled()
        assert [turn.text for turn in line.notes.turns] == ["first", "second"]

    on_a_line(scenario)


def test_a_lost_turn_is_told_and_the_next_is_heard() -> None:
    async def scenario(line: Line) -> None:
        line.engine.hears_next = [EngineFault(Stage.RECOGNITION, "pretend", "gone", retryable=True), "here"]
        line.say(SPEECH + PAUSE + SPEECH + PAUSE)
        await line.settled()
        assert len(line.notes.faults) == 1
        assert [turn.text for turn in line.notes.turns] == ["here"]

    on_a_line(scenario)


def test_what_waits_is_bounded() -> None:
    async def scenario(line: Line) -> None:
        for _ in range(module.WAITING + 3):
            line.say(SPEECH + PAUSE)
        assert line.caller.given_up == 3
        for number, end in enumerate(line.ear.ends):
            if not end.done():
                end.set_result(Heard(str(number), "en", 1.0))
        await line.settled()
        assert [turn.text for turn in line.notes.turns] == [str(n) for n in range(3, module.WAITING + 3)]

    on_a_line(scenario)


def test_closing_gives_up_what_is_not_understood() -> None:
    async def scenario(line: Line) -> None:
        line.say(SPEECH + PAUSE)
        line.caller.close()
        await asyncio.sleep(0)
        assert line.ear.closed
        assert line.ear.ends[0].cancelled()
        assert line.notes.turns == []

    on_a_line(scenario)


@pytest.mark.parametrize("detects", [True, False])
def test_the_language_is_found_out_with_the_first_turn(detects: bool) -> None:
    async def scenario(line: Line) -> None:
        assert line.tongue.language == "en"
        line.say(SPEECH + PAUSE)
        line.ear.ends[0].set_result(Heard("quiero hablar con una persona", "es" if detects else "en", 1.0))
        await line.settled()
        assert line.notes.turns[0].language == "es"
        assert line.tongue.language == "es"

    on_a_line(scenario, given=None, detects=detects)
