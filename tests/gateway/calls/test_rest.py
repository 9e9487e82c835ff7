"""Exchanges over kept connections, with a server that does what servers do and some that they should not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from gateway.calls.rest import Answer, Rest, TooLong, Unreachable
from tests.support.certificates import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok"


class Server:
    """Sends the next of its answers for each request; None: closes instead. An answer that ends in EOF closes after."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.most = self.present = 0
        self.go = asyncio.Event()
        self.go.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.startswith(b"content-len")), 0)
                length = length or int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)
                self.requests.append(head + await reader.readexactly(length))
                self.present += 1
                self.most = max(self.most, self.present)
                await self.go.wait()
                self.present -= 1
                answer = self.answers.pop(0) if self.answers else OK
                if answer is None:
                    return
                writer.write(answer.removesuffix(b"EOF"))
                if answer.endswith(b"EOF"):
                    return
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def run(
    server_of: Callable[[], Server],
    story: Callable[[Server, Rest], Awaitable[None]],
    *,
    most: int = 4,
    timeout_s: float = 10.0,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
) -> None:
    async def main() -> None:
        server = server_of()
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls and tls[0])
        port = listener.sockets[0].getsockname()[1]
        base = f"{'https' if tls else 'http'}://127.0.0.1:{port}/base/"
        rest = Rest(base, (("Authorization", "Bearer k"),), timeout_s, most, 100, tls and tls[1])
        try:
            await story(server, rest)
        finally:
            await rest.close()
            listener.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the controller's
        runner.run(main())


def test_what_is_sent_and_heard() -> None:
    async def story(server: Server, rest: Rest) -> None:
        answer = await rest.request("POST", "/v1/x", b'{"a":1}', (("X-Key", "1"),))
        assert (answer.status, answer.headers["x-a"], answer.body) == (200, "b", b"ok")
        (request,) = server.requests
        assert request.startswith(b"POST /base/v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
        assert request.endswith(b'\r\n\r\n{"a":1}')
        for field in (b"Authorization: Bearer k", b"X-Key: 1", b"Content-Length: 7", b"Content-Type: application/json"):
            assert field + b"\r\n" in request

    run(Server, story)


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (OK, 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokEOF", 2),
        (b"HTTP/1.0 200 OK\r\n\r\nokEOF", 2),
        (OK + OK.replace(b"ok", b"no"), 2),  # an answer to nothing is not the next one's
    ],
)
def test_every_way_to_end_an_answer(answer: bytes, connections: int) -> None:
    async def story(server: Server, rest: Rest) -> None:
        assert (await rest.request("GET", "/")).body == b"ok"
        assert (await rest.request("GET", "/")).body == b"ok"
        assert server.connections == connections

    run(lambda: Server(answer), story)


def test_a_kept_connection_that_was_closed_is_no_failure() -> None:
    async def story(server: Server, rest: Rest) -> None:
        for _ in range(3):
            assert (await rest.request("GET", "/")).body == b"ok"
        assert server.connections == 2

    run(lambda: Server(OK, None, OK), story)


@pytest.mark.parametrize(
    "answers",
    [
        (None,),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nokEOF",),
        (b"SIP/2.0 200 OK\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",),
        (b"\x16\x03\x01\x00\x00",),
        (OK, b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nokEOF"),  # a kept one that breaks within an answer
    ],
)
def test_what_is_no_answer(answers: tuple[bytes | None, ...]) -> None:
    async def story(server: Server, rest: Rest) -> None:
        for _ in answers[1:]:
            await rest.request("GET", "/")
        with pytest.raises(Unreachable):
            await rest.request("GET", "/")
        assert (await rest.request("GET", "/")).body == b"ok"  # and the next one is on a connection of its own

    run(lambda: Server(*answers), story)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"32\r\n" + b"x" * 50 + b"\r\n33\r\n" + b"x" * 51,
    ],
)
def test_an_answer_without_end_is_not_waited_for(answer: bytes) -> None:
    async def story(server: Server, rest: Rest) -> None:
        with pytest.raises(TooLong):
            await rest.request("GET", "/")

    run(lambda: Server(answer), story)


def test_more_at_once_than_connections_wait_for_one() -> None:
    async def story(server: Server, rest: Rest) -> None:
        server.go.clear()
        asking = [asyncio.create_task(rest.request("GET", "/")) for _ in range(9)]
        while server.present < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        server.go.set()
        answers: list[Answer] = await asyncio.gather(*asking)
        assert [answer.body for answer in answers] == [b"ok"] * 9
        assert (server.most, server.connections) == (4, 4)

    run(Server, story)


def test_who_gives_up_leaves_no_answer_to_the_next() -> None:
    async def story(server: Server, rest: Rest) -> None:
        server.go.clear()
        asking = asyncio.create_task(rest.request("GET", "/"))
        while not server.present:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        server.go.set()
        assert (await rest.request("GET", "/")).body == b"ok"
        assert server.connections == 2

    run(lambda: Server(OK.replace(b"ok", b"no")), story)


def test_a_server_that_says_nothing() -> None:
    async def story(server: Server, rest: Rest) -> None:
        server.go.clear()
        with pytest.raises(Unreachable, match="TimeoutError"):
            await rest.request("GET", "/")
        server.go.set()

    run(Server, story, timeout_s=0.05)


@pytest.mark.parametrize("known", [True, False])
def test_a_server_shows_who_it_is(tmp_path: Path, known: bool) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("127.0.0.1")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pair.certificate, pair.key)
    ours = ssl.create_default_context(cafile=str(authority.file) if known else None)

    async def story(server: Server, rest: Rest) -> None:
        if known:
            assert (await rest.request("GET", "/")).body == b"ok"
        else:
            with pytest.raises(Unreachable, match="SSLCertVerificationError"):
                await rest.request("GET", "/")

    run(Server, story, tls=(theirs, ours))


@pytest.mark.parametrize("base", ["ftp://a", "127.0.0.1:80", "http://"])
def test_what_is_no_address(base: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        Rest(base, (), 1.0, 1, 1)
