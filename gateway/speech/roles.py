"""What an agent plays in each mode that has one: the prompt, the tools and the documents behind its conversation.

Owns the two parts, `ai_agent` and `help_chat_voice`. Refuses to know how a conversation goes on: that is `agent.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, Protocol

from gateway.speech import phrases
from gateway.speech.agent import Part
from gateway.speech.detection import TextDetector
from gateway.speech.dialogue import Dialogue
from gateway.speech.helpdesk import HelpDesk, Quoter
from gateway.speech.languages import TABLE
from gateway.speech.library import Library
from gateway.speech.settings import HelpChat
from gateway.speech.stages import ANY, EngineFault, Stage, Thinker, Translator
from gateway.speech.terms import AGENT, CUSTOMER, Terms
from gateway.speech.tongue import Tongue
from gateway.speech.toolbox import Ask, Asked, Hands, ToolAnswer, Toolbox
from gateway.speech.tools import ToolDefinition

AI_AGENT: Final = "ai_agent"
HELP: Final = "help_chat_voice"
ROLES: Final = frozenset({AI_AGENT, HELP})


class Reach(NamedTuple):
    """What an agent can get at. ask: a tool's webhook. dial: calls somebody into the session; returns what went wrong.
    greeted: the session goes on after a restart, its caller was greeted before."""

    ask: Ask
    dial: Callable[[str], Awaitable[str]] | None = None
    greeted: bool = False


async def _nobody(asked: Asked) -> ToolAnswer:
    return ToolAnswer(False, "no webhook can be asked from here")


ALONE: Final = Reach(_nobody)


class Choice(Protocol):
    """Who thinks, and who translates."""

    def thinker(self, language: str | None = None) -> Thinker | None: ...
    def translator(self, source: str, target: str) -> Translator | None: ...


class Roles:
    """library: the documents of `help_chat_voice`, None where there are none."""

    def __init__(self, settings: HelpChat, chains: Choice, library: Library | None, detector: TextDetector) -> None:
        self._settings = settings
        self._chains = chains
        self._library = library
        self._detector = detector

    def part(self, terms: Terms, reach: Reach, tongue: Callable[[str | None, str | None], Tongue]) -> Part:
        """What the agent of a session plays. tongue: of a party whose language is given, or not, and then likely."""

        def tongue_of(name: str, likely: str | None) -> Tongue:
            # The caller is whoever is there, under whatever name; who is called in speaks the agent's language, or,
            # until he has said something, the caller's.
            given = terms.language_of(name)
            return tongue(given or (terms.source_language if name != AGENT else None), likely)

        if terms.mode == HELP:
            return self._help(terms, reach, tongue_of)
        return self._agent(terms.options.get("ai_agent") or {}, reach, tongue_of)

    def _agent(self, described: dict[str, Any], reach: Reach, tongue_of: Callable[[str, str | None], Tongue]) -> Part:
        tools = [ToolDefinition.model_validate(tool) for tool in described.get("tools") or ()]

        def dialogue(hands: Hands, language: Callable[[], str]) -> Dialogue:
            async def system(_question: str) -> str:
                return phrases.for_agent(described.get("system_prompt", ""), language())

            toolbox = Toolbox(tools, reach.ask, hands) if tools else None
            return Dialogue(_Thinking(self._chains, language), system, toolbox, described.get("temperature"))

        return Part(
            tongue_of,
            dialogue,
            greeting=None if reach.greeted else described.get("greeting"),
            voice=described.get("voice"),
            greeted_in=self._greeted_in,
            dial=reach.dial,
        )

    def _help(self, terms: Terms, reach: Reach, tongue_of: Callable[[str, str | None], Tongue]) -> Part:
        assert self._library is not None, "checked at creation"
        settings, library = self._settings, self._library
        desks: list[HelpDesk] = []

        def dialogue(hands: Hands, language: Callable[[], str]) -> Dialogue:
            desk = HelpDesk(
                library,
                self._chains.translator,
                language,
                self._detector,
                documents=settings.language,
                instructions=settings.instructions,
            )
            desks.append(desk)
            if self._chains.thinker(terms.language_of(CUSTOMER)) is None:
                return Dialogue(Quoter(desk), _no_prompt)
            return Dialogue(_Thinking(self._chains, language), desk.system)

        known = terms.language_of(CUSTOMER) or settings.language or "en"
        greeting = settings.greeting or phrases.phrase("welcome", known)[1]
        return Part(
            tongue_of,
            dialogue,
            greeting=None if reach.greeted else greeting,
            greeted_in=self._greeted_in,
            answered_in=lambda language: desks[0].written or language,
            sources=lambda: desks[0].sources,
        )

    async def _greeted_in(self, greeting: str) -> str:
        guessed = await asyncio.to_thread(self._detector.guess, greeting, [one.code for one in TABLE])
        return max(guessed, key=guessed.__getitem__) if guessed else "en"


async def _no_prompt(_question: str) -> str:
    return ""


class _Thinking:
    """The thinker for the caller's language, as far as it is known when the answer begins."""

    def __init__(self, chains: Choice, language: Callable[[], str]) -> None:
        self.engine = "chosen"
        self.languages = frozenset({ANY})
        self._chains = chains
        self._language = language

    def think(self, *args: Any, **options: Any) -> Any:
        thinker = self._chains.thinker(self._language())
        if thinker is None:
            raise EngineFault(Stage.THINKING, "none", f"nobody thinks in {self._language()}", retryable=False)
        return thinker.think(*args, **options)
