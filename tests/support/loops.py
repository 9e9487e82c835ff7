"""Tests that are coroutines, each on a loop of its own with a rig of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

_Rig = TypeVar("_Rig")


def on_a_loop(rig: Callable[[], _Rig]) -> Callable[[Callable[[_Rig], Awaitable[None]]], Callable[[], None]]:
    """rig: made when the loop runs already."""

    def decorate(test: Callable[[_Rig], Awaitable[None]]) -> Callable[[], None]:
        def run() -> None:
            async def main() -> None:
                await test(rig())

            asyncio.run(main())

        run.__name__ = test.__name__
        return run

    return decorate
