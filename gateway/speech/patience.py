"""Waiting for an engine's answer, piece by piece, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, TypeVar

from gateway.speech.stages import EngineFault, Stage

_T = TypeVar("_T")

#: Seconds that an engine may take for the next piece of an answer.
PATIENCE_S: Final = 8.0


async def patiently(
    pieces: AsyncIterator[_T], stage: Stage, engine: str, patience_s: float = PATIENCE_S
) -> AsyncGenerator[_T, None]:
    """The pieces, each within its time. Raises EngineFault when one is late; the answer is then given up."""
    try:
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise EngineFault(stage, engine, f"no answer in {patience_s:.0f} s", retryable=True) from None
            yield piece
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
