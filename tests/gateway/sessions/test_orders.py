"""gateway/sessions/orders.py: who carries out what. What the verbs do: test_api.py, test_dial.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.errors import Fault, GatewayError, PeerFault
from gateway.sessions.idempotency import Ticket
from gateway.sessions.orders import NodeAway, Order, Orders
from gateway.sessions.replies import Reply
from tests.support.session_service import Clock, Kit, service

ANSWER = Reply(202, b'{"id":"call_1"}', {})


class Others:
    """The other nodes: what they were sent, and what they answer."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Order]] = []
        self.refusal: GatewayError | None = None

    async def send(self, node: str, order: Order) -> Reply:
        self.sent.append((node, order))
        if self.refusal is not None:
            raise self.refusal
        return ANSWER


def two(url: str, scenario: Callable[[Kit, Orders, Others, str], Awaitable[None]]) -> None:
    """Node a holds a session; node b's orders."""

    async def main() -> None:
        clock, others = Clock(), Others()
        async with service(url, clock, node="a") as a, service(url, clock, node="b") as b:
            session = await a.create()
            await scenario(a, Orders(b.hub, b.switchboard, others), others, session["id"])

    asyncio.run(main())


def test_an_order_goes_to_the_holder_with_all_that_belongs_to_it(database_url: str) -> None:
    async def scenario(_a: Kit, orders: Orders, others: Others, session_id: str) -> None:
        ticket = Ticket("org_default", "POST …/dial", "k", "digest")
        order = Order("dial", session_id, "org_default", {"to": "200"}, ticket=ticket)
        assert await orders.carry_out(order) == ANSWER
        assert await orders.carry_out(order) == ANSWER  # it is the holder who keeps an answer
        assert others.sent == [("a", order)] * 2

    two(database_url, scenario)


def test_an_order_is_passed_on_once(database_url: str) -> None:
    async def scenario(_a: Kit, orders: Orders, others: Others, session_id: str) -> None:
        for verb in ("end", "dial", "hang_up", "transfer"):
            with pytest.raises(NodeAway, match="held by node a") as caught:
                await orders.carry_out(Order(verb, session_id, None, {"to": "x"}), passed_on=True)
            assert (caught.value.fault, caught.value.retry_after_s) == (Fault.SERVICE_UNAVAILABLE, 1)
        assert others.sent == []

    two(database_url, scenario)


def test_another_organizations_session_is_nobodys(database_url: str) -> None:
    async def scenario(_a: Kit, orders: Orders, others: Others, session_id: str) -> None:
        with pytest.raises(PeerFault) as caught:
            await orders.carry_out(Order("end", session_id, "org_other"))
        assert caught.value.fault is Fault.SESSION_NOT_FOUND
        assert others.sent == []

    two(database_url, scenario)


def test_a_holder_that_is_away_refuses_all_but_the_end(database_url: str) -> None:
    async def scenario(a: Kit, orders: Orders, others: Others, session_id: str) -> None:
        others.refusal = NodeAway("node a does not answer")
        with pytest.raises(NodeAway, match="does not answer"):
            await orders.carry_out(Order("dial", session_id, None, {"to": "200"}))

        async def owner() -> None:
            while a.hub.sessions:
                await a.members.step()
                await asyncio.sleep(0.02)

        order = Order("end", session_id, None, {"reason": "done"})
        reply, _ = await asyncio.gather(orders.carry_out(order), owner())
        assert reply.status == 200
        shown = (await a.get(f"/v1/sessions/{session_id}")).json()
        assert (shown["status"], shown["end_reason"]) == ("ended", "done")

    two(database_url, scenario)


def test_what_the_holder_refuses_is_refused(database_url: str) -> None:
    async def scenario(_a: Kit, orders: Orders, others: Others, session_id: str) -> None:
        others.refusal = PeerFault(Fault.DIAL_FAILED, "486 Busy Here")
        with pytest.raises(PeerFault, match="486 Busy Here"):
            await orders.carry_out(Order("dial", session_id, None, {"to": "200"}))

    two(database_url, scenario)
