"""gateway/speech/roles.py"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.speech.agent import Part
from gateway.speech.detection import TextDetector
from gateway.speech.engines.registry import Engines
from gateway.speech.library import Library
from gateway.speech.phrases import phrase
from gateway.speech.roles import ALONE, Reach, Roles
from gateway.speech.settings import HelpChat
from gateway.speech.stages import EngineFault, Stage
from gateway.speech.terms import Terms
from gateway.speech.tongue import Tongue
from gateway.speech.toolbox import Asked, ToolAnswer
from tests.support.engines import PretendEngine

DETECTOR = TextDetector()
AGENT = {
    "system_prompt": "Sell bicycles.",
    "greeting": "Welcome!",
    "voice": "nova",
    "temperature": 0.2,
    "tools": [{"type": "function", "name": "stock", "url": "https://example.com/stock", "timeout_seconds": 4.0}],
}


class Hands:
    async def transfer(self, to: str, method: str) -> str:
        return ""

    def end_call(self) -> None:
        raise AssertionError("nobody asked")


def roles(thinks: set[str], folder: Path | None = None, **settings: Any) -> tuple[Roles, PretendEngine]:
    engine = PretendEngine("pretend", thinks=thinks)
    engines = Engines({"pretend": engine}, {stage: ["pretend"] for stage in Stage})
    library = None if folder is None else Library(folder)
    if library is not None:
        library.refresh()
    return Roles(HelpChat(**settings), engines, library, DETECTOR), engine


def tongue(given: str | None, likely: str | None = None) -> Tongue:
    return Tongue(given, [given or likely or "en", "en", "es"], DETECTOR)


def answer(part: Part, question: str, language: str = "en") -> str:
    async def main() -> str:
        dialogue = part.dialogue(Hands(), lambda: language)
        return "".join([piece async for piece in dialogue.answer(question)])

    return asyncio.run(main())


def test_an_agent_has_its_prompt_its_greeting_and_its_tools() -> None:
    made, engine = roles({"*"})
    engine.thinks_next = [["We have ten."]]
    asked: list[Asked] = []

    async def ask(one: Asked) -> ToolAnswer:
        asked.append(one)
        return ToolAnswer(True, "10")

    part = made.part(Terms("ai_agent", "es", options={"ai_agent": AGENT}), Reach(ask), tongue)
    assert (part.greeting, part.voice) == ("Welcome!", "nova")
    assert part.tongue("customer", None).given == "es"
    assert answer(part, "how many", "es-MX") == "We have ten."
    assert engine.thinker is not None
    (system, _) = engine.thinker.asked[0]
    assert system.text.startswith("Sell bicycles.")
    assert "Spanish (MX)" in system.text


def test_nobody_who_thinks_in_that_language_is_a_fault_of_the_answer() -> None:
    made, _ = roles({"en"})
    part = made.part(Terms("ai_agent", None, options={"ai_agent": AGENT}), ALONE, tongue)
    with pytest.raises(EngineFault):
        answer(part, "hola", "es")


def test_after_a_restart_nobody_is_greeted_again(tmp_path: Path) -> None:
    made, _ = roles({"*"}, tmp_path)
    reach = ALONE._replace(greeted=True)
    assert made.part(Terms("ai_agent", "en", options={"ai_agent": AGENT}), reach, tongue).greeting is None
    assert made.part(Terms("help_chat_voice", "en"), reach, tongue).greeting is None


def test_help_quotes_where_nobody_thinks(tmp_path: Path) -> None:
    (tmp_path / "hours.md").write_text("All our shops are open from nine in the morning until eight in the evening.")
    made, _ = roles(set(), tmp_path, language="en")
    part = made.part(Terms("help_chat_voice", "es"), ALONE, tongue)
    assert part.greeting == phrase("welcome", "es")[1]
    assert answer(part, "when are the shops open", "en").startswith("All our shops")
    assert part.sources() == ["hours.md"]
    assert part.answered_in("en") == "en"
    assert answer(part, "when are the shops open", "en")


def test_help_hands_the_passages_to_who_thinks(tmp_path: Path) -> None:
    (tmp_path / "hours.md").write_text("All our shops are open from nine in the morning until eight in the evening.")
    made, engine = roles({"*"}, tmp_path, language="en", greeting="Ask me.", instructions="Be brief.")
    engine.thinks_next = [["From nine to eight."]]
    part = made.part(Terms("help_chat_voice", "en"), ALONE, tongue)
    assert part.greeting == "Ask me."
    assert answer(part, "when are the shops open") == "From nine to eight."
    assert engine.thinker is not None
    assert "[1] hours.md" in engine.thinker.asked[0][0].text
    assert part.sources() == ["hours.md"]


def test_the_language_of_a_greeting_is_found_out() -> None:
    made, _ = roles({"*"})
    part = made.part(Terms("ai_agent", None, options={"ai_agent": AGENT}), ALONE, tongue)
    assert part.greeted_in is not None
    assert asyncio.run(_await(part, "Buenos días, ¿en qué puedo ayudarle?")) == "es"
    assert part.tongue("customer", None).given is None
    assert part.tongue("agent", "es").language == "es"  # as the caller, until he has said something


async def _await(part: Part, text: str) -> str:
    assert part.greeted_in is not None
    return await part.greeted_in(text)


def test_who_is_called_in_speaks_the_agents_language() -> None:
    made, _ = roles({"*"})
    part = made.part(Terms("ai_agent", "es", "en", options={"ai_agent": AGENT}), ALONE, tongue)
    assert (part.tongue("agent", "es").given, part.tongue("customer", None).given) == ("en", "es")


def test_without_a_webhook_to_ask_a_tool_fails() -> None:
    assert not asyncio.run(_asked()).good


async def _asked() -> ToolAnswer:
    return await ALONE.ask(Asked("https://example.com", "x", "c", {}, 1.0))
