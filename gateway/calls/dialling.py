"""Orders to dial: what is wanted, through which trunk it goes, and how far it came.

Owns the reading of an order (contract §1.2: `to`, `speaker`, `from`, `timeout_seconds`) and the wait for the first
sign of the other end. Refuses to know HTTP and how a call is placed. Only hosts of trunks are dialled: an order can
not make the gateway call strangers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta, Struct

from gateway.calls import actions as do
from gateway.calls.intake import Order
from gateway.calls.passing import passed
from gateway.errors import Fault, GatewayError, PeerFault
from gateway.sip.accounts import from_uri, request_uri
from gateway.sip.names import STALE_S
from gateway.trunks import Outbound, Trunk

#: Whoever ordered the call waits so long to hear that it rings, or that it will not; then it is still under way.
FIRST_SIGN_S: Final = 20.0
#: A host name that is not known by then is not known.
LOOK_UP_S: Final = 3.0
_USER: Final = re.compile(r"[A-Za-z0-9_.!~*'()&=+$,#-]{1,64}")
_URI: Final = re.compile(
    r"sips?:(?P<user>[^@:;?]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^:;?\[\]]+)(:(?P<port>\d{1,5}))?(;.*)?"
)
_SESSION: Final = r"^sess_[A-Za-z0-9]{1,64}$"
_SPEAKER: Final = r"^[a-z][a-z0-9_-]{0,31}$"


class Wanted(Struct, frozen=True, rename={"from_": "from"}):
    """An order as it comes. trunk: by name; None: the one that `to` leads to, else the first that goes out.

    headers: for the INVITE, as far as the trunk passes them on.
    """

    session_id: Annotated[str, Meta(pattern=_SESSION)]
    to: Annotated[str, Meta(min_length=1, max_length=256)]
    speaker: Annotated[str, Meta(pattern=_SPEAKER)] | None = None
    from_: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    timeout_seconds: Annotated[int, Meta(ge=1, le=600)] | None = None
    trunk: str | None = None
    headers: dict[str, str] = {}


class Placed(Protocol):
    """A call that was placed."""

    call_id: str
    identity: Any
    call: Any


def read(body: bytes) -> Wanted:
    """Raises PeerFault."""
    try:
        return msgspec.json.decode(body, type=Wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerFault(Fault.INVALID_REQUEST, f"no order to dial: {error}") from None


def order(wanted: Wanted, trunks: Sequence[Trunk]) -> Order:
    """What is to be placed. Raises PeerFault. `source` is the trunk's host, still to be looked up."""
    to = wanted.to.removeprefix("tel:")
    uri = _URI.fullmatch(to)
    user = uri["user"] if uri else to
    if not _USER.fullmatch(user):
        raise PeerFault(Fault.INVALID_FIELD, "to must be a number, a user or sip:user@host", param="to")
    trunk, out = _way_out(wanted, uri, trunks)
    return Order(
        session_id=wanted.session_id,
        trunk=trunk,
        uri=request_uri(out, user.replace("#", "%23")),
        from_uri=_caller(wanted.from_, out),
        source=out.host,
        speaker=wanted.speaker or trunk.speaker,
        ring_s=wanted.timeout_seconds or out.ring_timeout_s,
        transport=out.transport,
        headers=passed(wanted.headers, trunk),
    )


def _way_out(wanted: Wanted, uri: re.Match[str] | None, trunks: Sequence[Trunk]) -> tuple[Trunk, Outbound]:
    ways = [(trunk, trunk.outbound) for trunk in trunks if trunk.outbound is not None]
    if wanted.trunk is not None:
        ways = [way for way in ways if way[0].name == wanted.trunk]
        if not ways:
            raise PeerFault(Fault.INVALID_FIELD, f"no trunk {wanted.trunk[:40]!r} that goes out", param="trunk")
    if not ways:
        raise PeerFault(Fault.ROUTING_UNRESOLVED, "no trunk goes out: the configuration's trunks have no outbound")
    if uri is None:
        return ways[0]
    host, port = uri["host"].strip("[]").lower(), uri["port"]
    for trunk, out in ways:
        same_port = port is None or int(port) == (out.port or (5061 if out.transport == "tls" else 5060))
        if (host == out.host.lower() and same_port) or (host == trunk.name and port is None):
            return trunk, out
    raise PeerFault(Fault.INVALID_FIELD, f"no trunk leads to {uri['host'][:80]}", param="to")


def _caller(wanted: str | None, out: Outbound) -> str:
    if wanted is not None and not _USER.fullmatch(wanted) and not re.fullmatch(r"sips?:[!-:=?-~]{1,250}", wanted):
        raise PeerFault(Fault.INVALID_FIELD, "from must be a number, a user or a sip: URI", param="from")
    return from_uri(out, wanted)


class Dialler:
    """Places calls for whoever orders one. place: begins the call, and tells its progress."""

    def __init__(
        self, trunks: Sequence[Trunk], place: Callable[[Order, Callable[[do.Progress], None]], Placed]
    ) -> None:
        self.trunks = trunks  #: others from the next order on, after a reload
        self._place = place
        self._known: dict[str, tuple[str, float]] = {}  # by a trunk's host: its last address, and as of when

    async def dial(self, wanted: Wanted) -> dict[str, Any]:
        """The call object once it rings or was answered. Raises GatewayError when it came to nothing before.

        What becomes of it later is told on the session's stream.
        """
        made = order(wanted, self.trunks)
        made = made._replace(source=await self._address(made.source))
        first: asyncio.Future[do.Progress] = asyncio.get_running_loop().create_future()
        placed = self._place(made, lambda progress: None if first.done() else first.set_result(progress))
        if await _within(FIRST_SIGN_S, first):
            if (error := first.result().error) is not None:
                raise error
            status = "active" if first.result().code == 200 else "ringing"
        else:  # a network that rings late; the call has its own time
            status = "dialing"
        return {
            "id": placed.call_id,
            "object": "call",
            "session_id": made.session_id,
            "status": status,
            "direction": "outbound",
            "sip_call_id": placed.identity.sip_call_id,
            "speaker": placed.call.speaker,
            "to": wanted.to,
        }

    async def _address(self, host: str) -> str:
        """Where the trunk is, for the choice of our own address towards it. Raises GatewayError.

        While its name can not be looked up its last known address serves, as it does for the INVITE itself.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOK_UP_S):
                found = await loop.getaddrinfo(host, None)  # an address is its own answer
        except (OSError, TimeoutError):
            address, since = self._known.get(host, ("", 0.0))
            if not address or loop.time() - since > STALE_S:
                raise GatewayError(Fault.DIAL_FAILED, f"503 no address is known of {host}") from None
            return address
        address = str(found[0][4][0])
        self._known[host] = address, loop.time()
        return address


async def _within(seconds: float, future: asyncio.Future[do.Progress]) -> bool:
    done, _ = await asyncio.wait([future], timeout=seconds)
    return bool(done)
