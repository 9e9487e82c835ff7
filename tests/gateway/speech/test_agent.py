"""gateway/speech/agent.py"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.speech.agent import NAME, Agent, Part
from gateway.speech.dialogue import Dialogue
from gateway.speech.phrases import phrase
from gateway.speech.stages import EngineFault, Heard, Partial, Stage, Tool, ToolCall
from gateway.speech.terms import Terms
from gateway.speech.toolbox import Hands
from tests.gateway.speech.test_endpointing import SILENCE, mulaw
from tests.support.agents import Ear, until
from tests.support.engines import PretendEngine
from tests.support.interpreting import means, tongue
from tests.support.sinks import Measured

SPEECH = mulaw(-20, 600)
PAUSE = SILENCE * 8 * 800
FAULT = EngineFault(Stage.THINKING, "pretend", "away", retryable=True)


class Tools:
    """One tool, which does something with the agent's hands."""

    told = (Tool("do", "", {}),)

    def __init__(self, hands: Hands, do: Callable[[Hands], Awaitable[str]]) -> None:
        self._hands, self._do = hands, do

    async def run(self, call: ToolCall) -> str:
        return await self._do(self._hands)


class Scene:
    def __init__(self, do: Callable[[Hands], Awaitable[str]] | None = None, **part: Any) -> None:
        self.ear = Ear()
        self.engine = PretendEngine(
            "pretend", hears={"en", "es"}, pairs={("en", "es"), ("es", "en")}, speaks={"en", "es"}, thinks={"*"}
        )
        self.measured = Measured()
        self.dialogue: Dialogue

        async def system(question: str) -> str:
            return "be kind"

        def dialogue(hands: Hands, language: Callable[[], str]) -> Dialogue:
            assert self.engine.thinker is not None
            tools = None if do is None else Tools(hands, do)
            self.dialogue = Dialogue(self.engine.thinker, system, tools)
            return self.dialogue

        languages = {"customer": part.pop("language", "en"), "agent": part.pop("human", "en")}
        played = Part(lambda name, likely: tongue(languages[name], likely or "en"), dialogue, **part)
        made = means(self.engine, self.ear.clock, self.measured)
        self.agent = Agent(self.ear, Terms("ai_agent", languages["customer"], languages["agent"]), played, made)
        self.ear.attach(
            lambda mark: self.agent.played("customer", mark),
            lambda played, dropped: self.agent.cleared("customer", played, dropped),
        )
        self._at_ms: dict[str, int] = {}

    def say(self, audio: bytes, speaker: str = "customer") -> None:
        for at in range(0, len(audio), 160):
            at_ms = self._at_ms.get(speaker, 0)
            self.agent.audio(speaker, at_ms, audio[at : at + 160])
            self._at_ms[speaker] = at_ms + 20

    def turn(self, text: str, answer: list[str | ToolCall] | None = None, speaker: str = "customer") -> None:
        """The caller says something; so the thinker answers."""
        self.engine.hears_next.append(text)
        if answer is not None:
            self.engine.thinks_next.append(answer)
        self.say(SPEECH + PAUSE, speaker)

    async def heard(self, finals: int) -> None:
        """The listener plays whatever comes, until so many turns are in the transcript."""
        async with asyncio.timeout(10):
            while len(self.ear.finals) < finals:
                self.ear.play(20)
                await asyncio.sleep(0.001)

    @property
    def transcript(self) -> list[tuple[str, str]]:
        return [(final["speaker"], final["text"]) for final in self.ear.finals]

    @property
    def history(self) -> list[tuple[str, str]]:
        return [(message.role, message.text) for message in self.dialogue.history]


def play(scenario: Callable[[Scene], Awaitable[None]], *args: Any, **part: Any) -> None:
    async def main() -> None:
        scene = Scene(*args, **part)
        await scenario(scene)
        scene.agent.close()

    asyncio.run(main())


def test_it_greets_once_and_answers() -> None:
    async def scenario(scene: Scene) -> None:
        scene.agent.joined("customer")
        scene.agent.joined("customer")
        await scene.heard(1)
        scene.turn("when do you open", ["We open ", "at nine. Every day."])
        await scene.heard(3)
        assert scene.transcript == [
            (NAME, "Welcome to the shop."), ("customer", "when do you open"), (NAME, "We open at nine. Every day."),
        ]  # fmt: skip
        assert scene.history[0] == ("assistant", "Welcome to the shop.")
        assert scene.ear.working == [True, False, True, False]
        assert scene.ear.to == "customer"
        assert scene.ear.finals[0]["metadata"] is None  # nobody waited for the greeting

    play(scenario, greeting="Welcome to the shop.")


def test_the_first_clause_is_spoken_while_the_rest_is_thought() -> None:
    async def scenario(scene: Scene) -> None:
        assert scene.engine.synthesizer is not None
        scene.turn("hello", ["One moment please. ", "Here ", "it ", "is."])
        await scene.heard(2)
        assert scene.engine.synthesizer.asked == [("One moment please.", "en"), ("Here it is.", "en")]

    play(scenario)


def test_an_interruption_stops_it_and_only_what_was_heard_counts() -> None:
    async def scenario(scene: Scene) -> None:
        scene.turn("tell me", ["one two three four five six seven eight nine ten"])
        await until(lambda: scene.ear.received_ms == 200)
        scene.ear.play(60)
        scene.turn("stop", ["Of course."])
        await until(lambda: len(scene.ear.finals) == 3)
        await scene.heard(4)
        assert scene.ear.waiting_ms == 0
        answers = [final for final in scene.ear.finals if final["speaker"] == NAME]
        assert [answer["text"] for answer in answers] == ["one two three", "Of course."]
        assert [answer["metadata"].get("interrupted") for answer in answers] == [True, None]
        assert sorted(scene.measured.events) == ["interrupted", "turn", "turn"]
        assert ("assistant", "one two three [interrupted by the caller]") in scene.history

    play(scenario)


def test_where_the_time_of_an_answer_went_is_told_everywhere() -> None:
    async def scenario(scene: Scene) -> None:
        scene.engine.stalls = {Stage.THINKING}
        scene.turn("tell me", ["One two three. ", "Four."])
        await until(lambda: scene.engine.thinker is not None and scene.engine.thinker.asked)
        scene.ear.now += 1.0
        scene.engine.go.set()
        await until(lambda: scene.ear.received_ms)
        scene.ear.now += 0.3
        await scene.heard(2)
        asked, answered = (final["metadata"]["timing_ms"] for final in scene.ear.finals)
        assert asked == {"final": 500}  # the frames of a turn come at once here, and its end with them
        assert answered == {"final": 500, "answered": 1500, "first_audio": 1500, "heard": 1820}
        assert scene.ear.timings == [("customer", answered)]
        assert {(name, of) for name, _, of in scene.measured.times} == {(name, "answer") for name in answered}

    play(scenario)


def test_an_answer_that_nobody_heard_is_timed_as_far_as_it_came() -> None:
    async def scenario(scene: Scene) -> None:
        scene.turn("tell me", ["One two three."])
        await until(lambda: scene.ear.received_ms == 60)
        scene.agent.left("customer")
        assert scene.ear.timings == [("customer", {"final": 500, "answered": 500, "first_audio": 500})]

    play(scenario)


def test_who_hangs_up_in_the_middle_is_written_down_as_far_as_he_was_understood() -> None:
    async def scenario(scene: Scene) -> None:
        scene.say(SPEECH)
        assert scene.engine.recognizer is not None
        scene.engine.recognizer.ears[0].partial(Partial("I will not"))
        scene.agent.left("customer")
        await asyncio.sleep(0)
        assert scene.transcript == [("customer", "I will not")]

    play(scenario)


def test_turns_are_told_in_their_order_though_the_first_takes_longer() -> None:
    async def scenario(scene: Scene) -> None:
        scene.say(SPEECH + PAUSE + SPEECH + PAUSE)
        assert scene.engine.recognizer is not None
        first, second = scene.engine.recognizer.ears[0].ends
        second.set_result(Heard("my order", "en", 1.0))
        await asyncio.sleep(0.01)
        assert scene.transcript == []
        scene.engine.thinks_next.append(["Here."])
        first.set_result(Heard("where is", "en", 1.0))
        await scene.heard(3)
        assert scene.transcript == [("customer", "where is"), ("customer", "my order"), (NAME, "Here.")]
        assert ("user", "where is my order") in scene.history

    play(scenario)


def test_who_goes_on_speaking_while_it_thinks_is_answered_once() -> None:
    async def scenario(scene: Scene) -> None:
        scene.engine.stalls = {Stage.THINKING}
        scene.turn("where is", [])
        await until(lambda: scene.engine.thinker is not None and scene.engine.thinker.asked)
        scene.engine.thinks_next.clear()
        scene.engine.stalls = set()
        scene.turn("my order", ["It is on its way."])
        await scene.heard(3)
        assert scene.transcript[-1] == (NAME, "It is on its way.")
        assert ("user", "where is my order") in scene.history

    play(scenario)


def test_a_noise_in_the_middle_of_thinking_does_not_lose_the_question() -> None:
    async def scenario(scene: Scene) -> None:
        scene.engine.stalls = {Stage.THINKING}
        scene.turn("where is my order", [])
        await until(lambda: scene.engine.thinker is not None and scene.engine.thinker.asked)
        scene.engine.thinks_next.clear()
        scene.engine.stalls = set()
        scene.turn("", ["Here."])
        await scene.heard(2)
        assert scene.transcript == [("customer", "where is my order"), (NAME, "Here.")]

    play(scenario)


def test_a_fault_is_told_to_the_session_and_the_caller() -> None:
    async def scenario(scene: Scene) -> None:
        scene.engine.faults[Stage.THINKING] = [FAULT]
        scene.turn("hola", [])
        await scene.heard(2)
        assert scene.transcript[-1] == (NAME, phrase("trouble", "es")[1])
        assert scene.ear.errors == ["internal_error"]
        scene.engine.thinks_next.clear()
        scene.turn("otra vez", ["Claro."])
        await scene.heard(4)
        assert scene.transcript[-1] == (NAME, "Claro.")

    play(scenario, language="es")


def test_a_turn_that_was_not_understood_is_asked_for_again() -> None:
    async def scenario(scene: Scene) -> None:
        scene.engine.hears_next.append(EngineFault(Stage.RECOGNITION, "pretend", "away", retryable=True))
        scene.say(SPEECH + PAUSE)
        await scene.heard(1)
        assert scene.transcript == [(NAME, phrase("trouble", "en")[1])]

    play(scenario)


async def _refer(hands: Hands) -> str:
    return await hands.transfer("sip:600@pbx.example.com", "refer")


async def _dial(hands: Hands) -> str:
    return await hands.transfer("sip:600@pbx.example.com", "dial")


async def _end(hands: Hands) -> str:
    hands.end_call()
    return "ok"


CALL = ToolCall("c1", "do", "{}")


def test_a_transfer_waits_until_the_caller_has_heard_of_it() -> None:
    async def scenario(scene: Scene) -> None:
        scene.turn("a human please", [CALL])
        scene.engine.thinks_next.append(["I connect you now."])
        await until(lambda: scene.ear.received_ms)
        assert scene.ear.done == []
        await scene.heard(2)
        await until(lambda: scene.ear.done)
        assert scene.ear.done == [("transfer", "customer", "sip:600@pbx.example.com")]
        scene.agent.refused("customer", "486")
        await scene.heard(3)
        assert scene.transcript[-1] == (NAME, phrase("unreachable", "en")[1])

    play(scenario, _refer)


def test_a_human_who_is_called_takes_over_and_leaves_again() -> None:
    dialled: list[str] = []

    async def dial(to: str) -> str:
        dialled.append(to)
        return ""

    async def scenario(scene: Scene) -> None:
        scene.turn("a human please", [CALL])
        scene.engine.thinks_next.append(["I call somebody."])
        await scene.heard(2)
        await until(lambda: dialled)
        scene.agent.joined("agent")
        scene.turn("hello")
        scene.turn("how can I help", speaker="agent")
        await scene.heard(4)
        assert {speaker for speaker, _ in scene.transcript[2:]} == {"customer", "agent"}
        assert scene.engine.thinks_next == []
        scene.agent.left("agent")
        scene.turn("are you still there", ["I am."])
        await scene.heard(6)
        assert scene.transcript[-1] == (NAME, "I am.")
        assert dialled == ["sip:600@pbx.example.com"]

    play(scenario, _dial, dial=dial)


def test_a_human_of_another_language_is_translated_both_ways_until_he_leaves() -> None:
    async def scenario(scene: Scene) -> None:
        scene.turn("hola", ["Hola."])
        await scene.heard(2)
        scene.agent.joined("agent")
        assert scene.ear.modes == ["bidirectional_translation"]
        scene.turn("quiero hablar")
        scene.turn("one moment", speaker="agent")
        await scene.heard(4)
        told = {final["speaker"]: final["translation"] for final in scene.ear.finals[2:]}
        assert told == {"customer": ("en", "[en quiero hablar]"), "agent": ("es", "[es one moment]")}
        scene.agent.left("agent")
        assert scene.ear.modes == ["bidirectional_translation", None]
        # What the human said last was still on its way: the account of what was heard goes on.
        scene.turn("gracias", ["De nada amigo."])
        await scene.heard(6)
        assert scene.transcript[-1] == (NAME, "De nada amigo.")

    play(scenario, language="es", human="en")


def test_without_anybody_who_dials_the_thinker_is_told() -> None:
    async def scenario(scene: Scene) -> None:
        scene.turn("a human please", [CALL])
        scene.engine.thinks_next.append(["Nobody is there."])
        await scene.heard(2)
        assert ("tool", "nobody can be called from here") in scene.history

    play(scenario, _dial)


@pytest.mark.parametrize("interrupted", [False, True])
def test_it_hangs_up_after_goodbye_unless_the_caller_has_more_to_say(interrupted: bool) -> None:
    async def scenario(scene: Scene) -> None:
        scene.turn("bye", [CALL])
        scene.engine.thinks_next.append(["Goodbye and thank you."])
        await until(lambda: scene.ear.received_ms)
        if interrupted:
            scene.ear.play(20)
            scene.turn("wait", ["Yes?"])
            await scene.heard(4)
            assert scene.ear.done == []
        else:
            await scene.heard(2)
            await until(lambda: scene.ear.done)
            assert scene.ear.done == [("end_call", "customer")]

    play(scenario, _end)


def test_sources_are_in_the_transcript() -> None:
    async def scenario(scene: Scene) -> None:
        scene.turn("when do you open", ["At nine."])
        await scene.heard(2)
        assert scene.ear.finals[1]["metadata"]["sources"] == ["hours.md"]

    play(scenario, sources=lambda: ["hours.md"])


def test_the_end_writes_down_what_was_heard_at_once() -> None:
    async def scenario(scene: Scene) -> None:
        scene.turn("tell me", ["one two three four five six seven eight nine ten"])
        await until(lambda: scene.ear.received_ms == 200)
        scene.ear.play(40)
        scene.agent.close()
        assert scene.transcript[-1] == (NAME, "one two")
        before = scene.ear.received_ms
        scene.say(b"")
        await asyncio.sleep(0.01)
        assert (scene.ear.received_ms, len(scene.ear.finals)) == (before, 2)
        assert scene.ear.working[-1] is False

    play(scenario)
