from __future__ import annotations

import os

import pytest

from gateway.channel import PeerGone, pair
from gateway.lifeline import Attach, Drain, Exited, Lifeline, Pulse, Reloaded, Status


def _ends() -> tuple[Lifeline, Lifeline]:
    a, b = pair()
    return Lifeline(a), Lifeline(b)


def test_messages_arrive_in_order_as_they_were() -> None:
    here, there = _ends()
    sent = [
        Attach("sip", 7),
        Exited("rtp", "killed"),
        Drain(1.5),
        Reloaded(["a"], ["b"], ["c"]),
        Pulse(["rtp"]),
        Status(True, "x"),
    ]
    for message in sent:
        here.send(message)
    got = []
    while (one := there.receive()) is not None:
        got.append(one)
    assert got == [(message, None) for message in sent]


def test_a_file_descriptor_travels_along_and_is_the_receivers() -> None:
    here, there = _ends()
    read, write = os.pipe()
    here.send(Attach("rtp", 1), write)
    os.close(write)
    got = there.receive()
    assert got is not None
    fd = got[1]
    assert fd is not None
    assert not os.get_inheritable(fd)
    os.write(fd, b"x")
    os.close(fd)
    assert os.read(read, 10) == b"x"
    assert os.read(read, 10) == b""  # no copy of the writing end is left anywhere
    os.close(read)


def test_a_closed_end_is_said() -> None:
    here, there = _ends()
    here.close()
    with pytest.raises(PeerGone):
        there.receive()
    with pytest.raises(PeerGone):
        there.send(Status(True, ""))


def test_an_end_that_nobody_reads_is_as_good_as_closed() -> None:
    here, _there = _ends()

    def flood() -> None:
        for _ in range(100_000):
            here.send(Status(True, "x" * 1000))

    with pytest.raises(PeerGone):
        flood()
