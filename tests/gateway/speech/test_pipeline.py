"""gateway/speech/pipeline.py"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.speech import patience
from gateway.speech import pipeline as module
from gateway.speech.means import Shared
from gateway.speech.pipeline import Pipeline
from gateway.speech.stages import EngineFault, Partial, Stage
from gateway.speech.terms import Terms
from tests.gateway.speech.test_endpointing import SILENCE, mulaw
from tests.support.engines import TONE, PretendEar, PretendEngine
from tests.support.interpreting import means, tongue
from tests.support.sinks import Measured, NotingSink


class Scene:
    """A session in which English and Spanish are spoken, and an engine that can do both."""

    def __init__(self, mode: str = "bidirectional_translation", hears: tuple[str, ...] = ("en", "es")) -> None:
        both = {("en", "es"), ("es", "en")}
        self.engine = PretendEngine("pretend", hears=set(hears), pairs=both, speaks={"en", "es"})
        self.sink, self.measured = NotingSink(), Measured()
        self.now = 1000.0
        terms = Terms(mode, "en", "es")
        made = means(self.engine, lambda: self.now, self.measured)
        shared = Shared.fresh(made, lambda name: tongue(terms.language_of(name)))
        self.pipeline = Pipeline(self.sink, terms, shared)
        self.clocks: dict[str, int] = {}

    async def say(self, speaker: str, text: str, ms: int = 500) -> None:
        """A turn from its first sound to its end."""
        self.engine.hears_next.append(text)
        self.speak(speaker, ms)
        self.be_silent(speaker, 600)
        await settle()

    def speak(self, speaker: str, ms: int) -> None:
        self.hear(speaker, mulaw(-20, ms, seed=len(self.clocks)))

    def be_silent(self, speaker: str, ms: int) -> None:
        self.hear(speaker, SILENCE * (ms * 8))

    def hear(self, speaker: str, audio: bytes) -> None:
        for at in range(0, len(audio), 160):
            clock = self.clocks.get(speaker, 0)
            self.pipeline.audio(speaker, clock, audio[at : at + 160])
            self.clocks[speaker] = clock + 20
            self.now += 0.02

    def ear(self, number: int = -1) -> PretendEar:
        assert self.engine.recognizer is not None
        return self.engine.recognizer.ears[number]

    def play_everything(self) -> None:
        for target, name in self.sink.marks:
            self.pipeline.played(target, name)


async def until(come: Callable[[], bool]) -> None:
    """Wait for what real time brings."""
    for _ in range(2000):
        if come():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def scene(test: Callable[[Scene], Awaitable[None]], **options: object) -> None:
    async def main() -> None:
        made = Scene(**options)  # type: ignore[arg-type]
        try:
            await test(made)
        finally:
            made.pipeline.close()

    asyncio.run(main())


def test_each_hears_the_other_in_his_own_language() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        await s.say("customer", "good morning")
        s.play_everything()
        await s.say("agent", "buenos dias")
        assert [(f.speaker, f.text, f.translation) for f in s.sink.finals] == [
            ("customer", "good morning", ("es", "[es good morning]")),
            ("agent", "buenos dias", ("en", "[en buenos dias]")),
        ]
        assert s.sink.heard_by("agent") == s.sink.heard_by("customer") == 3 * len(TONE)
        assert s.measured.events == ["turn", "turn"]

    scene(test)


def test_a_lone_party_hears_itself() -> None:
    async def test(s: Scene) -> None:
        await s.say("customer", "good morning")
        assert s.sink.heard_by("customer") == 3 * len(TONE)

    scene(test)


def test_what_was_said_before_a_pause_is_spoken_while_the_turn_goes_on() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        s.speak("customer", 800)
        s.be_silent("customer", 300)
        s.ear().partial(Partial("one moment", stable=10))
        await settle()
        assert s.sink.heard_by("agent") == 3 * len(TONE)
        assert s.sink.finals == []
        s.speak("customer", 400)
        s.engine.hears_next.append("one moment please")
        s.be_silent("customer", 600)
        await settle()
        assert s.engine.translator is not None
        assert [asked[0] for asked in s.engine.translator.asked] == ["one moment", "please"]
        assert s.sink.finals[0].translation == ("es", "[es one moment] [es please]")
        assert s.sink.finals[0].metadata["timing_ms"]["first_audio"] < 0

    scene(test)


def test_the_transcript_learns_when_it_was_heard() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        await s.say("customer", "good morning")
        assert s.sink.settlements == []
        s.now += 1.0
        s.play_everything()
        ((segment, translation, metadata),) = s.sink.settlements
        assert segment == s.sink.finals[0].segment_id
        assert translation == ("es", "[es good morning]")
        timing = metadata["timing_ms"]
        assert 500 <= timing["final"] <= timing["translated"] <= timing["first_audio"] <= timing["heard"] - 1000
        assert "interrupted" not in metadata
        assert {name for name, _, _ in s.measured.times} == {"final", "translated", "first_audio", "heard"}
        assert {of for _, _, of in s.measured.times} == {"translation"}
        assert s.sink.timings == [(segment, timing)]

    scene(test)


def test_who_interrupts_clears_what_was_not_heard() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        await s.say("customer", "one two three four five six")
        s.speak("agent", 200)
        assert s.sink.cleared == []  # not meant yet
        s.speak("agent", 200)
        assert s.sink.cleared == ["agent"]
        s.pipeline.cleared("agent", 60, 80)
        ((_, translation, metadata),) = s.sink.settlements
        assert translation == ("es", "[es one two")
        assert metadata["interrupted"] is True
        assert "interrupted" in s.measured.events

    scene(test)


def test_nobody_interrupts_himself_or_what_was_heard() -> None:
    async def test(s: Scene) -> None:
        await s.say("customer", "good morning")
        s.speak("customer", 500)
        assert s.sink.cleared == []
        s.be_silent("customer", 600)
        s.pipeline.joined("agent")
        await s.say("customer", "good evening")
        s.play_everything()
        s.speak("agent", 500)
        assert s.sink.cleared == []

    scene(test)


def test_an_interruption_ends_a_clause_that_is_being_made() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        s.engine.stalls = {Stage.SYNTHESIS}
        await s.say("customer", "one two three")
        s.engine.go.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        s.engine.go.clear()
        before = s.sink.heard_by("agent")
        s.speak("agent", 500)
        s.engine.go.set()
        await settle()
        assert s.sink.heard_by("agent") <= before + len(TONE)
        assert s.sink.finals[0].text == "one two three"

    scene(test)


@pytest.mark.parametrize("stage", [Stage.TRANSLATION, Stage.SYNTHESIS])
def test_a_stage_that_fails_is_told_once_until_it_works_again(stage: Stage) -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        s.engine.faults[stage] = [EngineFault(stage, "pretend", "away", retryable=True) for _ in range(2)]
        for text in ("one", "two", "three"):
            await s.say("customer", text)
        assert s.sink.failures == [("engine_failed", f"{stage} by pretend: away")]
        assert [final.text for final in s.sink.finals] == ["one", "two", "three"]
        assert [final.translation is not None for final in s.sink.finals] == (
            [False, False, True] if stage is Stage.TRANSLATION else [True] * 3
        )
        assert s.sink.heard_by("agent") == 2 * len(TONE)
        s.engine.faults[stage] = [EngineFault(stage, "pretend", "away", retryable=True)]
        await s.say("customer", "four")
        assert len(s.sink.failures) == 2
        assert s.measured.events.count(f"failed_{stage}") == 3

    scene(test)


def test_a_stage_that_stalls_costs_nobody_else_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience.patiently, "__defaults__", (0.02,))

    async def test(s: Scene) -> None:
        stalled = [Scene() for _ in range(20)]
        for one in stalled:
            one.engine.stalls = {Stage.TRANSLATION}
            await one.say("customer", "hello")
        s.pipeline.joined("agent")
        await s.say("customer", "good morning")
        assert s.sink.heard_by("agent") == 3 * len(TONE)
        await until(lambda: all(one.sink.failures for one in stalled))
        for one in stalled:
            assert one.sink.failures[0][0] == "engine_failed"
            one.engine.stalls = set()
            await one.say("customer", "hello again")
            await until(lambda one=one: len(one.sink.finals) == 2)  # type: ignore[misc]
            assert one.sink.finals[0].translation is None
            assert one.sink.finals[1].translation is not None
            one.pipeline.close()

    scene(test)


def test_what_waited_too_long_is_written_down_and_not_spoken() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        s.engine.stalls = {Stage.SYNTHESIS}
        await s.say("customer", "one")
        await s.say("customer", "two")
        s.now += module.STALE_S
        s.engine.go.set()
        await settle()
        assert [final.text for final in s.sink.finals] == ["one", "two"]
        assert s.sink.heard_by("agent") == 2 * len(TONE)  # the clause under way, and no other
        assert s.measured.events.count("dropped_stale") == 1

    scene(test)


def test_the_agent_of_an_assistive_session_reads_and_the_customer_hears() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        await s.say("customer", "good morning")
        await s.say("agent", "buenos dias")
        assert s.sink.heard_by("agent") == 0
        assert s.sink.heard_by("customer") == 3 * len(TONE)
        assert all(final.translation for final in s.sink.finals)

    scene(test, mode="assistive_translation")


def test_a_language_that_nobody_hears_is_told_when_it_is_spoken() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("customer")
        await s.say("agent", "buenos dias")
        await s.say("agent", "buenas tardes")
        assert s.sink.failures == [("engine_not_available", "no recognition of es")]
        s.engine.hears_next.clear()
        await s.say("customer", "good morning")
        assert s.sink.heard_by("agent") == 3 * len(TONE)

    scene(test, hears=("en",))


def test_who_leaves_is_understood_and_hears_no_more() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        s.engine.hears_next.append("bye")
        s.speak("customer", 500)
        s.pipeline.left("customer")
        s.pipeline.left("customer")
        await settle()
        assert s.sink.finals[0].text == "bye"
        assert s.sink.heard_by("agent") == 2 * len(TONE)
        s.pipeline.left("agent")
        ((_, translation, _),) = s.sink.settlements
        assert translation == ("es", "[es bye]")

    scene(test)


def test_at_the_end_what_was_begun_is_written_down_as_far_as_it_was_understood() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        s.speak("customer", 500)
        s.ear().partial(Partial("good mor"))
        await settle()
        s.pipeline.close()
        s.pipeline.close()
        assert [final.text for final in s.sink.finals] == ["good mor"]
        s.speak("customer", 500)
        assert len(s.sink.finals) == 1

    scene(test)


def test_marks_and_clears_of_others_are_ignored() -> None:
    async def test(s: Scene) -> None:
        s.pipeline.played("nobody", "x")
        s.pipeline.joined("agent")
        s.pipeline.played("agent", "x")
        s.pipeline.cleared("nobody", 10, 10)
        s.pipeline.cleared("agent", 10, 10)
        assert s.sink.settlements == []

    scene(test)


def test_turns_that_are_never_settled_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_TURNS", 3)

    async def test(s: Scene) -> None:
        s.pipeline.joined("agent")
        for number in range(5):
            await s.say("customer", f"turn {number}")
        assert len(s.sink.settlements) == 2

    scene(test)
