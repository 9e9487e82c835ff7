"""What is asked of a session that has not ended: end it, call somebody into it, hang up, transfer.

Only the node that holds a session can do these. An order that comes to another one is passed on to the holder, once:
the node that gets it so carries it out or refuses. Owns that rule, the order of the steps, and idempotency around them;
how an order travels is `peers.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, Protocol

import msgspec

from gateway.errors import Fault, LocalFault, PeerFault
from gateway.sessions import nodes, replies, store, views
from gateway.sessions.hub import Hub
from gateway.sessions.idempotency import Running, Ticket
from gateway.sessions.live import LiveSession
from gateway.sessions.replies import Reply
from gateway.sessions.store import Session
from gateway.sessions.telephony import Telephony

_encode: Final = msgspec.json.Encoder().encode
#: Quarter seconds that a session has to end elsewhere.
_WAIT_FOR_NODE: Final = 40

Verb = Literal["end", "dial", "hang_up", "transfer"]


class Order(msgspec.Struct, frozen=True):
    """organization_id: whose session it must be; None: the gateway itself asks. body: the request's, checked."""

    verb: Verb
    session_id: str
    organization_id: str | None
    body: dict[str, Any] = {}
    call_id: str = ""
    ticket: Ticket | None = None


class NodeAway(LocalFault):
    """The node that holds a session can not be asked."""

    def __init__(self, why: str, retry_after_s: int = 5) -> None:
        super().__init__(Fault.SERVICE_UNAVAILABLE, why, retry_after_s=retry_after_s)


class Peers(Protocol):
    """The other nodes."""

    async def send(self, node: str, order: Order) -> Reply:
        """What that node answers. Raises NodeAway, and whatever GatewayError the node raised."""


class Orders:
    """Carries orders out on this node's sessions, and has the other nodes carry out the rest."""

    def __init__(self, hub: Hub, telephony: Telephony, peers: Peers) -> None:
        self._hub = hub
        self._database = hub.database
        self._clock = hub.clock
        self._telephony = telephony
        self._peers = peers
        self._running = Running()

    async def carry_out(self, order: Order, *, passed_on: bool = False) -> Reply:
        """Do it and answer. passed_on: another node got the request. Raises GatewayError."""
        with self._running.one(order.ticket):
            now = self._clock()
            stored = await self._database.read(store.find_session, order.session_id, order.organization_id)
            if (replay := await self._database.read(replies.recall, order.ticket, now)) is not None:
                return replay
            if stored.status != "ended" and stored.node != self._hub.teller.node:
                return await self._elsewhere(stored, order, passed_on)
            reply = await _VERBS[order.verb](self, stored, order)
            if order.ticket is not None:
                await self._database.run(replies.remember, order.ticket, reply, now)
            return reply

    async def _elsewhere(self, stored: Session, order: Order, passed_on: bool) -> Reply:
        """Another node's session. The holder keeps the answer for who asks the same again."""
        if passed_on:  # it moved while the order was on its way
            raise NodeAway(f"session {stored.id} is held by node {stored.node}", retry_after_s=1)
        try:
            return await self._peers.send(stored.node, order)
        except NodeAway:
            if order.verb != "end":
                raise
        # To end is left in the database as well: for a node that can not be reached, or whoever takes its sessions.
        await self._database.run(nodes.request_end, stored.id, order.body.get("reason") or "explicit_end")
        return self._summary(await self._ended(stored))

    # ---- the verbs ---------------------------------------------------------------------------------

    async def _end(self, stored: Session, order: Order) -> Reply:
        """Ending again gives the same summary."""
        if stored.status != "ended":
            if order.session_id in self._hub.sessions:
                stored = await self._hub.end(order.session_id, order.body.get("reason"), self._clock())
            else:  # it ended between the query and here
                stored = await self._ended(stored)
        return self._summary(stored)

    async def _ended(self, stored: Session) -> Session:
        for _ in range(_WAIT_FOR_NODE):
            stored = await self._database.read(store.find_session, stored.id, None)
            if stored.status == "ended":
                return stored
            await asyncio.sleep(0.25)
        raise NodeAway(f"session {stored.id} is held by node {stored.node}, which has not ended it yet")

    def _summary(self, ended: Session) -> Reply:
        return Reply(200, _encode(views.summary_view(ended, self._clock())), {})

    async def _dial(self, stored: Session, order: Order) -> Reply:
        """The gateway places the call; its answer is ours."""
        live = self._hub.sessions.get(order.session_id)
        if stored.status in ("ending", "ended") or (live is not None and live.has_ended):
            raise PeerFault(Fault.SESSION_ENDED, f"session {order.session_id} has ended")
        if live is None:
            raise NodeAway(f"session {order.session_id} is not taken up yet", retry_after_s=1)
        wanted = {"session_id": order.session_id} | order.body
        if headers := ((live.record.options["routing"] or {}).get("sip") or {}).get("headers"):
            wanted["headers"] = headers  # the session's own, also those that its first call brought along
        call = await self._telephony.dial(wanted)
        self._hub.dialled(live, call)
        return Reply(202, _encode(call), {})

    async def _hang_up(self, stored: Session, order: Order) -> Reply:
        """The gateway that has the call is told over its stream."""
        live, speaker = self._call(order)
        live.end_call(speaker, order.body.get("reason"))
        return _call_reply(order, "ending")

    async def _transfer(self, stored: Session, order: Order) -> Reply:
        """Likewise."""
        live, speaker = self._call(order)
        live.transfer(speaker, order.body["to"])
        return _call_reply(order, "transferring")

    def _call(self, order: Order) -> tuple[LiveSession, str]:
        """The session and the speaker of a call that is up. Raises PeerFault."""
        live = self._hub.sessions.get(order.session_id)
        speaker = None if live is None else live.speaker_of(order.call_id)
        if live is None or speaker is None:
            raise PeerFault(
                Fault.SESSION_NOT_FOUND,
                f"session {order.session_id} has no call {order.call_id}",
                param="call_id",
            )
        return live, speaker


def _call_reply(order: Order, status: str) -> Reply:
    told = {"id": order.call_id, "object": "call", "session_id": order.session_id, "status": status}
    return Reply(200, _encode(told), {})


_VERBS: Final[dict[Verb, Callable[[Orders, Session, Order], Awaitable[Reply]]]] = {
    "end": Orders._end,
    "dial": Orders._dial,
    "hang_up": Orders._hang_up,
    "transfer": Orders._transfer,
}
