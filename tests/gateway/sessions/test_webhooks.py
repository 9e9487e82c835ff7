"""gateway/sessions/webhooks.py, in virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random

import pytest

from gateway.sessions import deliveries, keys, webhooks
from gateway.sessions.database import Database
from gateway.sessions.webhooks import Answer, Circuit, Dispatcher, next_delay, signature
from tests.support.session_service import Clock

URL = "https://hooks.example.com/a"


class Endpoint:
    """The far end: up or down, and what it got while it was up."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.down_until = 0.0
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.tried: list[float] = []
        self.hanging: asyncio.Event | None = None

    async def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        self.tried.append(self.clock.now)
        if self.hanging is not None and "dead" in url:
            await self.hanging.wait()
            return Answer(None, "timeout")
        await asyncio.sleep(0)
        if self.clock.now < self.down_until:
            return Answer(None, "ConnectError")
        self.got.append((url, headers, body))
        return Answer(200, "")


def make(database: Database, clock: Clock, endpoint: Endpoint, secret: str | None = "s") -> Dispatcher:
    database.call(keys.ensure_organization, clock())
    return Dispatcher(database, endpoint, clock, secret=secret, jitter=random.Random(1).random)


async def drain(dispatcher: Dispatcher) -> None:
    """Everything that is due at this moment."""
    while True:
        begun = await dispatcher.step()
        await dispatcher.close(10)
        if not begun:
            return


def put(database: Database, clock: Clock, session_id: str, n: int = 0, url: str = URL) -> None:
    database.call(deliveries.put, "org_default", session_id, "session.created", {"n": n}, url, clock())


def test_the_signature() -> None:
    made = signature("secret", 1_800_000_000, b'{"a":1}')
    stamp, _, digest = made.partition(",v1=")
    assert stamp == "t=1800000000"
    assert digest == hmac.new(b"secret", b'1800000000.{"a":1}', hashlib.sha256).hexdigest()


def test_what_is_sent(database: Database) -> None:
    clock = Clock()
    endpoint = Endpoint(clock)
    put_at = clock.now
    dispatcher = make(database, clock, endpoint)
    put(database, clock, "s1")
    endpoint.down_until = clock.now + 1

    async def scenario() -> None:
        await drain(dispatcher)
        clock.now += 66
        await drain(dispatcher)

    asyncio.run(scenario())
    ((url, headers, body),) = endpoint.got
    assert url == URL
    assert headers["Kallglot-Signature"] == signature("s", int(clock.now), body)
    assert headers["Kallglot-Retry-Count"] == "1"
    assert headers["Kallglot-Original-Timestamp"] == str(int(put_at))
    (stored,) = database.call(deliveries.list_deliveries)
    assert headers["Kallglot-Webhook-Id"] == stored.id
    assert json.loads(body)["id"] == stored.event_id
    assert (stored.state, stored.attempts) == ("delivered", 2)


def test_the_organizations_own_secret_signs(database: Database) -> None:
    clock = Clock()
    endpoint = Endpoint(clock)
    dispatcher = make(database, clock, endpoint)
    database.call(keys.ensure_organization, clock(), "org_b", webhook_secret="own")
    database.call(deliveries.put, "org_b", "s9", "session.created", {}, URL, clock())
    asyncio.run(drain(dispatcher))
    ((_, headers, body),) = endpoint.got
    assert headers["Kallglot-Signature"] == signature("own", int(clock.now), body)


def test_the_schedule(database: Database) -> None:
    assert [next_delay(n, 0.0) for n in range(1, 9)] == [60, 300, 1800, 7200, 18000, 36000, 86400, None]
    assert next_delay(1, 1.0) == pytest.approx(66)
    clock = Clock()
    endpoint = Endpoint(clock)
    endpoint.down_until = float("inf")
    dispatcher = make(database, clock, endpoint)
    put(database, clock, "s1")
    start = clock.now

    async def scenario() -> None:
        while (stored := database.call(deliveries.list_deliveries)[0]).state == "pending":
            clock.now = max(clock.now + 30, stored.next_at)  # 30 s: what a circuit may be open for
            await drain(dispatcher)

    asyncio.run(scenario())
    tried = [at - start for at in endpoint.tried]
    assert len(tried) == 8
    planned = 30.0
    for at, delay in zip(tried, (0, *webhooks.DELAYS_S), strict=True):
        planned += delay
        assert planned <= at <= planned * 1.1 + 8 * 30
    (stored,) = database.call(deliveries.list_deliveries)
    assert (stored.state, stored.attempts, stored.last_result) == ("dead", 8, "ConnectError")
    assert dispatcher.counts["dead"] == 1


def test_down_for_an_hour_with_a_thousand_events(database: Database) -> None:
    clock = Clock()
    endpoint = Endpoint(clock)
    endpoint.down_until = clock.now + 3600
    dispatcher = make(database, clock, endpoint)

    async def scenario() -> None:
        sent = 0
        end = clock.now + 4 * 3600
        while clock.now < end:
            if sent < 1000:
                for _ in range(20):
                    put(database, clock, f"s{sent % 50}", sent)
                    sent += 1
            await drain(dispatcher)
            clock.now += 60

    asyncio.run(scenario())
    numbers: dict[str, list[int]] = {}
    by_event = {d.event_id: d.session_id for d in database.call(lambda c: deliveries.list_deliveries(c, limit=2000))}
    for _url, _headers, body in endpoint.got:
        event = json.loads(body)
        numbers.setdefault(by_event[event["id"]], []).append(event["data"]["n"])
    assert sum(map(len, numbers.values())) == 1000
    for session_id, got in numbers.items():
        assert got == sorted(got), session_id
    assert len({headers["Kallglot-Webhook-Id"] for _, headers, _ in endpoint.got}) == 1000


def test_a_dead_endpoint_delays_nobody_else(database: Database) -> None:
    clock = Clock()
    endpoint = Endpoint(clock)
    dispatcher = make(database, clock, endpoint)

    async def scenario() -> None:
        endpoint.hanging = asyncio.Event()
        for n in range(100):
            put(database, clock, f"dead{n}", url="https://dead.example.com/")
        for n in range(100):
            put(database, clock, f"alive{n}")
        for _ in range(40):
            await dispatcher.step()
            await asyncio.sleep(0.001)
        assert len(endpoint.got) == 100
        assert dispatcher.under_way == webhooks.PER_ENDPOINT
        endpoint.hanging.set()
        await dispatcher.close(10)

    asyncio.run(scenario())


def test_a_refused_address_is_given_up_at_once(database: Database) -> None:
    clock = Clock()

    async def refuse(url: str, body: bytes, headers: dict[str, str]) -> Answer:
        return Answer(None, "leads to 10.0.0.1", refused=True)

    database.call(keys.ensure_organization, clock())
    dispatcher = Dispatcher(database, refuse, clock)
    put(database, clock, "s1")
    asyncio.run(drain(dispatcher))
    (stored,) = database.call(deliveries.list_deliveries)
    assert (stored.state, stored.last_result) == ("dead", "leads to 10.0.0.1")


def test_a_restart_goes_on_where_it_was(database: Database) -> None:
    clock = Clock()
    endpoint = Endpoint(clock)
    endpoint.down_until = clock.now + 30
    put_all = make(database, clock, endpoint)
    for n in range(3):
        put(database, clock, "s1", n)
    asyncio.run(drain(put_all))
    clock.now += 70
    asyncio.run(drain(make(database, clock, endpoint)))
    assert [json.loads(body)["data"]["n"] for _, _, body in endpoint.got] == [0, 1, 2]
    assert endpoint.got[0][1]["Kallglot-Retry-Count"] == "1"


def test_the_circuit() -> None:
    circuit = Circuit()
    for _ in range(webhooks.OPEN_AFTER):
        assert circuit.admits(0.0)
        circuit.settled(False, 0.0)
    assert not circuit.admits(webhooks.OPEN_S - 0.1)
    assert circuit.admits(webhooks.OPEN_S)
    circuit.busy = 1
    assert not circuit.admits(webhooks.OPEN_S)  # one attempt decides
    circuit.busy = 0
    circuit.settled(True, webhooks.OPEN_S)
    circuit.busy = webhooks.PER_ENDPOINT - 1
    assert circuit.admits(webhooks.OPEN_S)


def test_run_is_woken(database: Database) -> None:
    clock = Clock()
    endpoint = Endpoint(clock)
    dispatcher = make(database, clock, endpoint)

    async def scenario() -> None:
        running = asyncio.create_task(dispatcher.run())
        async with asyncio.timeout(10):
            for n in range(20):
                put(database, clock, "s1", n)
                dispatcher.wake()
                while len(endpoint.got) <= n:  # noqa: ASYNC110  (there is no event to wait for)
                    await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_run_is_cancelled_even_as_it_is_woken(database: Database) -> None:
    clock = Clock()
    dispatcher = make(database, clock, Endpoint(clock))

    async def scenario() -> None:
        running = asyncio.create_task(dispatcher.run())
        await asyncio.sleep(0.05)  # it has found nothing, and waits
        dispatcher.wake()
        await asyncio.sleep(0)  # the wake-up is on its way
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=5)
        assert done

    asyncio.run(scenario())
