"""Orders from node to node: how one asks another over its REST address, and how the other knows that it is one.

An order is a signed POST to `/internal/orders`. The key is derived from the secret that all nodes read in the database,
the signature covers body, addressee and time: whoever sees one can not make another, nor use it a minute later.
Owns the wire and its bounds. What an order does is `orders.py`'s.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final

import httpx
import msgspec
import structlog

from gateway.errors import Fault, GatewayError, PeerFault, heard
from gateway.sessions import nodes
from gateway.sessions.database import Database
from gateway.sessions.orders import NodeAway, Order
from gateway.sessions.replies import Reply
from gateway.sessions.webhooks import signature

_log = structlog.get_logger(__name__)

PATH: Final = "/internal/orders"
HEADER: Final = "X-Glotgate-Signature"
#: Seconds that two nodes' clocks may differ by, transport included.
FRESH_S: Final = 60
CONNECT_S: Final = 2.0
#: An order to dial waits for the gateway, and that for the other end to ring (`telephony.py`: 45 s).
ANSWER_S: Final = 50.0
#: Requests under way at once; one more is refused.
CONCURRENCY: Final = 64


class Letter(msgspec.Struct, frozen=True):
    """An order and the node that it is for."""

    node: str
    order: Order


class Passed(msgspec.Struct, frozen=True):
    """What came of an order: a reply, or the fault as `GatewayError.told` says it."""

    status: int = 0
    body: str = ""
    headers: dict[str, str] = {}
    fault: dict[str, Any] | None = None


_letter: Final = msgspec.json.Decoder(Letter)
_passed: Final = msgspec.json.Decoder(Passed)
encode: Final = msgspec.json.Encoder().encode


def shared_key(token_secret: bytes) -> str:
    """What all nodes of an installation sign with, for none of them is told it."""
    return hmac.digest(token_secret, b"orders between nodes", "sha256").hex()


class Neighbours:
    """The other nodes. token_secret: what all of them read in the database; clock: Unix seconds."""

    def __init__(self, database: Database, node: str, token_secret: bytes, clock: Callable[[], float]) -> None:
        self._database = database
        self._node = node
        self._key = shared_key(token_secret)
        self._clock = clock
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S, pool=CONNECT_S),
            limits=httpx.Limits(max_connections=CONCURRENCY),
            trust_env=False,
        )

    async def send(self, node: str, order: Order) -> Reply:
        """Have a node carry out an order. Raises GatewayError."""
        known = await self._database.read(nodes.find, node)
        held = f"session {order.session_id} is held by node {node}"
        if known is None or not known.rest_base:
            raise NodeAway(f"{held}, which is gone; another one takes it over within 30 s", retry_after_s=10)
        body = encode(Letter(node, order))
        headers = {HEADER: signature(self._key, int(self._clock()), body), "Content-Type": "application/json"}
        try:
            response = await self._client.post(known.rest_base + PATH, content=body, headers=headers)
            passed = _passed.decode(response.content) if response.is_success else None
        except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("node_away", node=node, url=known.rest_base, error=type(error).__name__)
            raise NodeAway(f"{held}, which does not answer") from None
        if passed is None:
            _log.warning("node_refuses", node=node, url=known.rest_base, status=response.status_code)
            raise NodeAway(f"{held}, which does not take orders from here")
        if passed.fault is not None:
            raise heard(passed.fault)
        return Reply(passed.status, passed.body.encode(), passed.headers)

    def read(self, shown: str, body: bytes) -> Order:
        """An order that came. shown: the header. Raises PeerFault when it is not a node's, or not for this one."""
        stamp = shown.removeprefix("t=").partition(",")[0]
        told_at = int(stamp) if stamp.isascii() and stamp.isdecimal() and len(stamp) < 12 else 0
        good = hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), signature(self._key, told_at, body).encode())
        if not good or abs(self._clock() - told_at) > FRESH_S:
            raise PeerFault(Fault.INVALID_API_KEY, "only another node of this service may ask here")
        try:
            letter = _letter.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a node of another version
            raise PeerFault(Fault.INVALID_REQUEST, f"the order is not understood: {error}") from None
        if letter.node != self._node:
            raise PeerFault(Fault.INVALID_REQUEST, f"an order for node {letter.node}, and this is {self._node}")
        return letter.order

    async def close(self) -> None:
        await self._client.aclose()


def replied(reply: Reply) -> bytes:
    """The body that tells the asking node of a reply."""
    return encode(Passed(reply.status, reply.body.decode(), reply.headers))


def refused(error: GatewayError) -> bytes:
    """The body that tells it of a refusal."""
    return encode(Passed(fault=error.told()))
