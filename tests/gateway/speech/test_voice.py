"""gateway/speech/voice.py"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.speech import voice as module
from gateway.speech.ledger import Account
from gateway.speech.stages import EngineFault, Stage
from gateway.speech.voice import Voice
from tests.support.agents import Ear, until
from tests.support.engines import PretendEngine

#: The pretended engine says a word in 20 ms.
WORDS = "one two three four five six seven eight nine ten"


def with_voice(scenario: Callable[[Voice, Ear, PretendEngine], Awaitable[None]], **ear: bool) -> None:
    async def main() -> None:
        engine = PretendEngine("pretend", speaks={"en"})
        sink = Ear(**ear)
        voice = Voice(
            sink, "ai_agent", "customer", lambda code: engine.synthesizer if code == "en" else None, sink.clock,
            Account(),
        )  # fmt: skip
        sink.attach(voice.played, voice.cleared)
        await scenario(voice, sink, engine)

    asyncio.run(main())


def test_a_clause_is_sent_to_its_listener_and_heard_out() -> None:
    async def scenario(voice: Voice, ear: Ear, engine: PretendEngine) -> None:
        voice.begin()
        await voice.say(WORDS, "en")
        assert (ear.to, ear.speaker, ear.received_ms) == ("customer", "ai_agent", 200)
        assert voice.left_ms == 200
        waiting = asyncio.create_task(voice.heard_out())
        await asyncio.sleep(0)
        ear.play(200)
        await waiting
        assert voice.heard == voice.text == WORDS

    with_voice(scenario)


def test_what_is_cut_short_was_heard_as_far_as_the_gateway_says() -> None:
    async def scenario(voice: Voice, ear: Ear, engine: PretendEngine) -> None:
        voice.begin()
        await voice.say(WORDS, "en")
        ear.play(100)
        await voice.cut_short()
        assert voice.heard == "one two three four five"
        voice.begin()
        await voice.say("again", "en")
        waiting = asyncio.create_task(voice.heard_out())
        await asyncio.sleep(0)
        ear.play(20)
        await waiting
        assert voice.heard == "again"

    with_voice(scenario)


def test_where_nobody_tells_time_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_S", 0.01)
    monkeypatch.setattr(module, "GRACE_S", 0.01)

    async def scenario(voice: Voice, ear: Ear, engine: PretendEngine) -> None:
        voice.begin()
        await voice.say(WORDS, "en")
        ear.now += 0.1
        await voice.cut_short()
        assert voice.heard == "one two three four five"
        voice.begin()
        await voice.say("again", "en")
        await voice.heard_out()
        assert voice.heard == "again"

    with_voice(scenario, tells=False)


def test_it_never_runs_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD_MS", 60)

    async def scenario(voice: Voice, ear: Ear, engine: PretendEngine) -> None:
        saying = asyncio.create_task(voice.say(WORDS, "en"))
        await until(lambda: ear.received_ms >= 80)
        ear.now += 0.04
        await until(lambda: ear.received_ms >= 120)
        assert ear.received_ms == 120
        ear.now += 1.0
        await saying
        assert ear.received_ms == 200

    with_voice(scenario)


def test_what_is_given_up_was_heard_as_far_as_time_says() -> None:
    async def scenario(voice: Voice, ear: Ear, engine: PretendEngine) -> None:
        voice.begin()
        await voice.say(WORDS, "en")
        ear.now += 0.06
        voice.give_up()
        assert voice.heard == "one two three"

    with_voice(scenario)


def test_a_language_that_nobody_speaks_is_a_fault() -> None:
    async def scenario(voice: Voice, ear: Ear, engine: PretendEngine) -> None:
        with pytest.raises(EngineFault) as raised:
            await voice.say("hola", "es")
        assert raised.value.stage is Stage.SYNTHESIS

    with_voice(scenario)
