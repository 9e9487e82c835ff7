"""The gun against a peer of its own: volleys wait for their answer, calls are acknowledged and ended."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from rig import gun
from rig.gun import Deaf, Gun

Respond = Callable[[str], list[str]]


class Target:
    """Answers each datagram with what it is told, and keeps them."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.heard: list[str] = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            data, sender = self.sock.recvfrom(65536)
            if data == b"stop":
                return
            self.heard.append(data.decode("latin-1"))
            for text in self.respond(self.heard[-1]):
                self.sock.sendto(text.encode(), sender)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop", self.sock.getsockname())
        self.thread.join()
        self.sock.close()


@contextlib.contextmanager
def target(respond: Respond) -> Iterator[tuple[Target, Gun]]:
    made = Target(respond)
    fired = Gun(f"127.0.0.1:{made.sock.getsockname()[1]}")
    try:
        yield made, fired
    finally:
        fired.close()
        made.close()


def answer(request: str, code: int) -> str:
    wanted = [line for line in request.split("\r\n") if line.startswith(("Via", "From", "To", "Call-ID", "CSeq"))]
    return f"SIP/2.0 {code} x\r\n" + "\r\n".join(wanted) + "\r\nContact: <sip:there@127.0.0.1>\r\n\r\n"


def invite(name: str) -> bytes:
    return (
        f"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{name}\r\nFrom: a\r\nTo: b\r\nCall-ID: {name}\r\n"
        "CSeq: 1 INVITE\r\n\r\n"
    ).encode()


def alive(request: str) -> list[str]:
    return [answer(request, 200)] if request.startswith("OPTIONS") else []


def test_each_volley_is_followed_by_a_question() -> None:
    with target(alive) as (there, fired):
        fired.fire((invite(str(n)) for n in range(1000)), 2 * gun.VOLLEY + 1)
        assert fired.tally.fired == 2 * gun.VOLLEY + 1
        asked = [i for i, request in enumerate(there.heard) if request.startswith("OPTIONS")]
        assert asked == [gun.VOLLEY, 2 * gun.VOLLEY + 1, 2 * gun.VOLLEY + 3]


@pytest.mark.parametrize(("code", "then"), [(200, ["ACK", "BYE"]), (404, ["ACK"]), (180, [])])
def test_what_an_answer_wants(code: int, then: list[str]) -> None:
    def respond(request: str) -> list[str]:
        return [answer(request, code)] if request.startswith("INVITE") else alive(request)

    with target(respond) as (there, fired):
        fired.fire(iter([invite("one")]), 1)
        fired.await_answer()
        assert [word for request in there.heard if (word := request.split(" ")[0]) in ("ACK", "BYE")] == then
        assert fired.tally.answers[code] == 1
        if code == 404:  # of the same transaction (RFC 3261 §17.1.1.3)
            assert any(request.startswith("ACK") and "branch=z9hG4bKone" in request for request in there.heard)


def test_a_call_that_is_kept() -> None:
    def respond(request: str) -> list[str]:
        return [answer(request, 200)] if request.startswith("INVITE") else alive(request)

    with target(respond) as (there, fired):
        assert fired.dial("one", invite("one")) == "From: a\r\nTo: b\r\nCall-ID: one"
        fired.await_answer()
        assert [request.split(" ")[0] for request in there.heard] == ["INVITE", "OPTIONS", "ACK", "OPTIONS"]
        fired.hang_up()
        fired.hang_up()  # there is nothing any more
        fired.await_answer()
        byes = [request for request in there.heard if request.startswith("BYE")]
        assert len(byes) == 1
        assert "From: a\r\nTo: b\r\nCall-ID: one\r\nCSeq: 2147483647 BYE" in byes[0]


def test_each_request_is_a_transaction_of_its_own() -> None:
    """Two calls of one volley: a BYE with the branch of another one's is no BYE to a stack, and the call stays."""

    def respond(request: str) -> list[str]:
        return [answer(request, 200)] if request.startswith("INVITE") else alive(request)

    with target(respond) as (there, fired):
        fired.fire(iter([invite("one"), invite("two")]), 2)
        fired.await_answer()
        branches = [
            line
            for request in there.heard
            if request.startswith(("ACK", "BYE"))
            for line in request.split("\r\n")
            if line.startswith("Via")
        ]
        assert len(branches) == len(set(branches)) == 4


def test_requests_from_there_are_answered() -> None:
    bye = "BYE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: a\r\nTo: b\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n"
    with target(lambda request: [bye, *alive(request)] if request.startswith("INVITE") else alive(request)) as (
        there,
        fired,
    ):
        fired.fire(iter([invite("one")]), 1)
        fired.await_answer()
        assert any(request.startswith("SIP/2.0 200") and "CSeq: 1 BYE" in request for request in there.heard)


def test_a_target_that_is_gone_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gun, "AGAIN_S", 0.01)
    monkeypatch.setattr(gun, "TRIES", 3)
    with target(lambda _: []) as (_, fired), pytest.raises(Deaf):
        fired.fire(iter([invite("one")]), 1)
