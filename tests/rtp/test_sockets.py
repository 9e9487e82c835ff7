"""Real sockets on loopback: what the kernel lets through to a leg."""

import socket
import time

import pytest

from rtp.sockets import LegSockets, family_of


def peer() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def free_pair() -> int:
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1] & ~1
        try:
            LegSockets("127.0.0.1", port).close()
        except OSError:
            continue
        return port


def drained(sock: socket.socket) -> list[bytes]:
    got = []
    while True:
        try:
            got.append(sock.recv(100))
        except BlockingIOError:
            return got


def test_strangers_never_reach_the_media_socket() -> None:
    port = free_pair()
    leg, friend, stranger = LegSockets("127.0.0.1", port), peer(), peer()
    media = leg.connect(*friend.getsockname())
    for _ in range(20):
        friend.sendto(b"friend", ("127.0.0.1", port))
        stranger.sendto(b"stranger", ("127.0.0.1", port))
    assert drained(media) == [b"friend"] * 20
    assert drained(leg.wild) == [b"stranger"] * 20
    leg.close()


def test_belief_moves_with_connect_and_what_waited_is_dropped() -> None:
    port = free_pair()
    leg, first, second = LegSockets("127.0.0.1", port), peer(), peer()
    leg.connect(*first.getsockname())
    first.sendto(b"old", ("127.0.0.1", port))
    media = leg.connect(*second.getsockname())
    second.sendto(b"new", ("127.0.0.1", port))
    first.sendto(b"old", ("127.0.0.1", port))
    assert drained(media) == [b"new"]
    assert drained(leg.wild) == [b"old"]
    assert leg.remote == second.getsockname()
    leg.close()


@pytest.mark.parametrize("share", [False, True])
def test_nobody_else_may_bind_the_ports(share: bool) -> None:
    port = free_pair()
    leg, friend = LegSockets("127.0.0.1", port), peer()
    leg.connect(*friend.getsockname())
    for taken in (port, port + 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            if share:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", taken))
    leg.close()


def test_a_taken_rtcp_port_leaves_nothing_open() -> None:
    port = free_pair()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port + 1))
        with pytest.raises(OSError, match="in use"):
            LegSockets("127.0.0.1", port)
    LegSockets("127.0.0.1", port).close()


def test_a_refusal_by_icmp_comes_back_as_an_error() -> None:
    port = free_pair()
    gone = peer()
    address = gone.getsockname()
    gone.close()
    leg = LegSockets("127.0.0.1", port)
    media = leg.connect(*address)
    media.send(b"x")
    for _ in range(100):
        try:
            media.recv(1)
        except ConnectionRefusedError:
            break
        except BlockingIOError:
            time.sleep(0.01)
    else:
        pytest.fail("no error came back")
    leg.close()


def test_ipv6() -> None:
    assert family_of("::1") == socket.AF_INET6
    port = free_pair()
    leg = LegSockets("::1", port)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as friend:
        friend.bind(("::1", 0))
        media = leg.connect(*friend.getsockname()[:2])
        friend.sendto(b"six", ("::1", port))
        assert drained(media) == [b"six"]
    leg.close()


def test_a_first_address_without_a_way_to_it_leaves_no_socket_that_hears_everybody() -> None:
    port, friend = free_pair(), peer()
    leg = LegSockets("127.0.0.1", port)
    with pytest.raises(OSError, match=r"\[Errno"):
        leg.connect("192.0.2.5", 4000)
    assert leg.media is None
    media = leg.connect(*friend.getsockname())
    with pytest.raises(OSError, match=r"\[Errno"):
        leg.connect("192.0.2.5", 4000)
    assert leg.media is media
    friend.sendto(b"friend", ("127.0.0.1", port))
    assert drained(media) == [b"friend"]
    leg.close()
