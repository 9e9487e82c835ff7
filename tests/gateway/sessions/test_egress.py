"""gateway/sessions/egress.py"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.sessions.egress import Guard, HttpPost
from gateway.sessions.webhooks import Answer


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
     "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
     "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::1", "fec0::1"],
)  # fmt: skip
def test_what_is_refused(address: str) -> None:
    assert not Guard().admits(address)
    assert Guard(["0.0.0.0/0", "::/0"]).admits(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_what_is_admitted(address: str) -> None:
    assert Guard().admits(address)


def test_only_what_is_allowed() -> None:
    guard = Guard(["10.0.0.0/8", "fd00::/8"])
    assert guard.admits("10.9.9.9")
    assert guard.admits("::ffff:10.9.9.9")
    assert guard.admits("fd12::1")
    assert not guard.admits("192.168.0.1")


def resolver(*addresses: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def resolve(host: str, port: int) -> list[str]:
        if not addresses:
            raise OSError("no such name")
        return list(addresses)

    return resolve


def test_one_bad_address_is_enough() -> None:
    with pytest.raises(PermissionError, match=r"10\.0\.0\.1"):
        asyncio.run(Guard().addresses("https://x.example/", resolver("8.8.8.8", "10.0.0.1")))


def test_a_check_refuses_what_is_certain_only() -> None:
    with pytest.raises(PermissionError):
        asyncio.run(Guard().check("https://x.example/", resolve=resolver("10.0.0.1")))
    with pytest.raises(PermissionError):
        asyncio.run(Guard().check("http://127.0.0.1:9/"))
    for url in ("http://[::1]/", "http://[::ffff:127.0.0.1]:80/", "http://[fd00::1]/", "http://2130706433/"):
        with pytest.raises(PermissionError):
            asyncio.run(Guard().check(url))
    asyncio.run(Guard(["::1/128"]).check("http://[::1]/"))
    asyncio.run(Guard().check("https://x.example/", resolve=resolver()))


class Server:
    """One HTTP request, answered with a status."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        writer.write(self.answer)
        await writer.drain()
        writer.close()


def post(answer: bytes, host: str = "hooks.example.com", address: str = "127.0.0.1") -> tuple[Answer, list[bytes]]:
    async def scenario() -> tuple[Answer, list[bytes]]:
        server = Server(answer)
        listening = await asyncio.start_server(server.handle, address, 0)
        port = listening.sockets[0].getsockname()[1]
        sender = HttpPost(Guard(["127.0.0.0/8", "::1/128"]), resolver(address))
        made = await sender(f"http://{host}:{port}/hook?x=1", b"{}", {"A-Header": "1"})
        await sender.close()
        listening.close()
        return made, server.requests

    return asyncio.run(scenario())


def test_the_request_goes_to_the_judged_address_under_its_name() -> None:
    answer, (request,) = post(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert answer.good
    assert request.startswith(b"POST /hook?x=1 HTTP/1.1\r\n")
    assert b"host: hooks.example.com:" in request.lower()
    assert b"a-header: 1" in request.lower()


def test_an_ipv6_address_is_posted_to() -> None:
    answer, (request,) = post(b"HTTP/1.1 204 No Content\r\n\r\n", "[::1]", "::1")
    assert answer.good
    assert b"host: [::1]:" in request.lower()


def test_what_was_answered_can_be_had_and_is_bounded() -> None:
    async def scenario(size: int) -> tuple[Answer, bytes]:
        server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
        sender = HttpPost(Guard(["127.0.0.0/8"]), resolver("127.0.0.1"))
        url = f"http://a.example:{listening.sockets[0].getsockname()[1]}/"
        made = await sender.ask(url, b"{}", {}, 10.0)
        await sender.close()
        listening.close()
        return made

    assert asyncio.run(scenario(5)) == (Answer(200, ""), b"xxxxx")
    assert len(asyncio.run(scenario(300_000))[1]) == 64 * 1024


def test_redirects_are_not_followed() -> None:
    answer, requests = post(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    assert (answer.status, answer.good, len(requests)) == (302, False, 1)


def test_an_endless_answer_is_cut() -> None:
    answer, _ = post(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 300_000)
    assert answer.good


def test_failures_are_answers() -> None:
    assert post(b"garbage\r\n\r\n")[0].status is None
    refused = asyncio.run(HttpPost(Guard())("http://127.0.0.1:1/", b"", {}))
    assert refused.refused
    closed = asyncio.run(HttpPost(Guard(["127.0.0.0/8"]))("http://127.0.0.1:1/", b"", {}))
    assert (closed.status, closed.refused) == (None, False)
    nowhere = asyncio.run(HttpPost(Guard(), resolver())("http://x.example/", b"", {}))
    assert (nowhere.status, nowhere.refused) == (None, False)
