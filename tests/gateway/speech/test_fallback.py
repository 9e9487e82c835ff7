from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.speech.engines.registry import Engines
from gateway.speech.fallback import RESULTS, Chains, Health
from gateway.speech.resilience import Limits
from gateway.speech.stages import EngineFault, Message, Stage, Translator
from tests.support.engines import TONE, PretendEngine
from tests.support.loops import on_a_loop

LIMITS = Limits(failures=2, rest_s=5.0)


class Rig:
    """Two engines that can do everything, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.health = Health(lambda: self.now, LIMITS)
        self.first, self.second = (
            PretendEngine(name, hears={"en"}, pairs={("en", "es")}, speaks={"es"}, thinks={"*"})
            for name in ("first", "second")
        )
        engines = Engines({"first": self.first, "second": self.second}, dict.fromkeys(Stage, ("first", "second")))
        self.chains = Chains(engines, self.health)

    def translator(self) -> Translator:
        one = self.chains.translator("en", "es")
        assert one is not None
        return one

    async def translate(self, text: str = "hello") -> str:
        return "".join([piece async for piece in self.translator().translate(text, "en", "es")])

    def fail(self, stage: Stage, times: int, engine: PretendEngine | None = None) -> None:
        one = engine or self.first
        one.faults.setdefault(stage, []).extend(
            EngineFault(stage, one.name, "away", retryable=True) for _ in range(times)
        )

    def resting(self) -> list[tuple[str, ...]]:
        return [key for key, rests in self.health.resting().items() if rests]

    def count(self, stage: Stage, engine: str, result: str) -> int:
        assert result in RESULTS
        return self.health.counts[stage, engine, result]


@on_a_loop(Rig)
async def test_the_first_serves_while_it_is_well(rig: Rig) -> None:
    assert await rig.translate() == "[es hello]"
    assert rig.second.translator is not None
    assert not rig.second.translator.asked
    assert rig.count(Stage.TRANSLATION, "first", "ok") == 1


@on_a_loop(Rig)
async def test_the_next_serves_when_it_fails_and_after_some_failures_at_once(rig: Rig) -> None:
    rig.fail(Stage.TRANSLATION, 2)
    assert rig.first.translator is not None
    for _ in range(5):
        assert await rig.translate() == "[es hello]"
    assert len(rig.first.translator.asked) == 2  # then it rests
    assert rig.count(Stage.TRANSLATION, "first", "failed") == 2
    assert rig.count(Stage.TRANSLATION, "first", "passed_over") == 3
    assert rig.count(Stage.TRANSLATION, "second", "ok") == 5
    assert rig.resting() == [(Stage.TRANSLATION, "first")]
    rig.now = 5.0
    assert await rig.translate() == "[es hello]"
    assert rig.count(Stage.TRANSLATION, "first", "ok") == 1
    assert rig.resting() == []


@on_a_loop(Rig)
async def test_one_stage_of_an_engine_may_rest_while_another_serves(rig: Rig) -> None:
    rig.fail(Stage.TRANSLATION, 2)
    for _ in range(2):
        await rig.translate()
    speaker = rig.chains.synthesizer("es")
    assert speaker is not None
    assert [chunk async for chunk in speaker.speak("hola", "es")] == [TONE]
    assert rig.count(Stage.SYNTHESIS, "first", "ok") == 1


@on_a_loop(Rig)
async def test_when_all_fail_the_last_ones_fault_is_told(rig: Rig) -> None:
    rig.fail(Stage.TRANSLATION, 1)
    rig.fail(Stage.TRANSLATION, 1, rig.second)
    with pytest.raises(EngineFault, match="second: away"):
        await rig.translate()


@on_a_loop(Rig)
async def test_when_all_rest_nobody_is_asked(rig: Rig) -> None:
    rig.fail(Stage.TRANSLATION, 2)
    rig.fail(Stage.TRANSLATION, 2, rig.second)
    for _ in range(2):
        with pytest.raises(EngineFault, match="away"):
            await rig.translate()
    with pytest.raises(EngineFault, match="first and second: left alone") as told:
        await rig.translate()
    assert told.value.retryable
    assert rig.second.translator is not None
    assert len(rig.second.translator.asked) == 2


@on_a_loop(Rig)
async def test_what_was_begun_is_not_begun_again_elsewhere(rig: Rig) -> None:
    rig.first.faults[Stage.SYNTHESIS] = []
    speaker = rig.chains.synthesizer("es")
    assert speaker is not None
    heard = bytearray()

    async def speak() -> None:
        async for chunk in speaker.speak("uno dos tres", "es"):
            heard.extend(chunk)
            rig.fail(Stage.SYNTHESIS, 1)

    with pytest.raises(EngineFault, match="first: away"):
        await speak()
    assert heard == TONE
    assert rig.second.synthesizer is not None
    assert not rig.second.synthesizer.asked
    assert rig.count(Stage.SYNTHESIS, "first", "failed") == 1


@on_a_loop(Rig)
async def test_who_stops_listening_does_not_count_against_the_engine(rig: Rig) -> None:
    speaker = rig.chains.synthesizer("es")
    assert speaker is not None
    chunks: AsyncIterator[bytes] = speaker.speak("uno dos", "es")
    await anext(chunks)
    await chunks.aclose()  # type: ignore[attr-defined]
    assert rig.count(Stage.SYNTHESIS, "first", "ok") == 1

    rig.first.stalls.add(Stage.SYNTHESIS)
    waiting = asyncio.ensure_future(anext(speaker.speak("uno", "es")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert rig.count(Stage.SYNTHESIS, "first", "given_up") == 1
    assert rig.resting() == []


@on_a_loop(Rig)
async def test_thinking_falls_back_too(rig: Rig) -> None:
    rig.fail(Stage.THINKING, 1)
    rig.second.thinks_next = [["I am ", "second."]]
    thinker = rig.chains.thinker()
    assert thinker is not None
    assert [piece async for piece in thinker.think([Message("user", "who?")])] == ["I am ", "second."]


@on_a_loop(Rig)
async def test_a_chain_declares_what_its_engines_do(rig: Rig) -> None:
    assert rig.translator().pairs == {("en", "es")}
    assert rig.translator().engine == "first"
    assert rig.chains.translator("en", "fr") is None
    assert rig.chains.recognizer("fr") is None
    assert rig.chains.synthesizer("fr") is None
    recognizer = rig.chains.recognizer("en")
    assert recognizer is not None
    assert recognizer.languages == {"en"}
    assert not recognizer.detects


@on_a_loop(Rig)
async def test_every_count_stands_at_zero_from_the_start(rig: Rig) -> None:
    assert len(rig.health.counts) == len(Stage) * 2 * len(RESULTS)
    assert set(rig.health.counts.values()) == {0}
    assert len(rig.health.resting()) == len(Stage) * 2
