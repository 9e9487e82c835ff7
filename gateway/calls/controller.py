"""The controller: every call of the gateway, between the sip process, the rtp process and the session streams.

Owns which calls and sessions there are, whether new ones are taken, and the hands to the other processes, each
of which may die and be replaced under running calls. What a call does is `call.py`, how it is carried out
`runner.py`, what a session is `session.py`; here events find their call.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from random import Random
from typing import Any, Final

from gateway.calls import actions as do
from gateway.calls import inputs, reporting, routing
from gateway.calls.agency import Agency
from gateway.calls.directory import Directory, SessionInfo
from gateway.calls.intake import Intake, Order
from gateway.calls.load import Load
from gateway.calls.readiness import Readiness
from gateway.calls.registry import Registry
from gateway.calls.runner import Runner
from gateway.calls.session import LiveSession, Place
from gateway.calls.summons import Summons
from gateway.calls.watch import TURNS, Watch
from gateway.channel import Channel, PeerGone
from gateway.config import Config
from gateway.ops.feed import AgentFeed, LegTotals, LoopFeed
from gateway.ops.logs import Log, OncePerCall
from gateway.ops.metrics import Metrics
from gateway.sip import events as sip
from gateway.stream.pump import Pump, Totals
from rtp import control
from rtp.engine import Engine, EngineRefused, Leg
from rtp.plane import Plane

#: Play-outs are topped up, and some of the calls looked at, this often.
UPKEEP_S: Final = 1 / TURNS
#: How long a call may wait for a fresh rtp process before it gives up (`call.REOPEN_TIMEOUT_S` ends it anyway).
MEDIA_BACK_S: Final = 10.0


class Controller:
    """`start` it, then `attach_sip` and `attach_rtp`. Every method is called from the event loop's thread.

    wall: Unix seconds, for the records. wakeup_fd: the eventfd that the real-time loop signals.
    """

    def __init__(
        self,
        config: Config,
        plane: Plane,
        wakeup_fd: int,
        directory: Directory,
        metrics: Metrics,
        log: Log,
        wall: Callable[[], float],
        random: Random,
    ) -> None:
        self.engine = Engine(None, plane, self._take_media)
        self.metrics = metrics
        self.symmetric: str = config.media.symmetric
        self._config = config
        self._plane = plane
        self._wakeup_fd = wakeup_fd
        self._log = log
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        totals = Totals()
        self._pump = Pump(plane, config.stream.frame_ms, totals)
        self.summons = Summons()
        once, gains = OncePerCall(metrics.log_suppressed.inc), self._set_gains
        place = Place(config, plane, self._pump, gains, totals, metrics, log, once, self.summons.take)
        self._registry = Registry(place, directory, random)
        self._intake = Intake(config, self, random, log)
        self._streams = reporting.StreamReport(metrics, totals)
        self._finished = reporting.Finished(metrics, config.logging.call_records, wall)
        self._legs_seen = LegTotals(metrics, plane.capacity)
        self._loop_feed, self.agent_feed = LoopFeed(metrics), AgentFeed(metrics, config.trunks)
        self._load = Load(config.overload, metrics, log)
        self._agency = Agency(self.agent_feed, log, self.send_sip, self._tell_readiness)
        self._runners: dict[int, Runner] = {}  # by dialog of the present sip process
        self._all: dict[str, Runner] = {}  # by call id, those whose dialog is lost included
        self._legs: dict[tuple[int, int], Runner] = {}
        self._sip: Channel[sip.AnyEvent] | None = None
        self._rtp: Channel[control.AnyEvent] | None = None
        self._rtp_ready = asyncio.Event()
        self._heard: set[str] = set()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self._watch = Watch(plane, metrics)

    # For the composition root

    def start(self) -> None:
        self._loop.add_reader(self._wakeup_fd, self._on_audio)
        self._registry.start()
        self._upkeep()

    def attach_sip(self, channel: Channel[sip.AnyEvent]) -> None:
        """A sip process, the first one or another."""
        self.sip_lost()
        self._sip = channel
        self._loop.add_reader(channel.fileno(), self._read_sip)
        self._agency.attached()

    def reconfigure(self, config: Config) -> None:
        """Another configuration, from the next call, stream and decision on; what runs keeps its terms."""
        self._config = config
        self.symmetric = config.media.symmetric
        self._intake.reconfigure(config)
        self._registry.reconfigure(config)
        self._load.reconfigure(config.overload)
        self.agent_feed.reconfigure(config.trunks)
        self._finished.path = config.logging.call_records

    def sip_lost(self) -> None:
        """The sip process is gone: its dialogs with it, not the talk. Says nothing twice."""
        if self._sip is None:
            return
        self._loop.remove_reader(self._sip.fileno())
        self._sip.close()
        self._sip = None
        orphans = list(self._runners.values())
        self._runners.clear()
        self._agency.lost(orphans)
        self._log.warning("sip_process_lost", calls=len(orphans))
        for runner in orphans:
            runner.feed(inputs.SipLost())

    def attach_rtp(self, channel: Channel[control.AnyEvent]) -> None:
        """An rtp process, the first one or another."""
        self.rtp_lost()
        self._rtp = channel
        self.engine.attach(channel)
        self._loop.add_reader(channel.fileno(), self._read_rtp)

    def rtp_lost(self) -> None:
        """The rtp process is gone, and every leg with it; calls open theirs again. Says nothing twice."""
        if self._rtp is None:
            return
        self._loop.remove_reader(self._rtp.fileno())
        self._rtp.close()
        self._rtp = None
        self._rtp_ready.clear()
        self.engine.lost()
        self._legs.clear()
        self._legs_seen.restarted()
        self._loop_feed.restarted()
        self._log.warning("rtp_process_lost", calls=len(self._all))
        for runner in list(self._all.values()):
            runner.feed(inputs.MediaLost())

    async def drain(self, timeout_s: float) -> None:
        """Take no new calls, let the present ones end, and end those that have not after `timeout_s`."""
        self._draining = True
        self.metrics.draining.set(1)
        self._tell_readiness()
        self._log.info("draining", calls=len(self._all), timeout_s=timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            for runner in list(self._all.values()):
                runner.feed(inputs.HangUp("draining", "the gateway is stopping"))
            await self._empty.wait()

    async def stop(self) -> None:
        """End what is left at once, and let go of everything."""
        if not self._empty.is_set():
            await self.drain(0)
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._wakeup_fd)
        if self._sip is not None:
            self.send_sip(sip.Shutdown())
            self._loop.remove_reader(self._sip.fileno())
        if self._rtp is not None:
            self._loop.remove_reader(self._rtp.fileno())
        await self.summons.close()
        await self._registry.close()

    def dial(self, order: Order, progress: Callable[[do.Progress], None]) -> Runner:
        """Place a call; its progress is told."""
        runner = self._intake.of_order(order, progress, self._loop.time())
        self._begin(runner)
        return runner

    def heard(self) -> set[str]:
        """Of which processes anything was heard since the last time this was asked."""
        heard, self._heard = self._heard, set()
        return heard

    def calls(self) -> list[dict[str, Any]]:
        """The live calls, for `/calls`."""
        return reporting.describe(self._all.values(), self._plane, self._loop.time())

    async def trace(self, call_id: str) -> list[sip.WireMessage] | None:
        """The SIP messages that are kept of a call, running or just over; None: no such call."""
        runner = self._all.get(call_id)
        return await self._agency.traces.ask(call_id, None if runner is None else runner.identity.sip_call_id)

    @property
    def active(self) -> int:
        """How many calls there are."""
        return len(self._all)

    def not_ready(self) -> list[str]:
        """Why no call would be taken now, in words for `/readyz`; empty: ready."""
        return self._readiness.reasons()

    def notes(self) -> list[str]:
        """What an operator should know though calls are taken."""
        return [*self._agency.notes(), *self._loop_feed.notes]

    @property
    def capacity(self) -> int:
        """Calls that fit."""
        fits = self._config.media.capacity
        agent = self._agency.agent
        return fits if agent is None else min(fits, agent.max_calls)

    # What the calls share (`runner.Exchange`)

    def send_sip(self, command: sip.AnyCommand) -> None:
        if self._sip is not None:
            try:
                self._sip.send(command)
            except PeerGone:
                self._loop.call_soon(self.sip_lost)

    async def resolve(self, choice: routing.Existing | routing.Create) -> SessionInfo:
        return await self._registry.resolve(choice)

    async def media_back(self) -> None:
        """Until there is an rtp process. Raises EngineRefused when there is none for long."""
        try:
            async with asyncio.timeout(MEDIA_BACK_S):
                await self._rtp_ready.wait()
        except TimeoutError:
            raise EngineRefused("lost") from None

    def session(self, info: SessionInfo) -> LiveSession:
        return self._registry.obtain(info)

    def leg_opened(self, leg: Leg, runner: Runner) -> None:
        self._legs[leg.row, leg.generation] = runner

    def over(self, runner: Runner) -> None:
        """The call has ended in every respect: record it and forget it."""
        if self._all.pop(runner.call_id, None) is None:
            return
        self._agency.over(runner)
        if self._runners.get(runner.dialog) is runner:
            del self._runners[runner.dialog]
        if runner.leg is not None:
            self._legs.pop((runner.leg.row, runner.leg.generation), None)
        self._finished.take(runner, self._loop.time())
        if not self._all:
            self._empty.set()

    # From the sip process

    def _read_sip(self) -> None:
        if self._sip is None:
            return
        try:
            for event in self._sip.receive():
                try:
                    self._on_sip(event)
                except Exception:  # a defect of ours costs this event, and nobody else's
                    self._log.exception("sip_event_failed", happened=type(event).__name__)
        except PeerGone:
            self.sip_lost()

    def _on_sip(self, event: sip.AnyEvent) -> None:
        self._heard.add("sip")
        match event:
            case sip.Invited():
                self._invited(event)
            case sip.AgentReady() | sip.AgentCounters() | sip.Stray() | sip.Traced() | sip.CertificateTaken():
                self._agency.take(event)
            case sip.RegistrationChanged():
                self.agent_feed.registration(event)
            case _:
                runner = self._runners.get(event.dialog)
                if runner is not None:
                    runner.on_dialog(event)

    def _invited(self, event: sip.Invited) -> None:
        self._begin(self._intake.of_invite(event, self._loop.time()))

    def _begin(self, runner: Runner) -> None:
        refusal = self._readiness.refusal(len(self._all), self.capacity, runner.unknown)
        self._runners[runner.dialog] = self._all[runner.call_id] = runner
        self._empty.clear()
        self.metrics.calls_started[runner.identity.direction].inc()
        runner.begin(refusal)

    @property
    def _readiness(self) -> Readiness:
        sip, rtp = self._agency.agent is not None, self._rtp is not None and self._rtp_ready.is_set()
        return Readiness(self._draining, self._load.reason, sip, rtp, self._registry.reachable)

    # From the rtp process

    def _on_audio(self) -> None:
        try:
            os.eventfd_read(self._wakeup_fd)
        except BlockingIOError:
            return
        self._pump.wake()

    def _read_rtp(self) -> None:
        try:
            self.engine.read()
        except PeerGone:
            self.rtp_lost()

    def _take_media(self, event: control.AnyEvent) -> None:
        try:
            self._on_media(event)
        except Exception:  # as above
            self._log.exception("rtp_event_failed", happened=type(event).__name__)

    def _on_media(self, event: control.AnyEvent) -> None:
        self._heard.add("rtp")
        match event:
            case control.LoopCounters():
                self._loop_feed.absorb(event)
                self._load.heard(event)
                return
            case control.EngineReady():
                self._rtp_ready.set()
                self._loop_feed.ready(event)
                self._tell_readiness()
                self._log.info("rtp_ready", scheduler=event.scheduler, notes=event.notes)
                return
            case control.LegClosed():
                self._legs_seen.closed(event.row, event.generation, event.statistics)
                runner = self._legs.pop((event.row, event.generation), None)
                if runner is not None:
                    runner.statistics = event.statistics
                    runner.feed(inputs.LegClosed())
                return
            case control.LegOpened() | control.LegRefused():
                return  # the engine's own
        runner = self._legs.get((event.row, event.generation))
        if runner is not None:
            runner.on_leg(event)

    def _set_gains(self, command: control.SetGains) -> None:
        try:
            self.engine.set_gains(command)
        except (EngineRefused, PeerGone):
            self._log.warning("gains_not_set")  # the process is gone; its legs are opened again, and mixed again

    # Time

    def _upkeep(self) -> None:
        """Every 20 ms: play-outs are topped up, and some of the calls that need it are looked at."""
        self._timer = self._loop.call_later(UPKEEP_S, self._upkeep)
        self._pump.upkeep()
        self._flush()
        self._turn = (self._turn + 1) % TURNS
        if self._turn == 0:
            self._each_second()
        self._watch.turn()

    def _each_second(self) -> None:
        self._watch.each_second(self._all.values())
        self._registry.check(self._loop.time())
        self._legs_seen.observe(self._plane.stats)
        self._streams.each_second(self._registry.live())
        self.agent_feed.at(self._wall())
        if self._load.each_second():
            self._tell_readiness()
        reporting.levels(self.metrics, self._all.values(), self.capacity)
        reporting.channels(self.metrics, sip=self._sip, rtp=self._rtp)

    def _flush(self) -> None:
        for channel, lost in ((self._sip, self.sip_lost), (self._rtp, self.rtp_lost)):
            try:
                if channel is not None and channel.backlog:
                    channel.flush()
            except PeerGone:
                lost()

    def _tell_readiness(self) -> None:
        """What OPTIONS is answered."""
        ready = self._readiness.options
        self.send_sip(sip.SetReadiness(ready, self._config.sip.retry_after_s))
