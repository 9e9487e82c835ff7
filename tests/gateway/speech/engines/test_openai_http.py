"""Requests under faults, over real HTTP. How long anything takes is not asserted: only what comes of it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.speech.engine_settings import OpenAiEngine
from gateway.speech.engines.openai_http import Endpoint, Places
from gateway.speech.stages import EngineFault, Stage
from tests.support.openai_endpoint import KEY, StandIn

CHAT = {"messages": [{"role": "user", "content": "hello"}], "stream": True}


def endpoint(address: str, **changes: Any) -> Endpoint:
    stage = {"model": "m", "concurrency": changes.pop("concurrency", 4)}
    values = {"kind": "openai", "base_url": address, "api_key": KEY, "translation": stage} | changes
    return Endpoint("hosted", OpenAiEngine.model_validate(values))


async def chat(one: Endpoint, patience_s: float = 20.0) -> bytes:
    async with one.ask(Stage.TRANSLATION, "chat/completions", patience_s, json=CHAT) as body:
        return await body.whole()


def story(test: Callable[[StandIn, Endpoint], Awaitable[None]], **changes: Any) -> None:
    async def main() -> None:
        async with StandIn().run() as stand_in:
            one = endpoint(stand_in.address, **changes)
            try:
                await test(stand_in, one)
            finally:
                await one.close()

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["500", "502", "503", "429", "408"])
def test_what_may_pass_is_tried_again(fault: str) -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.fail("chat", fault, fault)
        assert b"[DONE]" in await chat(one)
        assert len(stand_in.of("chat")) == 3

    story(test)


def test_no_more_often_than_configured_and_told_with_the_reason() -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.fail("chat", "500", "500", "500")
        with pytest.raises(
            EngineFault, match=r"^translation by hosted: 127\.0\.0\.1: HTTP 500: a fault of kind"
        ) as told:
            await chat(one)
        assert told.value.retryable
        assert len(stand_in.of("chat")) == 2

    story(test, retries=1)


@pytest.mark.parametrize("fault", ["400", "401", "403", "404", "422"])
def test_what_will_not_pass_is_asked_once(fault: str) -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.fail("chat", fault)
        with pytest.raises(EngineFault, match=f"HTTP {fault}") as told:
            await chat(one)
        assert not told.value.retryable
        assert len(stand_in.of("chat")) == 1

    story(test)


def test_a_wait_that_is_asked_for_is_kept() -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.fail("chat", "429 after 1")
        loop = asyncio.get_running_loop()
        began = loop.time()
        await chat(one)
        assert loop.time() - began >= 1.0

    story(test)


def test_a_wait_beyond_its_patience_is_a_fault_at_once() -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.fail("chat", "429 after 3600")
        with pytest.raises(EngineFault, match="asks to wait 3600 s") as told:
            await chat(one)
        assert told.value.retryable

    story(test)


def test_a_stalled_answer_ends_with_its_patience_and_is_let_go() -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.fail("chat", "stall")
        with pytest.raises(EngineFault, match=r"nothing came for 0\.3 s"):
            await chat(one, 0.3)
        while not stand_in.of("chat")[0].gone:  # noqa: ASYNC110  (the server hears of it by the network)
            await asyncio.sleep(0.01)
        await chat(one)

    story(test)


def test_a_stalled_one_holds_up_nobody_else_while_there_are_places() -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.fail("chat", *["stall"] * 3)
        stalled = [asyncio.create_task(chat(one)) for _ in range(3)]
        while stand_in.under_way.get("chat", 0) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert b"[DONE]" in await chat(one)
        assert not any(task.done() for task in stalled)
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)

    story(test)


def test_so_many_at_once_so_many_wait_and_the_rest_is_refused() -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.delays_s["chat"] = 0.2
        assert not one.full
        asked = [asyncio.create_task(chat(one)) for _ in range(10)]
        while stand_in.under_way.get("chat", 0) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert one.full
        results = await asyncio.gather(*asked, return_exceptions=True)
        refused = [result for result in results if isinstance(result, EngineFault)]
        assert len(refused) == 2
        assert "too many requests wait" in refused[0].message
        assert stand_in.most["chat"] == 4
        assert not one.full

    story(test)


def test_a_connection_that_was_kept_and_dropped_is_no_fault() -> None:
    async def main() -> None:
        dropped = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal dropped
            while await reader.readuntil(b"\r\n\r\n"):
                if dropped == 1:  # the second request finds the connection closed
                    dropped += 1
                    break
                dropped += dropped == 0
                await reader.read(4096)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        one = endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(2):
            assert await chat(one) == b"ok"
        assert dropped == 2
        await one.close()
        server.close()

    asyncio.run(main())


def test_nobody_there_is_a_fault() -> None:
    async def main() -> None:
        one = endpoint("http://127.0.0.1:9", retries=1)
        with pytest.raises(EngineFault, match="ConnectError") as told:
            await chat(one)
        assert told.value.retryable
        await one.close()

    asyncio.run(main())


def test_an_answer_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.speech.engines.openai_http._ANSWER_LIMIT", 100)

    async def test(stand_in: StandIn, one: Endpoint) -> None:
        with pytest.raises(EngineFault, match="has no end"):
            await chat(one)

    story(test)


def test_giving_up_frees_the_place() -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        for tries in range(3):
            stand_in.fail("chat", "stall")
            task = asyncio.create_task(chat(one))
            while len(stand_in.of("chat")) <= tries:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert b"[DONE]" in await chat(one)

    story(test, concurrency=1)


@pytest.mark.parametrize(("listed", "expected"), [(("a", "b"), ["a", "b"]), (None, None)])
def test_the_models_are_asked_for(listed: tuple[str, ...] | None, expected: list[str] | None) -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.models = listed
        assert await one.models() == expected

    story(test)


@pytest.mark.parametrize(("fault", "told"), [("401", "refuses the key"), ("503", "HTTP 503")])
def test_models_that_are_refused(fault: str, told: str) -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        stand_in.fail("models", fault)
        with pytest.raises(EngineFault, match=told):
            await one.models()

    story(test)


def test_the_key_is_nowhere_but_in_its_header() -> None:
    async def test(stand_in: StandIn, one: Endpoint) -> None:
        await chat(one)
        asked = stand_in.of("chat")[0]
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        del asked.headers["authorization"]
        assert KEY not in repr(asked)
        assert KEY not in repr(vars(one))

    story(test)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, and beside it cert.pem without the key."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    extra = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *extra], check=True, capture_output=True)
    both.write_text(key.read_text() + cert.read_text())
    return both


@pytest.mark.parametrize(("host", "trusted"), [("localhost", True), ("localhost", False), ("127.0.0.1", True)])
def test_https_verifies_authority_and_host(certificate: Path, host: str, trusted: bool) -> None:
    async def main() -> None:
        async with StandIn().run(certificate) as stand_in:
            ca_file = certificate.with_name("cert.pem") if trusted else None
            address = httpx.URL(stand_in.address).copy_with(host=host)
            one = endpoint(str(address), ca_file=ca_file, retries=0)
            if host == "localhost" and trusted:
                assert b"[DONE]" in await chat(one)
            else:
                with pytest.raises(EngineFault, match="CERTIFICATE_VERIFY_FAILED"):
                    await chat(one)
            await one.close()

    asyncio.run(main())


def test_places_are_given_in_turn() -> None:
    async def main() -> None:
        places, order, leave = Places(1), [], asyncio.Event()

        async def hold(number: int) -> None:
            async with places.one():
                order.append(number)
                await leave.wait()

        first = asyncio.create_task(hold(1))
        await asyncio.sleep(0)
        second = asyncio.create_task(hold(2))
        await asyncio.sleep(0)
        assert places.full
        with pytest.raises(OverflowError):
            await hold(3)
        leave.set()
        await asyncio.gather(first, second)
        assert order == [1, 2]
        assert not places.full

    asyncio.run(main())
