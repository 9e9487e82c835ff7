"""Legs with real sockets and a virtual clock. The whole process: test_loop.py."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rtp import control, plane
from rtp.legs import BIND_TRIES, STRANGERS_PER_SLOT, Legs
from rtp.plane import Plane
from rtp.settings import Settings
from rtp.table import Table
from tests.rtp.test_loop import free_range, phone
from tests.support.engine import rtp_packet

SECOND_NS = 1_000_000_000


class Rig:
    def __init__(self, pairs: int = 8) -> None:
        self.first = free_range(pairs)
        settings = Settings(
            bind="127.0.0.1",
            bind6="::1",
            ports_first=self.first,
            ports_last=self.first + 2 * pairs - 1,
            capacity=4,
        )
        self.fd = plane.create(4)
        self.plane = Plane(self.fd, 4)
        self.events: list[Any] = []
        self.delivered: list[tuple[int, int]] = []
        self.legs = Legs(
            Table(self.plane, settings),
            settings,
            self.events.append,
            lambda row, length, now_ns: self.delivered.append((row, length)),
        )

    def open(self, port: int = 0) -> control.LegOpened:
        self.legs.command(control.OpenLeg(1, port), SECOND_NS)
        opened = self.events[-1]
        assert isinstance(opened, control.LegOpened)
        return opened

    def family(self, leg: control.LegOpened) -> socket.AddressFamily:
        """Of the leg's sockets, by which of the two addresses is taken."""
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind((address, leg.rtp_port))
                except OSError:
                    return family
        raise AssertionError("neither is taken")

    def configure(self, leg: control.LegOpened, peer: socket.socket, **changes: object) -> None:
        address, port = peer.getsockname()[:2]
        fields: dict[str, Any] = {
            "row": leg.row,
            "generation": leg.generation,
            "remote_address": address,
            "remote_port": port,
            "rtcp_address": address,
            "rtcp_port": 0,
            "payload_type": 0,
            "codec": "PCMU",
            "accept": {0: "PCMU"},
            "symmetric": "on",
        }
        self.legs.command(control.ConfigureLeg(**(fields | changes)), SECOND_NS)

    def drain(self, slot: int, now_ns: int) -> None:
        """Read every socket but the media ones until nothing is left to be read in this slot."""
        self.legs.begin_slot(now_ns, now_ns)
        for _ in range(100):
            for fd, _events in self.legs.epoll.poll(0.01):
                if fd in self.legs.others:
                    self.legs.others[fd](slot, now_ns)

    def stop(self) -> None:
        self.legs.command(control.Stop(), 2 * SECOND_NS)
        os.close(self.fd)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.stop()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_flood_of_strangers_costs_a_bounded_number_of_reads_a_slot(rig: Rig) -> None:
    leg, friend, stranger = rig.open(), phone(), phone()
    rig.configure(leg, friend, symmetric="off")
    for n in range(200):
        stranger.sendto(rtp_packet(n, n * 160, b"\x11" * 10), ("127.0.0.1", leg.rtp_port))
    rig.drain(1, SECOND_NS)
    assert rig.plane.stats["packets_stranger"][leg.row] == STRANGERS_PER_SLOT
    assert rig.delivered == []


def test_a_burst_is_not_believed_and_the_same_with_a_later_packet_is(rig: Rig) -> None:
    leg, sdp, real = rig.open(), phone(), phone()
    rig.configure(leg, sdp)
    for n in range(8):
        real.sendto(rtp_packet(n, n * 160, b"\x22" * 160), ("127.0.0.1", leg.rtp_port))
    rig.drain(1, SECOND_NS)
    assert not [e for e in rig.events if isinstance(e, control.RemoteChanged)]
    real.sendto(rtp_packet(8, 8 * 160, b"\x22" * 160), ("127.0.0.1", leg.rtp_port))
    rig.drain(6, SECOND_NS + 20_000_000)
    changed = [e for e in rig.events if isinstance(e, control.RemoteChanged)]
    assert [(e.address, e.port) for e in changed] == [real.getsockname()]
    assert rig.delivered == [(leg.row, 172)]


def test_reports_are_due_by_time_and_end_with_a_goodbye(rig: Rig) -> None:
    leg, peer, listener = rig.open(), phone(), phone()
    rig.configure(leg, peer, rtcp_address="127.0.0.1", rtcp_port=listener.getsockname()[1])
    rig.drain(1, SECOND_NS + 1)
    listener.settimeout(0.05)
    with pytest.raises(TimeoutError):
        listener.recv(2000)
    rig.drain(2, 20 * SECOND_NS)
    listener.settimeout(5)
    assert listener.recv(2000)[1] in (200, 201)
    rig.legs.command(control.CloseLeg(leg.row, leg.generation), 21 * SECOND_NS)
    assert b"\x81\xcb\x00\x01" in listener.recv(2000)


def test_a_port_that_somebody_else_holds_is_passed_over() -> None:
    rig = Rig(pairs=4)
    taken = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for n, sock in enumerate(taken):
        sock.bind(("127.0.0.1", rig.first + 2 * n))
    assert rig.open().rtp_port == rig.first + 6
    assert BIND_TRIES >= 4
    rig.stop()
    for sock in taken:
        sock.close()


def test_sealed_media_that_does_not_open_is_counted(rig: Rig) -> None:
    leg, peer = rig.open(), phone()
    keys = control.Srtp("AES_CM_128_HMAC_SHA1_80", b"r" * 30, b"s" * 30)
    rig.configure(leg, peer, srtp=keys)
    stranger = phone()
    stranger.sendto(rtp_packet(1, 160, b"\x22" * 160), ("127.0.0.1", leg.rtp_port))
    rig.drain(1, SECOND_NS)
    assert rig.plane.stats["packets_bad_auth"][leg.row] == 1
    assert rig.delivered == []


def test_hold_by_the_address_keeps_what_is_known(rig: Rig) -> None:
    leg, peer = rig.open(), phone()
    rig.configure(leg, peer)
    rig.configure(leg, peer, remote_address="0.0.0.0", send=False)
    rig.configure(leg, peer)
    rig.legs.send_to[leg.row](b"x" * 20)
    assert peer.recv(100) == b"x" * 20


def test_an_address_without_a_way_to_it_costs_the_leg_its_sound_and_nothing_else(rig: Rig) -> None:
    leg, peer = rig.open(), phone()
    rig.configure(leg, peer, remote_address="192.0.2.5")  # from a socket that is bound to loopback
    assert rig.plane.stats["send_errors"][leg.row] == 1
    rig.configure(leg, peer)
    rig.legs.send_to[leg.row](b"x" * 20)
    assert peer.recv(100) == b"x" * 20
    rig.configure(leg, peer, remote_address="192.0.2.5")
    rig.legs.command(control.CloseLeg(leg.row, leg.generation), 2 * SECOND_NS)
    never = rig.open()
    rig.configure(never, peer, remote_address="192.0.2.5")
    rig.legs.command(control.CloseLeg(never.row, never.generation), 2 * SECOND_NS)
    assert len([event for event in rig.events if isinstance(event, control.LegClosed)]) == 2


def test_a_leg_is_of_the_family_that_was_asked_for(rig: Rig) -> None:
    assert rig.family(rig.open()) is socket.AF_INET
    rig.legs.command(control.OpenLeg(2, 0, True), SECOND_NS)
    six = rig.events[-1]
    assert rig.family(six) is socket.AF_INET6
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        peer.bind(("::1", 0))
        address, port = peer.getsockname()[:2]
        rig.configure(six, peer, remote_address=address, remote_port=port, rtcp_address=address, symmetric="off")
        rig.legs.send_to[six.row](b"x" * 172)
        peer.settimeout(5)
        data, (source, source_port, *_) = peer.recvfrom(2000)
        assert (data, source, source_port) == (b"x" * 172, "::1", six.rtp_port)
