"""Which session an INVITE belongs to, and who speaks on its leg (contract §4). Pure: an INVITE in, a choice out.

A user part that is a session id attaches a leg to that session. Any other goes through the configuration's
`routes`, in their order, and the first whose every condition holds creates a session (inbound-first). Owns these
rules; refuses to know how a session is looked up or created.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import Any, Final, NamedTuple

from gateway.calls.passing import passed
from gateway.config import Route
from gateway.sip.events import Invited
from gateway.trunks import IMPLICIT, Trunk

_SESSION_ID: Final = re.compile(r"sess_[A-Za-z0-9]{1,64}")
_SPEAKER: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SIP_URI: Final = re.compile(r"sips?:[!-:=?-~]{1,250}")
_PRINTABLE: Final = re.compile(r"[ -~]*")
_METADATA_PREFIX: Final = "x-session-metadata-"
#: Contract §1.1: at most 50 keys, values of at most 500 characters.
MAX_METADATA: Final = 50
MAX_VALUE: Final = 500


class Existing(NamedTuple):
    """Attach to this session."""

    session_id: str


class Create(NamedTuple):
    """Create a session with this body (contract §1.1), by this route."""

    route: str
    body: dict[str, Any]


def choose(invite: Invited, routes: Sequence[Route], trunk: Trunk = IMPLICIT) -> Existing | Create | None:
    """What to do with an INVITE; None: nobody knows the number (404). trunk: that admitted it."""
    if is_session(invite):
        return Existing(invite.user)
    route = _route(invite, routes)
    return None if route is None else Create(route.name, _body(invite, route, trunk))


def is_session(invite: Invited) -> bool:
    """Whether it names its session, so that no route is asked."""
    return _SESSION_ID.fullmatch(invite.user) is not None


def mismatch(invite: Invited, route: Route) -> str | None:
    """The first condition of a route that an INVITE does not fulfil, in words; None: it matches."""
    if not re.fullmatch(route.user, invite.user):
        return f"user {invite.user!r} is not {route.user!r}"
    if route.from_uri is not None and not re.fullmatch(route.from_uri, caller(invite)):
        return f"from_uri {caller(invite)!r} is not {route.from_uri!r}"
    if route.trunk is not None and not re.fullmatch(route.trunk, invite.trunk):
        return f"trunk {invite.trunk!r} is not {route.trunk!r}"
    for name, pattern in route.headers.items():
        value = invite.headers.get(name.lower())
        if value is None:
            return f"there is no header {name}"
        if not re.fullmatch(pattern, value):
            return f"header {name} {value!r} is not {pattern!r}"
    return None


def speaker(invite: Invited, routes: Sequence[Route], trunk: Trunk = IMPLICIT) -> str | None:
    """Who speaks on this leg, where the INVITE, its route or its trunk says so; None: by order of arrival."""
    asked = (invite.uri_parameters.get("speaker"), invite.headers.get("x-session-speaker"))
    for name in asked:
        if name is not None and _SPEAKER.fullmatch(name.strip().lower()):
            return name.strip().lower()
    route = None if is_session(invite) else _route(invite, routes)
    return (route and route.speaker) or trunk.speaker


def caller(invite: Invited) -> str:
    """The URI of its From, as far as it is one."""
    found = _SIP_URI.search(invite.from_uri)
    return found.group() if found else ""


def _route(invite: Invited, routes: Sequence[Route]) -> Route | None:
    return next((route for route in routes if mismatch(invite, route) is None), None)


def place(asked: str | None, taken: Container[str]) -> str:
    """The speaker's name in a session where others are taken.

    Not asked for: the first leg is the customer, the second the agent, further ones participants. A name
    that somebody bears already gets a number, for `target` must name one leg.
    """
    if asked is None:
        for name in ("customer", "agent"):
            if name not in taken:
                return name
        asked = "participant"
        number = 3
    elif asked not in taken:
        return asked
    else:
        number = 2
    while f"{asked}-{number}" in taken:
        number += 1
    return f"{asked}-{number}"


def _body(invite: Invited, route: Route, trunk: Trunk) -> dict[str, Any]:
    body: dict[str, Any] = {"mode": route.mode}
    if route.source_language:
        body["source_language"] = route.source_language
    if route.target_language:
        body["target_language"] = route.target_language
    through = passed(invite.headers, trunk)
    sip: dict[str, Any] = {"headers": {name: value for name, value in through.items() if name != "reason"}}
    if uri := caller(invite):
        sip["from_uri"] = uri
    body["routing"] = {"type": "sip", "direction": "inbound", "sip": sip}
    if route.ai_agent is not None:
        body["ai_agent"] = route.ai_agent.model_dump(mode="json", exclude_none=True)
    metadata = dict(route.metadata)
    for name, value in invite.headers.items():
        key = name.removeprefix(_METADATA_PREFIX)
        if key != name and key and _PRINTABLE.fullmatch(value) and len(metadata) < MAX_METADATA:
            metadata[key] = value[:MAX_VALUE]
    if metadata:
        body["metadata"] = metadata
    return body
