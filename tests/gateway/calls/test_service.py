"""The controller from its parts to its end."""

from __future__ import annotations

import asyncio
import io
import os

from gateway.calls.controller import Controller
from gateway.calls.service import Parts, run
from gateway.config import Config, Logging
from gateway.ops.logs import make_logger
from gateway.ops.metrics import Metrics
from gateway.sip import events as sip
from rtp import plane
from tests.support.controller_rig import SipSide
from tests.support.stream_server import until


def test_it_runs_until_it_is_stopped() -> None:
    config = Config.model_validate({"media": {"capacity": 2}, "sessions": {"bind": "127.0.0.1:9"}})
    fds = plane.create(2), os.eventfd(0, os.EFD_NONBLOCK)
    log = make_logger(Logging(format="json"), "controller", io.StringIO())
    parts = Parts(config, *fds, "internal", Metrics(), log, lambda: 0.0)
    assert "internal" not in repr(parts)

    async def main() -> None:
        started: list[Controller] = []
        stop = asyncio.Event()
        running = asyncio.create_task(run(parts, started.append, stop))
        await until(lambda: started)
        side = SipSide()
        started[0].attach_sip(side.end)
        side.ready()
        await until(lambda: "the sip process is not ready" not in started[0].not_ready())
        assert "the rtp process is not ready" in started[0].not_ready()
        await until(lambda: "sip" in started[0].heard())
        assert started[0].heard() == set()
        stop.set()
        async with asyncio.timeout(10):
            await running
        assert side.of(sip.Shutdown)
        side.channel.close()

    asyncio.run(main())
    for fd in fds:
        os.close(fd)
