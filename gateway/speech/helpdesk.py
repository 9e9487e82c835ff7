"""Answers from documents: what is asked for is found, handed to a thinker, or read out where there is none.

Owns the way from a question to passages, through a translation when the caller's language is not the documents',
and the quoting of the best one. Where the documents are is `library.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from gateway.speech import languages
from gateway.speech.detection import TextDetector
from gateway.speech.index import Hit, about
from gateway.speech.library import Library
from gateway.speech.phrases import for_help, phrase
from gateway.speech.stages import ANY, EngineFault, Message, Tool, ToolCall, Translator

#: Passages that a thinker is given.
GIVEN: Final = 4
#: The share of a question that a passage must have to be read out.
ENOUGH: Final = 0.4


class HelpDesk:
    """One conversation's. language: the caller's, at any time. documents: the documents' language, None: found out."""

    def __init__(
        self,
        library: Library,
        translator: Callable[[str, str], Translator | None],
        language: Callable[[], str],
        detector: TextDetector,
        *,
        documents: str | None = None,
        instructions: str = "",
    ) -> None:
        self.sources: list[str] = []  #: where the last answer comes from
        self.written: str | None = None  #: its language, where that is not the caller's
        self._library = library
        self._translator = translator
        self._language = language
        self._detector = detector
        self._documents = documents
        self._instructions = instructions

    async def system(self, question: str) -> str:
        """The system prompt for a thinker's answer to this."""
        hits = await self._find(question)
        self.sources = [hit.passage.where for hit in hits]
        self.written = None
        return for_help(self._instructions, [hit.passage for hit in hits], self._language())

    async def quote(self, question: str) -> tuple[str, str]:
        """The best passage, and the language it is in: the caller's where it can be translated."""
        self.sources = []
        language = self._language()
        if not about(question):
            return phrase("welcome", language)
        hits = await self._find(question)
        if not hits or hits[0].coverage < ENOUGH:
            return phrase("unknown", language)
        passage = hits[0].passage
        self.sources = [passage.where]
        written = await self._written_in(passage.text)
        if languages.same(written, language):
            return language, passage.text
        translated = await self._translated(passage.text, written, language)
        return (language, translated) if translated else (written, passage.text)

    async def _find(self, question: str) -> list[Hit]:
        """By the caller's words, and by their translation, the better ones first."""
        language = self._language()
        written = self._documents or await self._written_in(self._library.sample())
        hits = await self._library.ask(question, GIVEN)
        if not languages.same(written, language):
            translated = await self._translated(question, language, written)
            if translated:
                hits += await self._library.ask(translated, GIVEN)
        best: dict[tuple[str, str], Hit] = {}
        for hit in sorted(hits, key=lambda one: -one.coverage * one.score):
            best.setdefault((hit.passage.source, hit.passage.text), hit)
        return list(best.values())[:GIVEN]

    async def _written_in(self, text: str) -> str:
        if self._documents is not None:
            return self._documents
        everything = [one.code for one in languages.TABLE]
        guessed = await asyncio.to_thread(self._detector.guess, text[:2000], everything)
        return max(guessed, key=guessed.__getitem__) if guessed else self._language()

    async def _translated(self, text: str, source: str, target: str) -> str:
        """Empty when nobody translates it: half an answer is better than none."""
        translator = self._translator(source, target)
        if translator is None:
            return ""
        try:
            return "".join([piece async for piece in translator.translate(text, source, target)])
        except EngineFault:
            return ""


class Quoter:
    """A `Thinker` that reads out what it finds."""

    def __init__(self, desk: HelpDesk) -> None:
        self.engine = "quoting"
        self.languages = frozenset({ANY})
        self._desk = desk

    async def think(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), temperature: float | None = None
    ) -> AsyncIterator[str | ToolCall]:
        question = next((message.text for message in reversed(messages) if message.role == "user"), "")
        self._desk.written, text = await self._desk.quote(question)
        yield text
