"""The controller process from both of its ends: the supervisor's lifeline and the operator's address."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from gateway import bootstrap, lifeline
from gateway.bootstrap import Start
from gateway.channel import Channel, pair
from gateway.config import Config
from gateway.hub import Hub
from gateway.lifeline import Lifeline
from gateway.ops.logs import make_logger
from gateway.sip import events as sip
from gateway.sip.pieces import Collector
from rtp import control, plane
from rtp.control import LATENESS_BOUNDS_US

CONFIG = Config.model_validate(
    {
        "admin": {"bind": "127.0.0.1:0"},
        "sessions": {"bind": "127.0.0.1:1"},  # nobody is there
        "media": {"capacity": 4, "bind": "127.0.0.1"},
        "logging": {"level": "error"},
    }
)
READY = sip.AgentReady(["udp 127.0.0.1:5060"], "2.17", 4096, True)
PATIENCE_S = 20.0


class Bench:
    """The hub at work in this event loop, with our ends of everything."""

    def __init__(self, hub: asyncio.Task[None], supervisor: Lifeline, url: str) -> None:
        self.hub, self.supervisor, self._url = hub, supervisor, url
        self.heard: list[object] = []

    def attach(self, process: str, incoming: Any, life: int = 1) -> Channel[Any]:
        ours, theirs = pair()
        self.supervisor.send(lifeline.Attach(process, os.getpid(), life), theirs.fileno())
        theirs.close()
        return Channel(ours, incoming)

    async def until(self, what: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not await what():
            assert time.monotonic() < deadline, f"it did not happen; heard {self.heard}"
            await asyncio.sleep(0.02)

    async def until_heard(self, message: object) -> None:
        async def heard() -> bool:
            while (got := self.supervisor.receive()) is not None:
                self.heard.append(got[0])
            return message in self.heard

        await self.until(heard)

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(self._url + path)

    async def until_reasons(self, *reasons: str) -> dict[str, Any]:
        async def as_expected() -> bool:
            return bool((await self.get("/readyz")).json()["reasons"] == list(reasons))

        await self.until(as_expected)
        report: dict[str, Any] = (await self.get("/readyz")).json()
        return report


def _run(work: Callable[[Bench], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.hub.BEAT_S", 0.05)

    async def main() -> None:
        ours, theirs = pair()
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        hub = Hub(Start(CONFIG, "key"), Lifeline(theirs), 1, make_logger(CONFIG.logging, "controller"))
        hub.on_admin = lambda host, port: address.set_result(f"http://{host}:{port}")
        fd, wakeup = plane.create(CONFIG.media.capacity), os.eventfd(0, os.EFD_NONBLOCK)
        task = asyncio.get_running_loop().create_task(hub.serve(fd, wakeup))
        await asyncio.wait((task, address), return_when=asyncio.FIRST_COMPLETED)
        bench = Bench(task, Lifeline(ours), address.result() if address.done() else "")
        try:
            await work(bench)
        finally:
            bench.supervisor.close()
            await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), PATIENCE_S)
            os.close(fd)
            os.close(wakeup)

    asyncio.run(main())


def test_not_ready_until_every_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench) -> None:
        away = "the session service does not answer"
        await bench.until_reasons("the sip process is not ready", "the rtp process is not ready", away)
        agent = bench.attach("sip", sip.AnyCommand)
        agent.send(READY)
        await bench.until_reasons("the rtp process is not ready", away)
        engine = bench.attach("rtp", control.AnyCommand)
        engine.send(control.EngineReady("fifo", []))
        report = await bench.until_reasons(away)
        assert (await bench.get("/readyz")).status_code == 503
        assert report["processes"] == {"supervisor": 1, "sip": os.getpid(), "rtp": os.getpid()}
        assert (await bench.get("/livez")).json() == {"alive": True}
        assert (await bench.get("/calls")).json() == {"capacity": 4, "calls": []}

    _run(work, monkeypatch)


def test_the_supervisor_hears_of_whom_the_controller_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench) -> None:
        await bench.until_heard(lifeline.Pulse(["controller"]))
        agent = bench.attach("sip", sip.AnyCommand)
        agent.send(READY)
        await bench.until_heard(lifeline.Pulse(["controller", "sip"]))
        engine = bench.attach("rtp", control.AnyCommand)
        counts = [0] * (len(LATENESS_BOUNDS_US) + 1)
        engine.send(control.LoopCounters(0, 7, 0, {}, counts, 0.0, counts, 0.0, 10, 0))
        await bench.until_heard(lifeline.Pulse(["controller", "rtp"]))
        assert "glotgate_rtp_slots_total 7.0" in (await bench.get("/metrics")).text

    _run(work, monkeypatch)


def test_a_process_that_is_replaced_is_counted_and_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench) -> None:
        first = bench.attach("sip", sip.AnyCommand)
        first.send(READY)
        bench.supervisor.send(lifeline.Exited("sip", "killed by SIGKILL"))
        gone = "the sip process ended (killed by SIGKILL) and is being replaced"
        rest = ("the rtp process is not ready", "the session service does not answer")
        await bench.until_reasons(gone, "the sip process is not ready", *rest)
        second = bench.attach("sip", sip.AnyCommand, life=2)
        second.send(READY)
        await bench.until_reasons(*rest)
        assert 'glotgate_process_restarts_total{process="sip"} 1.0' in (await bench.get("/metrics")).text

    _run(work, monkeypatch)


def test_draining_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench) -> None:
        agent = bench.attach("sip", sip.AnyCommand)
        agent.send(READY)
        bench.supervisor.send(lifeline.Drain(60.0))
        await asyncio.wait_for(bench.hub, PATIENCE_S)  # no calls: at once
        commands = agent.receive()
        assert sip.Shutdown() in commands
        assert any(isinstance(command, sip.SetReadiness) and not command.ready for command in commands)

    _run(work, monkeypatch)


def test_without_its_supervisor_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench) -> None:
        bench.supervisor.close()
        await asyncio.wait_for(bench.hub, PATIENCE_S)

    _run(work, monkeypatch)


def test_a_refused_reload_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench) -> None:
        bench.supervisor.send(lifeline.Reloaded(["f:1: sip: bad"], []))

        async def noted() -> bool:
            return any("f:1: sip: bad" in note for note in (await bench.get("/readyz")).json()["notes"])

        await bench.until(noted)
        text = (await bench.get("/metrics")).text
        assert 'glotgate_config_reloads_total{result="refused"} 1.0' in text
        assert "glotgate_config_last_reload_successful 0.0" in text

    _run(work, monkeypatch)


def test_a_reload_reaches_the_calls_and_the_sip_process(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = [{"name": "all", "user": ".*", "mode": "assistive_translation"}]
    fresh = Config.model_validate(CONFIG.model_dump() | {"routes": routes})

    async def work(bench: Bench) -> None:
        agent: Channel[Any] = bench.attach("sip", sip.AnyCommand)
        agent.send(READY)
        fd = bootstrap.write(Start(fresh, "internal"), "controller")
        bench.supervisor.send(lifeline.Reloaded([], ["media.capacity"], ["routes"]), fd)
        os.close(fd)
        collector = Collector()
        taken: list[Config] = []

        async def arrived() -> bool:
            for command in agent.receive():
                if isinstance(command, sip.Reconfigure) and (config := collector.take(command)):
                    taken.append(config)
            return bool(taken)

        await bench.until(arrived)
        assert taken[0].routes == fresh.routes
        assert taken[0].sessions.api_key is None
        report = (await bench.get("/readyz")).json()
        assert report["configuration"]["changed"] == ["routes"]
        assert "a change of media.capacity waits for a restart" in report["notes"]
        assert 'glotgate_config_reloads_total{result="ok"} 1.0' in (await bench.get("/metrics")).text

    _run(work, monkeypatch)


def test_an_address_that_is_taken_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(
            "tests.gateway.test_hub.CONFIG",
            CONFIG.model_copy(update={"admin": CONFIG.admin.model_copy(update={"bind": address})}),
        )

        async def work(bench: Bench) -> None:
            with pytest.raises(OSError, match="address already in use"):
                await bench.hub

        _run(work, monkeypatch)
