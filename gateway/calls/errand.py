"""What a call is to be: of which INVITE or order it comes, to which session it belongs, and on whose terms.

Owns the reading of an INVITE for it, by the rules of `routing.py`. Refuses to know how a call is carried out.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.calls import actions as do
from gateway.calls import record, routing
from gateway.calls.passing import passed
from gateway.config import Route
from gateway.sip import events as sip
from gateway.trunks import IMPLICIT, Trunk


class Errand(NamedTuple):
    """What an INVITE asks for. choice: of the session; None: there is none, and the call is refused at once.

    speaker: what the leg wants to be called; None: by order of arrival. dial: where to, of a call of ours; its SDP
    is added when there is one. progress: who ordered it. trunk: on whose terms; headers: those that it passes on.
    """

    dialog: int
    identity: record.Identity
    choice: routing.Existing | routing.Create | None
    speaker: str | None
    dial: sip.Dial | None = None
    progress: Callable[[do.Progress], None] = lambda progress: None
    trunk: Trunk = IMPLICIT
    headers: dict[str, str] | None = None


def errand_of(event: sip.Invited, routes: Sequence[Route], trunk: Trunk = IMPLICIT) -> Errand:
    """Read an INVITE by the rules of `routing.py`."""
    choice = routing.choose(event, routes, trunk)
    identity = record.Identity(
        call_id=new_call_id(),
        sip_call_id=event.sip_call_id,
        direction="inbound",
        from_uri=event.from_uri,
        to_uri=event.to_uri,
        source=event.source,
        transport=event.transport,
        route=choice.route if isinstance(choice, routing.Create) else "",
    )
    speaker = routing.speaker(event, routes, trunk)
    return Errand(event.dialog, identity, choice, speaker, trunk=trunk, headers=passed(event.headers, trunk))


def new_call_id() -> str:
    return f"call_{secrets.token_hex(13)}"
