"""The real process, with real sockets and a real clock: what goes in comes out; nothing leaks."""

import asyncio
import itertools
import os
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gateway.channel import Channel, PeerGone, pair
from rtp import control, plane
from rtp.engine import Engine, EngineRefused, Leg, Settings
from rtp.plane import FRAME, UPLINK_FRAMES, Plane
from tests.support.engine import rtp_packet

_CHILD = """
import sys, msgspec, socket
from gateway.channel import Channel
from rtp import control
from rtp.engine import Settings, serve
sock = socket.socket(fileno=int(sys.argv[1]))
settings = msgspec.json.decode(sys.argv[4], type=Settings)
serve(Channel(sock, control.AnyCommand), int(sys.argv[2]), int(sys.argv[3]), settings)
"""


def free_range(pairs: int) -> int:
    """The first port of a range that nobody uses now: other test runs share this host."""
    for _ in range(100):
        first = 2 * random.randrange(12_000, 16_000)
        probes = []
        try:
            for port in range(first, first + 2 * pairs):
                probes.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                probes[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no free range of ports")


class Process:
    """A loop of its own, and the controller's end of everything."""

    def __init__(self, capacity: int = 4, pairs: int = 200) -> None:
        import msgspec

        first = free_range(pairs)
        last = first + 2 * pairs - 1
        self.first = first
        settings = Settings(
            bind="127.0.0.1",
            ports_first=first,
            ports_last=last,
            capacity=capacity,
            scheduler="other",
            lock_memory=False,
        )
        self.plane_fd = plane.create(capacity)
        self.wakeup = os.eventfd(0, os.EFD_NONBLOCK)
        ours, theirs = pair()
        fds = (theirs.fileno(), self.plane_fd, self.wakeup)
        command = [sys.executable, "-c", _CHILD, *map(str, fds), msgspec.json.encode(settings).decode()]
        self.child = subprocess.Popen(command, pass_fds=fds)
        theirs.close()
        self.channel: Channel[control.AnyEvent] = Channel(ours, control.AnyEvent)
        self.plane = Plane(self.plane_fd, capacity)
        self.events: list[control.AnyEvent] = []
        self.engine = Engine(self.channel, self.plane, self.events.append)
        self.wait(lambda: any(isinstance(e, control.EngineReady) for e in self.events))

    def wait(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Until it holds; fails when it never does."""
        end = time.monotonic() + seconds
        self.engine.read()
        while not condition():
            assert time.monotonic() < end, "it never happened"
            time.sleep(0.005)
            self.engine.read()

    def open(self, port: int = 0) -> Leg:
        async def opening() -> Leg:
            loop = asyncio.get_running_loop()
            loop.add_reader(self.engine.fileno(), self.engine.read)
            try:
                return await self.engine.open_leg(port)
            finally:
                loop.remove_reader(self.engine.fileno())

        return asyncio.run(opening())

    def configure(self, leg: Leg, peer: socket.socket, **changes: object) -> None:
        address, port = peer.getsockname()
        fields: dict[str, object] = {
            "row": leg.row,
            "generation": leg.generation,
            "remote_address": address,
            "remote_port": port,
            "rtcp_address": address,
            "rtcp_port": port + 1,
            "payload_type": 0,
            "codec": "PCMU",
            "accept": {0: "PCMU", 101: "telephone-event"},
            "dtmf_type": 101,
            "cname": "test",
        }
        self.engine.configure(control.ConfigureLeg(**(fields | changes)))  # type: ignore[arg-type]

    def heard(self, leg: Leg) -> list[bytes]:
        head = int(self.plane.uplink_head[leg.row])
        return [self.plane.uplink[leg.row, n % UPLINK_FRAMES].tobytes() for n in range(max(0, head - 60), head)]

    def stop(self) -> None:
        if self.child.poll() is None:
            self.channel.send(control.Stop())
        self.child.wait(10)
        self.channel.close()
        os.close(self.plane_fd)
        os.close(self.wakeup)


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process()
    yield made
    made.stop()
    assert made.child.returncode == 0


def phone() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(5)
    return sock


def until_quiet(sock: socket.socket) -> None:
    """Take what comes until nothing has come for 150 ms."""
    sock.settimeout(0.15)
    for _ in range(1000):
        try:
            sock.recv(2000)
        except TimeoutError:
            return
    pytest.fail("it never fell silent")


def speech(n: int) -> bytes:
    return bytes((n * FRAME + i) * 37 % 255 for i in range(FRAME))


def test_a_call_both_ways(process: Process) -> None:
    leg, caller = process.open(), phone()
    process.configure(leg, caller)
    said = b"".join(speech(n) for n in range(30))
    process.plane.downlink[leg.row, : len(said)] = np.frombuffer(said, np.uint8)
    process.plane.written[leg.row] = len(said)
    due = time.monotonic()
    for n in range(40):
        caller.sendto(rtp_packet(n, n * FRAME, speech(n)), ("127.0.0.1", leg.rtp_port))
        due += 0.02
        time.sleep(max(0.0, due - time.monotonic()))
    process.wait(lambda: int(process.plane.uplink_head[leg.row]) >= 40)
    heard = process.heard(leg)
    assert heard[0] == speech(0)
    packets = [caller.recv(2000) for _ in range(30)]
    stamps = [struct.unpack(">HI", p[2:8]) for p in packets]
    assert {(b[0] - a[0]) & 0xFFFF for a, b in itertools.pairwise(stamps)} == {1}
    assert {(b[1] - a[1]) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)} == {FRAME}
    assert b"".join(p[12:] for p in packets[:25])[40:] == said[40 : 25 * FRAME]
    process.engine.close(leg)
    process.wait(lambda: any(isinstance(e, control.LegClosed) for e in process.events))
    final = next(e for e in process.events if isinstance(e, control.LegClosed))
    assert final.statistics["packets_received"] == 40
    assert final.statistics["packets_lost"] == 0
    assert final.statistics["frames_played"] == 30


def test_strangers_are_named_and_not_heard(process: Process) -> None:
    leg, caller, stranger = process.open(), phone(), phone()
    process.configure(leg, caller, symmetric="off")
    for n in range(20):
        caller.sendto(rtp_packet(n, n * FRAME, b"\x55" * FRAME), ("127.0.0.1", leg.rtp_port))
        stranger.sendto(rtp_packet(n, n * FRAME, b"\x11" * FRAME), ("127.0.0.1", leg.rtp_port))
        time.sleep(0.02)
    process.wait(lambda: process.plane.stats["packets_stranger"][leg.row] == 20)
    process.wait(lambda: any(isinstance(e, control.StrangerSeen) for e in process.events))
    seen = [e for e in process.events if isinstance(e, control.StrangerSeen)]
    assert [(e.address, e.port) for e in seen] == [stranger.getsockname()]
    assert b"\x11" * FRAME not in process.heard(leg)
    stranger.settimeout(0.1)
    with pytest.raises(TimeoutError):
        stranger.recv(2000)


def test_a_datagram_that_is_too_long_is_not_cut_to_size(process: Process) -> None:
    leg, caller = process.open(), phone()
    process.configure(leg, caller)
    for length in (1500, 1501, 1503, 1504, 1505, 4000):
        caller.sendto(rtp_packet(1, 1, bytes(length - 12)), ("127.0.0.1", leg.rtp_port))
    process.wait(lambda: process.plane.stats["packets_bad"][leg.row] == 5)
    process.wait(lambda: process.plane.stats["packets_received"][leg.row] == 1)


def test_a_peer_behind_a_nat_is_learned(process: Process) -> None:
    leg, sdp, real = process.open(), phone(), phone()
    process.configure(leg, sdp, symmetric="on")
    for n in range(20):
        real.sendto(rtp_packet(n, n * FRAME, speech(n)), ("127.0.0.1", leg.rtp_port))
        time.sleep(0.02)
    process.wait(lambda: any(isinstance(e, control.RemoteChanged) for e in process.events))
    changed = next(e for e in process.events if isinstance(e, control.RemoteChanged))
    assert (changed.address, changed.port) == real.getsockname()
    assert len(real.recv(2000)) == 172


def test_rtcp_is_sent_and_understood(process: Process) -> None:
    leg, caller = process.open(), phone()
    rtcp = phone()
    process.configure(leg, caller, rtcp_port=rtcp.getsockname()[1])
    for n in range(10):
        caller.sendto(rtp_packet(n, n * FRAME, speech(n), ssrc=7), ("127.0.0.1", leg.rtp_port))
        time.sleep(0.02)
    report = struct.pack(">BBHIIIIII", 0x80, 200, 6, 7, 1, 2, 3, 4, 5)
    rtcp.sendto(report, ("127.0.0.1", leg.rtp_port + 1))
    process.wait(lambda: process.plane.stats["rtcp_received"][leg.row] == 1)
    rtcp.settimeout(8)
    datagram = rtcp.recv(2000)
    assert datagram[1] in (200, 201)
    process.engine.close(leg)
    goodbye = rtcp.recv(2000)
    while 203 not in goodbye[1::4]:
        goodbye = rtcp.recv(2000)


def test_hold_and_a_new_address(process: Process) -> None:
    leg, first, second = process.open(), phone(), phone()
    process.configure(leg, first)
    assert len(first.recv(2000)) == 172
    process.configure(leg, first, send=False)
    until_quiet(first)
    process.configure(leg, second)
    packet = second.recv(2000)
    assert packet[1] & 0x80  # a talkspurt begins


def test_capacity_and_ports_are_named_when_they_run_out() -> None:
    small = Process(capacity=3, pairs=2)
    try:
        small.open()
        small.open()
        with pytest.raises(EngineRefused, match="ports"):
            small.open()
    finally:
        small.stop()
    tiny = Process(capacity=1)
    try:
        tiny.open()
        with pytest.raises(EngineRefused, match="capacity"):
            tiny.open()
    finally:
        tiny.stop()


def test_a_named_port_is_taken_again(process: Process) -> None:
    wanted = process.first + 20
    leg = process.open(wanted)
    assert leg.rtp_port == wanted
    with pytest.raises(EngineRefused):
        process.open(wanted)


def test_late_commands_touch_nobody(process: Process) -> None:
    leg, caller = process.open(), phone()
    process.engine.close(leg)
    process.configure(leg, caller)
    process.engine.close(leg)
    other = process.open()
    process.wait(lambda: sum(isinstance(e, control.LegClosed) for e in process.events) == 1)
    assert process.plane.stats["generation"][other.row] == other.generation


def test_churn_leaves_no_descriptor_behind(process: Process) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{process.child.pid}/fd"))

    caller = phone()
    before = None
    for round_ in range(30):
        legs = [process.open() for _ in range(4)]
        for leg in legs:
            process.configure(leg, caller)
        for leg in legs:
            process.engine.close(leg)
        process.wait(lambda n=4 * round_ + 4: sum(isinstance(e, control.LegClosed) for e in process.events) == n)
        before = before or descriptors()
    assert descriptors() == before


def test_the_loop_ends_with_its_controller() -> None:
    made = Process()
    made.channel.close()
    made.child.wait(10)
    assert made.child.returncode != 0
    os.close(made.plane_fd)
    os.close(made.wakeup)


def test_the_loop_reports_itself(process: Process) -> None:
    process.open()
    process.wait(lambda: any(isinstance(e, control.LoopCounters) and e.slots > 100 for e in process.events))
    last = [e for e in process.events if isinstance(e, control.LoopCounters)][-1]
    assert last.legs == 1
    assert sum(last.lateness) == last.slots
    assert last.rejected["bad_version"] == 0


def test_the_handle_knows_that_its_process_is_gone(process: Process) -> None:
    process.engine.lost()
    assert not process.engine.alive
    with pytest.raises(EngineRefused, match="lost"):
        process.open()
    process.engine.attach(process.channel)
    assert process.open().rtp_port


def test_a_stopped_process_closes_the_channel(process: Process) -> None:
    process.channel.send(control.Stop())
    process.child.wait(10)
    process.channel.receive(100_000)
    with pytest.raises(PeerGone):
        process.channel.receive()
