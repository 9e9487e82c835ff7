"""Which session an INVITE belongs to, and who speaks on its leg (contract §4). Pure: an INVITE in, a choice out.

A user part that is a session id attaches a leg to that session. Any other goes through the configuration's
`routes`, in their order, and the first that matches creates a session (inbound-first). Owns these rules;
refuses to know how a session is looked up or created.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import Any, Final, NamedTuple

from gateway.config import Route
from gateway.sip.events import Invited

_SESSION_ID: Final = re.compile(r"sess_[A-Za-z0-9]{1,64}")
_SPEAKER: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SIP_URI: Final = re.compile(r"sips?:[!-:=?-~]{1,250}")
_HEADER: Final = re.compile(r"x-[a-z0-9-]{1,60}")
_PRINTABLE: Final = re.compile(r"[ -~]*")
_METADATA_PREFIX: Final = "x-session-metadata-"
#: Contract §1.1: at most 50 keys, values of at most 500 characters.
MAX_METADATA: Final = 50
MAX_VALUE: Final = 500
MAX_HEADERS: Final = 20


class Existing(NamedTuple):
    """Attach to this session."""

    session_id: str


class Create(NamedTuple):
    """Create a session with this body (contract §1.1), by this route."""

    route: str
    body: dict[str, Any]


def choose(invite: Invited, routes: Sequence[Route]) -> Existing | Create | None:
    """What to do with an INVITE; None: nobody knows the number (404)."""
    if _SESSION_ID.fullmatch(invite.user):
        return Existing(invite.user)
    for route in routes:
        if re.fullmatch(route.user, invite.user):
            return Create(route.name, _body(invite, route))
    return None


def speaker(invite: Invited, routes: Sequence[Route]) -> str | None:
    """Who speaks on this leg, where the INVITE or its route says so; None: by order of arrival."""
    asked = (invite.uri_parameters.get("speaker"), invite.headers.get("x-session-speaker"))
    for name in asked:
        if name is not None and _SPEAKER.fullmatch(name.strip().lower()):
            return name.strip().lower()
    if not _SESSION_ID.fullmatch(invite.user):
        return next((route.speaker for route in routes if re.fullmatch(route.user, invite.user)), None)
    return None


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


def _body(invite: Invited, route: Route) -> dict[str, Any]:
    body: dict[str, Any] = {"mode": route.mode}
    if route.source_language:
        body["source_language"] = route.source_language
    if route.target_language:
        body["target_language"] = route.target_language
    extra = {
        name: value[:MAX_VALUE]
        for name, value in invite.headers.items()
        if _HEADER.fullmatch(name) and _PRINTABLE.fullmatch(value)
    }
    sip: dict[str, Any] = {"headers": dict(list(extra.items())[:MAX_HEADERS])}
    if caller := _SIP_URI.search(invite.from_uri):
        sip["from_uri"] = caller.group()
    body["routing"] = {"type": "sip", "direction": "inbound", "sip": sip}
    metadata = dict(route.metadata)
    for name, value in extra.items():
        key = name.removeprefix(_METADATA_PREFIX)
        if key != name and key and len(metadata) < MAX_METADATA:
            metadata[key] = value
    if metadata:
        body["metadata"] = metadata
    return body
