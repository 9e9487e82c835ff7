"""gateway/speech/engines/orders.py"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec
import pytest

from gateway.speech.engines.orders import Done, Forget, Orders


class Job(msgspec.Struct, tag="job"):
    number: int


class Line:
    """Both ends of a channel; `read` is what the worker said."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.given_up: list[int] = []
        self.orders = Orders(theirs, Job | Forget, forgotten=self.given_up.append)
        self.theirs = theirs

    def send(self, *orders: Job | Forget) -> None:
        for order in orders:
            self.ours.send(msgspec.msgpack.encode(order))

    def read(self) -> Done:
        return msgspec.msgpack.decode(self.ours.recv(4096), type=Done)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.ours.close()
    made.theirs.close()


def test_one_job_after_the_other(line: Line) -> None:
    line.send(Job(1), Job(2))
    for number in (1, 2):
        assert line.orders.next() == Job(number)
        assert line.orders.wanted()
        assert line.orders.done("tired" if number == 2 else "")
    assert [line.read(), line.read()] == [Done(1), Done(2, "tired")]


def test_what_nobody_waits_for_is_given_up_wherever_it_is(line: Line) -> None:
    line.send(Job(1), Job(2), Job(3), Forget(2))
    assert line.orders.next() == Job(1)
    line.send(Forget(1))
    assert not line.orders.wanted()
    line.orders.done("forgotten")
    assert line.orders.next() == Job(3)
    assert line.orders.wanted()
    assert [line.read(), line.read()] == [Done(1, "forgotten"), Done(2, "forgotten")]
    assert line.given_up == [2, 1]


def test_what_is_done_is_not_remembered(line: Line) -> None:
    line.send(Job(1))
    line.orders.next()
    line.orders.done()
    line.send(Forget(1), Job(1))
    assert line.orders.next() == Job(1)
    assert line.orders.wanted()


def test_a_channel_that_closes_ends_it(line: Line) -> None:
    line.send(Job(1))
    assert line.orders.next() == Job(1)
    line.ours.close()
    assert not line.orders.wanted()
    assert line.orders.next() is None
    assert not line.orders.done()
