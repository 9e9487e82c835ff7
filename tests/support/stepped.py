"""The real loop with its real sockets, on a virtual clock: slots are served when a test says so.

Datagrams over loopback are there as soon as they are sent, so nothing depends on how busy the host is, and seconds of
a call take milliseconds. Commands come and events go through a real channel, as from the controller.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from gateway.channel import Channel, pair
from rtp import control, plane
from rtp.engine import Leg
from rtp.loop import Loop
from rtp.plane import DOWNLINK_BYTES, FRAME, UPLINK_FRAMES, Plane
from rtp.settings import Settings
from tests.rtp.test_loop import free_range
from tests.support.engine import rtp_packet

SLOTS = Settings().slots_per_frame
SLOT_NS = 20_000_000 // SLOTS
HOST = "127.0.0.1"
Event = TypeVar("Event", bound=control.Event)


def speech(n: int) -> bytes:
    """Frame n of a noise that never repeats, without the code for silence."""
    return bytes(code % 255 for code in hashlib.shake_128(n.to_bytes(4, "big")).digest(FRAME))


class Peer:
    """Whoever sends to a leg: one socket, one RTP stream. `seal` is put around each packet, when set."""

    def __init__(self, ssrc: int = 1, payload_type: int = 0) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((HOST, 0))
        self.sock.setblocking(False)
        self.address: tuple[str, int] = self.sock.getsockname()
        self.ssrc, self.payload_type = ssrc, payload_type
        self.sequence, self.timestamp = 1000, 16_000
        self.seal: Callable[[bytes], bytes] | None = None

    def say(self, leg: Leg, payload: bytes) -> bytes:
        """The next packet of audio; returns the datagram."""
        datagram = rtp_packet(self.sequence, self.timestamp, payload, self.payload_type, self.ssrc)
        self.sequence += 1
        self.timestamp += len(payload)
        return self.send(leg, datagram if self.seal is None else self.seal(datagram))

    def send(self, leg: Leg, datagram: bytes, rtcp: bool = False) -> bytes:
        self.sock.sendto(datagram, (HOST, leg.rtp_port + rtcp))
        return datagram

    def received(self) -> list[bytes]:
        """What has come since it was last asked for."""
        found = []
        while True:
            try:
                found.append(self.sock.recv(2000))
            except BlockingIOError:
                return found


class Stepped:
    """`frames` moves time. heard: uplink frames by row; events: but those that answer `open`."""

    def __init__(self, capacity: int = 4, **settings: int) -> None:
        first = free_range(capacity + 2)
        self.settings = Settings(
            bind=HOST, ports_first=first, ports_last=first + 2 * capacity + 3, capacity=capacity, **settings
        )
        self._plane_fd = plane.create(capacity)
        self._wakeup_fd = os.eventfd(0, os.EFD_NONBLOCK)
        ours, theirs = pair()
        self.channel: Channel[control.AnyEvent] = Channel(ours, control.AnyEvent)
        self._theirs: Channel[control.AnyCommand] = Channel(theirs, control.AnyCommand)
        self.plane = Plane(self._plane_fd, capacity)
        self._loop = Loop(self._theirs, self.plane, self._wakeup_fd, self.settings)
        self.events: list[control.AnyEvent] = []
        self.heard: dict[int, list[bytes]] = {}
        self._tail: dict[int, int] = {}
        self._number = 0
        self._peers: list[Peer] = []

    def peer(self, ssrc: int = 1, payload_type: int = 0) -> Peer:
        self._peers.append(Peer(ssrc, payload_type))
        return self._peers[-1]

    def open(self) -> Leg:
        self.channel.send(control.OpenLeg(len(self.heard) + 1))
        self.step()
        opened = next(event for event in self.events if isinstance(event, control.LegOpened))
        self.events.remove(opened)
        self.heard[opened.row], self._tail[opened.row] = [], 0
        return Leg(opened.row, opened.generation, opened.rtp_port)

    def configure(self, leg: Leg, peer: Peer, **changes: object) -> None:
        """As SDP that names the peer's address would."""
        fields: dict[str, object] = {
            "row": leg.row,
            "generation": leg.generation,
            "remote_address": peer.address[0],
            "remote_port": peer.address[1],
            "rtcp_address": "",
            "rtcp_port": -1,
            "payload_type": 0,
            "codec": "PCMU",
            "accept": {0: "PCMU", 8: "PCMA", 101: "telephone-event"},
            "dtmf_type": 101,
            "cname": "test",
        }
        self.channel.send(control.ConfigureLeg(**(fields | changes)))  # type: ignore[arg-type]
        self.step()

    def command(self, command: control.Command) -> None:
        self.channel.send(command)
        self.step()

    def step(self, slots: int = 1) -> None:
        for _ in range(slots):
            now_ns = 1_000_000_000 + self._number * SLOT_NS
            self._loop._render(self._number, now_ns)
            self._loop._capture(self._number, now_ns + SLOT_NS // 2)
            self._number += 1
            self.events += self.channel.receive()
            for row, heard in self.heard.items():
                head = int(self.plane.uplink_head[row])
                for n in range(self._tail[row], head):
                    heard.append(self.plane.uplink[row, n % UPLINK_FRAMES].tobytes())
                self._tail[row] = head

    def frames(self, count: int = 1) -> None:
        self.step(count * SLOTS)

    def say(self, leg: Leg, audio: bytes) -> None:
        """What the controller puts in a leg's play-out window; there must be room for it."""
        start = int(self.plane.written[leg.row])
        index = (start + np.arange(len(audio))) % DOWNLINK_BYTES
        self.plane.downlink[leg.row, index] = np.frombuffer(audio, np.uint8)
        self.plane.written[leg.row] = start + len(audio)

    def of(self, kind: type[Event]) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def stats(self, leg: Leg, field: str) -> int:
        return int(self.plane.stats[field][leg.row])

    def close(self) -> None:
        self.command(control.Stop())
        for peer in self._peers:
            peer.sock.close()
        self.channel.close()
        self._theirs.close()
        os.close(self._plane_fd)
        os.close(self._wakeup_fd)
