"""The controller as a service: from its parts to a running one, and to its end.

    ready = asyncio.Event(); stop = asyncio.Event()
    await run(Parts(...), started=lambda controller: ..., stop=stop)

`started` gets the controller before any process is attached: the composition root then attaches sip and rtp
processes as they come (and come again), asks it for `/calls` and `/readyz`, and drains it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from gateway.calls import directory
from gateway.calls.controller import Controller
from gateway.config import Config
from gateway.ops.logs import Log
from gateway.ops.metrics import Metrics
from rtp.plane import Plane


class Parts(NamedTuple):
    """plane_fd, wakeup_fd: the audio plane and its eventfd, kept through restarts of the rtp process.

    directory_key: the embedded session service's key for the gateway; unused with `mode: remote`.
    wall: Unix seconds.
    """

    config: Config
    plane_fd: int
    wakeup_fd: int
    directory_key: str
    metrics: Metrics
    log: Log
    wall: Callable[[], float]

    def __repr__(self) -> str:
        return "Parts(…)"


async def run(parts: Parts, started: Callable[[Controller], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set; then end what is left, at once. Drain before, for calls to end by themselves."""
    config = parts.config
    controller = Controller(
        config,
        Plane(parts.plane_fd, config.media.capacity),
        parts.wakeup_fd,
        directory.of(config, parts.directory_key),
        parts.metrics,
        parts.log,
        parts.wall,
        Random(),
    )
    controller.start()
    try:
        started(controller)
        await stop.wait()
    finally:
        await controller.stop()
