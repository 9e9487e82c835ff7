"""Whether a new call would be taken, and every reason why not: for /readyz, for OPTIONS, and for the call itself. Pure.

Owns the order of the reasons and their words. Refuses to know how each of them is found out.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.errors import Fault, GatewayError


class Readiness(NamedTuple):
    """overload: the reason, "" for none. sip, rtp: the process is there and works; sessions: the service answers."""

    draining: bool
    overload: str
    sip: bool
    rtp: bool
    sessions: bool

    @property
    def options(self) -> bool:
        """What OPTIONS is answered: whether a PBX should send calls here. The session service may be back any time."""
        return self.rtp and not self.draining and not self.overload

    def reasons(self) -> list[str]:
        """Why no call would be taken now, in words; empty: ready."""
        return [
            *(["draining"] if self.draining else []),
            *([f"overloaded: {self.overload}"] if self.overload else []),
            *([] if self.sip else ["the sip process is not ready"]),
            *([] if self.rtp else ["the rtp process is not ready"]),
            *([] if self.sessions else ["the session service does not answer"]),
        ]

    def refusal(self, calls: int, capacity: int, unknown: bool) -> GatewayError | None:
        """Why a call is not even tried. unknown: it names no session and no route."""
        if self.draining:
            return GatewayError(Fault.DRAINING, "the gateway is stopping")
        if self.overload:
            return GatewayError(Fault.OVERLOADED, "the gateway is overloaded")
        if calls >= capacity:
            return GatewayError(Fault.CAPACITY, "no free leg")
        if not self.sip:  # of a call of ours; theirs come by it
            return GatewayError(Fault.CAPACITY, "the sip process is away")
        if not self.rtp:
            return GatewayError(Fault.CAPACITY, "the rtp process is away")
        return GatewayError(Fault.SESSION_NOT_FOUND, "no such session or route") if unknown else None
