"""gateway/speech/handover.py"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.speech.handover import HandOver
from gateway.speech.means import Shared
from gateway.speech.stages import Heard
from gateway.speech.terms import Terms
from tests.gateway.speech.test_endpointing import SILENCE, mulaw
from tests.support.agents import until
from tests.support.engines import PretendEngine
from tests.support.interpreting import means, tongue
from tests.support.sinks import NotingSink

BOTH = {("en", "es"), ("es", "en")}


class Scene:
    """A caller and a human. human: his language, None: to be found out; until then it is taken for the caller's."""

    def __init__(
        self, caller: str, human: str | None, hears: set[str], pairs: set[tuple[str, str]] = BOTH, voices: str = "en es"
    ) -> None:
        self.engine = PretendEngine("pretend", hears=hears, pairs=pairs, speaks=set(voices.split()))
        self.sink = NotingSink()
        tongues = {"customer": tongue(caller), "agent": tongue(human, caller, "en" if caller == "es" else "es")}
        shared = Shared.fresh(means(self.engine, lambda: 1000.0), tongues.__getitem__)
        self.between = HandOver(self.sink, Terms("ai_agent", caller, human), shared)
        self.between.joined("customer")
        assert self.sink.modes == []
        self.between.joined("agent")

    async def says(self, speaker: str, text: str, language: str) -> None:
        audio = mulaw(-20, 500) + SILENCE * 4800
        for at in range(0, len(audio), 160):
            self.between.audio(speaker, at // 8, audio[at : at + 160])
        assert self.engine.recognizer is not None
        self.engine.recognizer.ears[-1].ends[-1].set_result(Heard(text, language, 1.0))
        await until(lambda: self.sink.finals)


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_one_language_needs_no_translation() -> None:
    async def scenario() -> None:
        scene = Scene("en", "en", {"en", "es"})
        await scene.says("customer", "hello there", "en")
        assert (scene.sink.modes, scene.sink.failures, scene.sink.sent) == ([], [], [])
        assert scene.sink.finals[0].translation is None
        scene.between.close()
        assert scene.sink.modes == []

    play(scenario)


def test_it_translates_from_the_moment_at_which_the_languages_are_known_to_differ() -> None:
    async def scenario() -> None:
        scene = Scene("es", None, {"en", "es"})
        assert scene.sink.modes == []
        await scene.says("agent", "good morning how can I help you today", "en")
        assert scene.sink.modes == ["bidirectional_translation"]
        assert scene.sink.finals[0].translation == ("es", "[es good morning how can I help you today]")
        scene.between.left("agent")
        assert scene.sink.modes == ["bidirectional_translation", None]

    play(scenario)


def test_one_way_is_enough() -> None:
    async def scenario() -> None:
        scene = Scene("es", "en", {"en"})
        assert (scene.sink.modes, scene.sink.failures) == (["bidirectional_translation"], [])

    play(scenario)


@pytest.mark.parametrize(
    ("hears", "pairs", "voices", "lacks"),
    [
        ({"fr"}, BOTH, "en es", "no recognition of es; no recognition of en"),
        ({"en", "es"}, {("en", "fr")}, "en es", "no translation of es→en; no translation of en→es"),
        ({"en", "es"}, BOTH, "fr", "no synthesis of en; no synthesis of es"),
    ],
)
def test_where_nobody_translates_that_is_said_once_and_the_voices_stay(
    hears: set[str], pairs: set[tuple[str, str]], voices: str, lacks: str
) -> None:
    async def scenario() -> None:
        scene = Scene("es", "en", hears, pairs, voices)
        scene.between.joined("agent")
        assert scene.sink.modes == []
        assert scene.sink.failures == [("engine_not_available", f"nobody translates after the hand-over: {lacks}")]

    play(scenario)
