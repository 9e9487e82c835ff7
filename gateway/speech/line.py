"""One speaker's turns in their order, through two tasks: one has clauses translated, the other has them spoken.

Owns the order and the two queues with their bounds. What translating and speaking are is the pipeline's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Protocol

from gateway.speech.turn import Turn

#: Turns that wait to be translated, and clauses that wait to be spoken.
TURNS: Final = 16
CLAUSES: Final = 64


class Work(Protocol):
    """What is done with a turn."""

    def translated(self, turn: Turn, text: str) -> AsyncIterator[tuple[str, str]]:
        """A clause: (language, part), as parts are ready."""

    async def speak(self, turn: Turn, language: str, text: str) -> None:
        """A part of a turn, to everybody who wants it in this language."""

    def tell(self, turn: Turn) -> None:
        """All of it is translated: the transcript may have it."""

    def finish(self, turn: Turn) -> None:
        """Everything of a turn was spoken that will be."""

    def is_stale(self, turn: Turn) -> bool:
        """It waited too long to be worth hearing."""

    def reach(self, turn: Turn, moment: str) -> None:
        """A moment of the turn's has come."""

    def count(self, event: str) -> None:
        """Something was dropped."""


class Line:
    """One speaker's two tasks."""

    def __init__(self, work: Work, speaker: str) -> None:
        self.turns: list[Turn] = []  # not finished
        self._work = work
        self._waiting: asyncio.Queue[Turn] = asyncio.Queue()
        self._speaking: asyncio.Queue[tuple[Turn, str, str] | Turn] = asyncio.Queue()
        self._tasks = [
            asyncio.create_task(self._translate(), name=f"translate {speaker}"),
            asyncio.create_task(self._speak(), name=f"speak {speaker}"),
        ]

    def take(self, turn: Turn) -> bool:
        """The speaker's next turn. False: too many wait already."""
        if self._waiting.qsize() >= TURNS:
            return False
        self.turns.append(turn)
        self._waiting.put_nowait(turn)
        return True

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _translate(self) -> None:
        work = self._work
        while True:
            turn = await self._waiting.get()
            while (clause := await turn.clauses.get()) is not None:
                if work.is_stale(turn):
                    work.count("dropped_stale")
                    continue
                async for language, part in work.translated(turn, clause):
                    work.reach(turn, "translated")
                    turn.translations[language] = f"{turn.translations.get(language, '')} {part}".strip()
                    if self._speaking.qsize() < CLAUSES:
                        self._speaking.put_nowait((turn, language, part))
                    else:
                        work.count("dropped_clause")
            work.tell(turn)
            self._speaking.put_nowait(turn)

    async def _speak(self) -> None:
        work = self._work
        while True:
            what = await self._speaking.get()
            if isinstance(what, Turn):
                self.turns.remove(what)
                work.finish(what)
            elif work.is_stale(what[0]):
                work.count("dropped_stale")
            else:
                await work.speak(*what)
