"""gateway/speech/patience.py"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.speech.patience import patiently
from gateway.speech.stages import EngineFault, Stage


def test_pieces_pass_as_they_come() -> None:
    async def pieces() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def main() -> list[int]:
        return [piece async for piece in patiently(pieces(), Stage.SYNTHESIS, "one")]

    assert asyncio.run(main()) == [0, 1, 2]


def test_who_is_late_is_given_up() -> None:
    closed: list[bool] = []

    async def pieces() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def main() -> None:
        answer = patiently(pieces(), Stage.TRANSLATION, "one", 0.01)
        assert await anext(answer) == 1
        with pytest.raises(EngineFault, match="translation by one: no answer") as late:
            await anext(answer)
        assert late.value.retryable

    asyncio.run(main())
    assert closed == [True]


def test_who_listens_no_more_closes_the_engine() -> None:
    closed: list[bool] = []

    async def pieces() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    async def main() -> None:
        answer = patiently(pieces(), Stage.SYNTHESIS, "one")
        async for _ in answer:
            break
        await answer.aclose()

    asyncio.run(main())
    assert closed == [True]
