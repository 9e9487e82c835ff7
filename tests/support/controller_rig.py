"""The controller between stand-ins: a sip process and an rtp process that do as the test says, a directory,
and a session stream on a real socket. Time is real; nothing here waits for an amount of it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from gateway.calls.controller import Controller
from gateway.calls.directory import Directory, SessionInfo
from gateway.channel import Channel, PeerGone, pair
from gateway.config import Config, Logging
from gateway.errors import Fault, PeerFault
from gateway.ops.logs import make_logger
from gateway.ops.metrics import Metrics
from gateway.sip import events as sip
from gateway.stream.client import Address
from rtp import control
from rtp import plane as planes
from rtp.plane import FRAME, UPLINK_FRAMES, Plane
from tests.support.stream_server import Peer, Server, until

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)


class SipSide:
    """The sip process's end of its channel."""

    def __init__(self) -> None:
        ours, theirs = pair()
        self.channel: Channel[sip.AnyCommand] = Channel(theirs, sip.AnyCommand)
        self.end: Channel[sip.AnyEvent] = Channel(ours, sip.AnyEvent)
        self.commands: list[sip.AnyCommand] = []
        self.dialogs = 0

    def ready(self, max_calls: int = 4096) -> None:
        self.channel.send(sip.AgentReady(["udp:127.0.0.1:5060"], "2.17", max_calls, True))

    def invite(self, user: str = "sess_1", sdp: str | None = OFFER, **fields: Any) -> int:
        self.dialogs += 1
        settings: dict[str, Any] = {
            "transport": "udp",
            "source": "127.0.0.1:5070",
            "uri_parameters": {},
            "from_uri": '"Anna" <sip:anna@pbx.example>;tag=1',
            "to_uri": f"<sip:{user}@gateway>",
            "headers": {},
        } | fields
        self.channel.send(
            sip.Invited(
                dialog=self.dialogs,
                sip_call_id=f"sip-{self.dialogs}",
                request_uri=f"sip:{user}@gateway",
                user=user,
                sdp=sdp,
                **settings,
            )
        )
        return self.dialogs

    def read(self) -> list[sip.AnyCommand]:
        with contextlib.suppress(PeerGone, OSError):
            self.commands += self.channel.receive()
        return self.commands

    def of(self, kind: type[Any], dialog: int | None = None) -> list[Any]:
        return [c for c in self.read() if isinstance(c, kind) and dialog in (None, getattr(c, "dialog", None))]

    def ended(self, dialog: int, cause: str = "bye") -> None:
        with contextlib.suppress(PeerGone, OSError):  # a test may have closed it
            self.channel.send(sip.Ended(dialog, cause))


class RtpSide:
    """The rtp process's end: opens and closes legs as it is asked, and puts audio where the test wants it."""

    def __init__(self, plane: Plane, capacity: int) -> None:
        ours, theirs = pair()
        self.channel: Channel[control.AnyCommand] = Channel(theirs, control.AnyCommand)
        self.end: Channel[control.AnyEvent] = Channel(ours, control.AnyEvent)
        self.plane = plane
        self.free = list(range(capacity))
        self.generation = 0
        self.refuse = ""
        self.holds_back = False
        self.commands: list[control.AnyCommand] = []
        self.legs: dict[int, int] = {}
        self.task = asyncio.get_running_loop().create_task(self.serve())

    def ready(self) -> None:
        self.channel.send(control.EngineReady("other", []))

    async def serve(self) -> None:
        with contextlib.suppress(PeerGone):
            while True:
                for command in self.channel.receive():
                    self.commands.append(command)
                    self.obey(command)
                await asyncio.sleep(0.001)

    def obey(self, command: control.AnyCommand) -> None:
        if isinstance(command, control.OpenLeg):
            if self.holds_back:
                return
            if self.refuse:
                self.channel.send(control.LegRefused(command.request, self.refuse))
                return
            row = self.free.pop(0)
            self.generation += 1
            self.legs[row] = self.generation
            self.plane.uplink_head[row] = 0
            for column in (self.plane.written, self.plane.consumed, self.plane.dropped, self.plane.flushed):
                column[row] = 0
            self.plane.stats[row] = 0
            self.plane.stats["generation"][row] = self.generation
            port = command.rtp_port or 16384 + 2 * row
            self.channel.send(control.LegOpened(command.request, row, self.generation, port))
        elif isinstance(command, control.CloseLeg) and self.legs.get(command.row) == command.generation:
            del self.legs[command.row]
            self.free.append(command.row)
            self.plane.stats["generation"][command.row] = 0
            port = 16384 + 2 * command.row
            statistics = {"packets_received": 7.0, "mos_mean": 4.4}
            self.channel.send(control.LegClosed(command.row, command.generation, port, statistics))

    def of(self, kind: type[Any]) -> list[Any]:
        return [command for command in self.commands if isinstance(command, kind)]

    def speak(self, row: int, wakeup_fd: int, count: int = 1) -> list[bytes]:
        """Frames of a leg, as the real-time loop writes them."""
        frames = []
        for _ in range(count):
            head = int(self.plane.uplink_head[row])
            frame = os.urandom(FRAME)
            self.plane.uplink[row, head % UPLINK_FRAMES] = np.frombuffer(frame, np.uint8)
            self.plane.uplink_timestamp_ms[row, head % UPLINK_FRAMES] = head * 20
            self.plane.uplink_head[row] = head + 1
            frames.append(frame)
        os.eventfd_write(wakeup_fd, 1)
        return frames

    def hear(self, row: int, octets: int) -> bytes:
        """What the leg would play next; it is played by this."""
        consumed, written = int(self.plane.consumed[row]), int(self.plane.written[row])
        end = min(written, consumed + octets)
        heard = bytes(self.plane.downlink[row, at % 32768] for at in range(consumed, end))
        self.plane.consumed[row] = end
        return heard

    def flush(self, row: int) -> None:
        """Obey `flush_to`."""
        goal, consumed = int(self.plane.flush_to[row]), int(self.plane.consumed[row])
        dropped = max(0, goal - consumed)
        self.plane.consumed[row] = consumed + dropped
        self.plane.dropped[row] += np.uint64(dropped)
        self.plane.flushed[row] = goal


class FakeDirectory(Directory):
    """Knows every session but those that `refusals` names."""

    def __init__(self, server: Server) -> None:
        super().__init__("http://127.0.0.1:9", "sk_test_x", 1.0)
        self.server = server
        self.refusals: dict[str, Fault] = {}
        self.got: list[str] = []
        self.created: list[dict[str, Any]] = []
        self.ended: list[tuple[str, str]] = []
        self.slow = asyncio.Event()
        self.slow.set()
        self.there = True

    async def get(self, session_id: str) -> SessionInfo:
        self.got.append(session_id)
        await self.slow.wait()
        if fault := self.refusals.get(session_id):
            raise PeerFault(fault, "no")
        url = f"ws://127.0.0.1:{self.server.port}/{session_id}"
        return SessionInfo(session_id, "bidirectional_translation", Address(url, f"kst_{len(self.got)}"))

    async def create(self, body: dict[str, Any]) -> SessionInfo:
        self.created.append(body)
        return await self.get(f"sess_new{len(self.created)}")

    async def end(self, session_id: str, reason: str) -> None:
        self.ended.append((session_id, reason))

    async def reachable(self) -> bool:
        return self.there


class ControllerRig:
    """Everything around one controller."""

    def __init__(self, server: Server, config: Config, plane: Plane, wakeup_fd: int) -> None:
        self.server = server
        self.config = config
        self.plane = plane
        self.wakeup_fd = wakeup_fd
        self.directory = FakeDirectory(server)
        self.metrics = Metrics()
        self.lines = io.StringIO()
        log = make_logger(Logging(level="debug", format="json"), "controller", self.lines)
        self.controller = Controller(
            config, plane, wakeup_fd, self.directory, self.metrics, log, lambda: 1_800_000_000.0, Random(1)
        )
        self.sip = SipSide()
        self.rtp = RtpSide(plane, config.media.capacity)

    def start(self) -> None:
        self.controller.start()
        self.controller.attach_sip(self.sip.end)
        self.controller.attach_rtp(self.rtp.end)
        self.sip.ready()
        self.rtp.ready()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.getvalue().splitlines()]

    def records(self) -> list[dict[str, Any]]:
        path = self.config.logging.call_records
        assert path is not None
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def answered(self, user: str = "sess_1", **fields: Any) -> int:
        """A call that was answered."""
        dialog = self.sip.invite(user, **fields)
        await until(lambda: self.sip.of(sip.Accept, dialog))
        self.sip.channel.send(sip.Acknowledged(dialog))
        return dialog

    async def refused(self, user: str = "sess_1", **fields: Any) -> sip.Reject:
        """A call that was refused; the refusal."""
        dialog = self.sip.invite(user, **fields)
        await until(lambda: self.sip.of(sip.Reject, dialog))
        self.sip.ended(dialog, "rejected")
        refusal: sip.Reject = self.sip.of(sip.Reject, dialog)[0]
        return refusal

    def peer(self, session_id: str = "sess_1") -> Peer:
        """The stream of a session, as the server has it now."""
        paths = [path.split(b"?")[0].decode().strip("/") for path in self.server.paths]
        return self.server.peers[max(i for i, path in enumerate(paths) if path == session_id)]

    def value(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(f"glotgate_{name}", labels)
        assert found is not None, name
        return found


@contextlib.asynccontextmanager
async def controller_rig(tmp_path: Path, config: dict[str, Any] | None = None) -> AsyncIterator[ControllerRig]:
    """A running controller with its stand-ins; it is stopped at the end."""
    settings: dict[str, Any] = {"media": {"capacity": 8, "advertise": "127.0.0.1"}}
    for section, values in (config or {}).items():
        settings[section] = settings.get(section, {}) | values if isinstance(values, dict) else values
    settings["logging"] = settings.get("logging", {}) | {"call_records": str(tmp_path / "calls.jsonl")}
    checked = Config.model_validate(settings)
    fd, wakeup_fd = planes.create(checked.media.capacity), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        async with Server().run() as server:
            rig = ControllerRig(server, checked, Plane(fd, checked.media.capacity), wakeup_fd)
            rig.start()
            await until(lambda: not rig.controller.not_ready())
            try:
                yield rig
            finally:
                for dialog in range(1, rig.sip.dialogs + 1):
                    rig.sip.ended(dialog)
                await rig.controller.stop()
                rig.rtp.task.cancel()
                rig.sip.channel.close()
                rig.rtp.channel.close()
    finally:
        os.close(fd)
        os.close(wakeup_fd)
