"""The controller process: the controller, its lifeline to the supervisor and its admin address in one event loop.

A composition root: it reads the clock and joins what does not know each other. A sip or rtp process comes as a
file descriptor on the lifeline, the first time as after a crash. Once a second the supervisor is told who was
heard of; that is what its watch lives on.
"""

from __future__ import annotations

import asyncio
import json
import platform
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from gateway import __version__, bootstrap, lifeline
from gateway.bootstrap import Start
from gateway.calls import dialling
from gateway.calls.controller import Controller
from gateway.calls.dialling import Dialler
from gateway.calls.service import Parts, run
from gateway.calls.traces import as_text
from gateway.channel import Channel, PeerGone
from gateway.errors import GatewayError
from gateway.lifeline import Lifeline
from gateway.ops.admin import METRICS_TYPE, Admin, Answer, Route, as_json
from gateway.ops.health import Health, line
from gateway.ops.logs import Log
from gateway.ops.metrics import Metrics
from gateway.ops.processes import ProcessFeed
from gateway.ops.trunks import describe
from gateway.section import split_host_port
from gateway.sip import events as sip
from gateway.sip import pieces
from gateway.trunks import in_force
from rtp import control

BEAT_S: Final = 1.0
#: Where the embedded session service tells its metrics, and how long it may take.
SESSIONS_METRICS: Final = "/internal/metrics"
SESSIONS_S: Final = 2.0


class Hub:
    """`serve` returns when the daemon is to end and the calls have. supervisor: its process id.

    on_admin: told the address where operators are answered, with the port that was found for port 0.
    """

    def __init__(self, start: Start, line: Lifeline, supervisor: int, log: Log) -> None:
        self._start, self._line, self._log = start, line, log
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._metrics = Metrics()
        self._metrics.build_info.labels(__version__, platform.python_version()).set(1)
        self._metrics.config_last_reload_ok.set(1)
        self._usage = ProcessFeed(self._metrics)
        self._health = Health()
        self._health.started("supervisor", supervisor)
        self._lives: dict[str, int] = {}
        self._controller: Controller
        self._dialler: Dialler
        # One for good: making one loads the certificate authorities, for which calls would wait.
        self._client = httpx.AsyncClient(timeout=SESSIONS_S, trust_env=False)
        self._draining: asyncio.Task[None] | None = None
        self._told = lifeline.Status(False, "")
        self.on_admin: Callable[[str, int], None] = lambda host, port: log.info("admin_address", host=host, port=port)

    async def serve(self, plane_fd: int, wakeup_fd: int) -> None:
        """Raises OSError when the admin address can not be had."""
        admin = Admin(self._routes(), {"/dial": self._dial}, self._key(), {"/calls/{}/trace": self._trace})
        host, port = await admin.start(*split_host_port(self._start.config.admin.bind))
        self.on_admin(host, port)
        parts = Parts(
            self._start.config, plane_fd, wakeup_fd, self._start.internal_key, self._metrics, self._log, time.time
        )
        try:
            await run(parts, self._started, self._stop)
        finally:
            self._loop.remove_reader(self._line.fileno())
            await admin.close()
            await self._client.aclose()

    def _started(self, controller: Controller) -> None:
        self._controller = controller
        self._let_dial()
        self._loop.add_reader(self._line.fileno(), self._read)
        self._beat()

    # From the supervisor

    def _read(self) -> None:
        try:
            while (got := self._line.receive()) is not None:
                self._hear(*got)
        except PeerGone:
            self._loop.remove_reader(self._line.fileno())
            self._log.error("supervisor_gone")
            self._stop.set()

    def _hear(self, message: object, fd: int | None) -> None:
        match message:
            case lifeline.Attach():
                self._attach(message, fd)
            case lifeline.Exited():
                self._health.ended(message.process, message.reason)
                if message.process == "sip":
                    self._controller.sip_lost()
                elif message.process == "rtp":
                    self._controller.rtp_lost()
            case lifeline.Drain():
                if self._draining is not None:
                    self._draining.cancel()
                self._draining = self._loop.create_task(self._drain(message.timeout_s))
            case lifeline.Reloaded():
                self._health.reloaded(message.problems, message.changed, message.needs_restart)
                if fd is not None:
                    self._take(bootstrap.read(fd))
                self._metrics.config_reloads["refused" if message.problems else "ok"].inc()
                self._metrics.config_last_reload_ok.set(not message.problems)

    def _take(self, start: Start) -> None:
        """Another configuration is in force."""
        self._start = start
        self._controller.reconfigure(start.config)
        self._dialler.trunks = in_force(start.config.trunks)
        for piece in pieces.cut(json.dumps(bootstrap.plain(start.config, "sip")).encode()):
            self._controller.send_sip(piece)

    def _let_dial(self) -> None:
        """Orders to dial come by the admin address, and by the streams of sessions."""
        self._dialler = Dialler(in_force(self._start.config.trunks), self._controller.dial)
        self._controller.summons.dialler = self._dialler

    def _attach(self, message: lifeline.Attach, fd: int | None) -> None:
        name = message.process
        self._health.started(name, message.pid)
        self._metrics.process_restarts[name].inc(max(0, message.life - self._lives.get(name, 1)))
        self._lives[name] = message.life
        if fd is None:
            return
        sock = socket.socket(fileno=fd)
        if name == "sip":
            self._controller.attach_sip(Channel[sip.AnyEvent](sock, sip.AnyEvent))
        else:
            self._controller.attach_rtp(Channel[control.AnyEvent](sock, control.AnyEvent))

    async def _drain(self, timeout_s: float) -> None:
        await self._controller.drain(timeout_s)
        self._stop.set()

    # To the supervisor

    def _beat(self) -> None:
        if self._stop.is_set():
            return
        self._loop.call_later(BEAT_S, self._beat)
        report = self._report()
        self._metrics.ready.set(report["ready"])
        status = lifeline.Status(report["ready"], line(report, self._controller.active))
        try:
            self._line.send(lifeline.Pulse(["controller", *sorted(self._controller.heard())]))
            if status != self._told:
                self._told = status
                self._line.send(status)
        except PeerGone:
            self._stop.set()

    def _report(self) -> dict[str, Any]:
        notes = [*self._controller.notes(), *self._start.config.exposure()]
        return self._health.report(self._controller.not_ready(), notes)

    # For operators

    async def _ask_sessions(self) -> bytes:
        """The embedded session service's own metrics; nothing while it is away, or is somebody else's."""
        sessions = self._start.config.sessions
        if sessions.mode != "embedded":
            return b""
        host, port = split_host_port(sessions.bind)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        try:
            headers = {"Authorization": f"Bearer {self._start.internal_key}"}
            answer = await self._client.get(url + SESSIONS_METRICS, headers=headers)
        except httpx.HTTPError as error:
            self._log.debug("sessions_metrics_missing", error=str(error))
            return b""
        return answer.content if answer.status_code == 200 else b""

    def _key(self) -> str:
        """What the session service shows: its own key for us when it is the embedded one, else ours for it."""
        sessions = self._start.config.sessions
        if sessions.mode == "embedded":
            return self._start.internal_key
        return "" if sessions.api_key is None else sessions.api_key.get_secret_value()

    async def _dial(self, body: bytes) -> Answer:
        """The session service orders a call (contract §1.2)."""
        try:
            return as_json(await self._dialler.dial(dialling.read(body)), 202)
        except GatewayError as error:
            return as_json(error.told(), error.fault.value.http or 503)

    async def _trace(self, call_id: str) -> Answer:
        messages = await self._controller.trace(call_id)
        if messages is None:
            return as_json({"error": "no such call"}, 404)
        return as_json({"call_id": call_id, "messages": messages, "text": as_text(messages)})

    def _routes(self) -> dict[str, Route]:
        async def livez() -> Answer:
            return as_json({"alive": True})

        async def readyz() -> Answer:
            report = self._report()
            return as_json(report, 200 if report["ready"] else 503)

        async def metrics() -> Answer:
            self._usage.observe(self._health.pids)
            return Answer(200, self._metrics.exposition() + await self._ask_sessions(), METRICS_TYPE)

        async def calls() -> Answer:
            return as_json({"capacity": self._controller.capacity, "calls": self._controller.calls()})

        async def trunks() -> Answer:
            standing = self._controller.agent_feed.registrations
            described = [describe(trunk, standing.get(trunk.name)) for trunk in in_force(self._start.config.trunks)]
            return as_json({"trunks": described})

        return {"/livez": livez, "/readyz": readyz, "/metrics": metrics, "/calls": calls, "/trunks": trunks}
