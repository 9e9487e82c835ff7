"""gateway/speech/line.py"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway.speech.line import CLAUSES, TURNS, Line
from gateway.speech.turn import Turn


class Bench:
    """Translates at once, speaks when it may."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.go = asyncio.Event()
        self.stale: set[str] = set()

    async def translated(self, turn: Turn, text: str) -> AsyncIterator[tuple[str, str]]:
        yield "es", text.upper()

    async def speak(self, turn: Turn, language: str, text: str) -> None:
        await self.go.wait()
        self.log.append(f"speak {text}")

    def tell(self, turn: Turn) -> None:
        self.log.append(f"tell {turn.segment_id}")

    def finish(self, turn: Turn) -> None:
        self.log.append(f"finish {turn.segment_id}")

    def is_stale(self, turn: Turn) -> bool:
        return turn.segment_id in self.stale

    def reach(self, turn: Turn, moment: str) -> None:
        turn.reach(moment, 1.0)

    def count(self, event: str) -> None:
        self.log.append(event)


def turn(name: str, *clauses: str, whole: bool = True) -> Turn:
    made = Turn(name, "customer", "en", 0)
    for clause in clauses:
        made.clauses.put_nowait(clause)
    if whole:
        made.clauses.put_nowait(None)
    return made


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_translation_goes_on_while_a_clause_is_spoken() -> None:
    async def main() -> None:
        bench = Bench()
        line = Line(bench, "customer")
        first = turn("a", "one", "two")
        assert line.take(first)
        assert line.take(turn("b", "three"))
        await settle()
        assert bench.log == ["tell a", "tell b"]
        assert first.translations == {"es": "ONE TWO"}
        bench.go.set()
        await settle()
        assert bench.log[2:] == ["speak ONE", "speak TWO", "finish a", "speak THREE", "finish b"]
        assert line.turns == []
        line.stop()

    asyncio.run(main())


def test_turns_keep_their_order_though_a_later_one_is_known_first() -> None:
    async def main() -> None:
        bench = Bench()
        bench.go.set()
        line = Line(bench, "customer")
        first = turn("a", whole=False)
        line.take(first)
        line.take(turn("b", "later"))
        await settle()
        assert bench.log == []
        first.clauses.put_nowait("sooner")
        first.clauses.put_nowait(None)
        await settle()
        assert [entry for entry in bench.log if entry.startswith("speak")] == ["speak SOONER", "speak LATER"]
        line.stop()

    asyncio.run(main())


def test_what_waited_too_long_is_told_and_not_spoken() -> None:
    async def main() -> None:
        bench = Bench()
        bench.go.set()
        bench.stale.add("a")
        line = Line(bench, "customer")
        line.take(turn("a", "one"))
        await settle()
        assert bench.log == ["dropped_stale", "tell a", "finish a"]
        line.stop()

    asyncio.run(main())


def test_both_queues_are_bounded() -> None:
    async def main() -> None:
        bench = Bench()
        line = Line(bench, "customer")
        taken = [line.take(turn(str(n), *["word"] * 10)) for n in range(TURNS + 3)]
        assert taken.count(False) == 3
        await settle()
        for _ in range(TURNS):
            await settle()
        assert bench.log.count("dropped_clause") >= TURNS * 10 - CLAUSES - 1 - TURNS
        line.stop()

    asyncio.run(main())
