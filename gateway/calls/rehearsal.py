"""What would become of an INVITE: which trunk would take it, which route, and why no other. Nothing is sent.

Pure: a configuration and an INVITE in, lines for people out. The rules are `sip/admission.py`'s and `routing.py`'s;
passwords and limits are not tried.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import structs

from gateway.calls import routing
from gateway.config import Config
from gateway.sip.admission import TrunkTable
from gateway.sip.events import Invited
from gateway.sip.headers import parse_uri, without_parameters
from gateway.trunks import Trunk, named


class Told(NamedTuple):
    """taken: there would be a call. lines: how that was found."""

    taken: bool
    lines: list[str]


def invite(to: str, *, from_uri: str, source: str, transport: str, trunk: str, headers: dict[str, str]) -> Invited:
    """An INVITE as the sip process would tell it. to: a user part or a SIP URI. Raises ValueError."""
    uri = parse_uri(to if to.lower().startswith(("sip:", "sips:")) else f"sip:{to}@gateway")
    caller = from_uri if from_uri.lower().startswith(("sip:", "sips:", "<")) else f"sip:{from_uri}@{source}"
    parse_uri(caller)
    return Invited(
        dialog=0,
        sip_call_id="",
        transport=transport,
        source=f"{source}:5060",
        request_uri=to,
        user=uri.user,
        uri_parameters=uri.parameters,
        from_uri=without_parameters(caller),
        to_uri=to,
        headers={name.lower(): value for name, value in headers.items()},
        sdp=None,
        trunk=trunk,
    )


def rehearse(config: Config, event: Invited) -> Told:
    """event.trunk: taken for granted when it is named, else found by the source."""
    lines: list[str] = []
    trunk = _trunk(config, event, lines)
    if trunk is None:
        return Told(False, lines)
    event = structs.replace(event, trunk=trunk.name)
    if routing.is_session(event):
        lines.append(f"{event.user} is a session's id: the call joins it, no route is asked")
        return Told(True, [*lines, *_leg(config, event, trunk)])
    for number, route in enumerate(config.routes, 1):
        if why := routing.mismatch(event, route):
            lines.append(f"route {number} {route.name!r} does not match: {why}")
        else:
            lines.append(f"route {number} {route.name!r} matches")
            break
    choice = routing.choose(event, config.routes, trunk)
    if not isinstance(choice, routing.Create):
        lines.append(
            f"no route takes {event.user!r}: the caller gets 404" + ("" if config.routes else "; there are none")
        )
        return Told(False, lines)
    lines += [f"it would create a session: {_words(choice.body)}", *_leg(config, event, trunk)]
    return Told(True, lines)


def _trunk(config: Config, event: Invited, lines: list[str]) -> Trunk | None:
    if event.trunk:
        trunk = named(config.trunks, event.trunk)
        lines.append(f"trunk {event.trunk!r}, as said" if trunk else f"there is no trunk {event.trunk!r}")
        return trunk
    source = event.source.rpartition(":")[0]
    found, _ = TrunkTable(config.trunks).lookup(source, event.transport)
    if not found:
        answer = "no answer" if config.sip.unknown_source == "drop" else "403"
        lines.append(f"no trunk takes {event.transport} from {source}: the caller gets {answer}")
        return None
    asked = "; its password is asked for" if all(one.credentials for one in found) else ""
    implicit = "" if config.trunks else ", which stands in while none is configured"
    lines.append(f"trunk {found[0].name!r} takes {event.transport} from {source}{implicit}{asked}")
    if len(found) > 1:
        lines.append(f"  or {', '.join(repr(one.name) for one in found[1:])}, by the user who authenticates")
    return found[0]


def _leg(config: Config, event: Invited, trunk: Trunk) -> list[str]:
    speaker = routing.speaker(event, config.routes, trunk) or "by order of arrival"
    codecs, srtp = trunk.codecs or config.sip.codecs, trunk.srtp or config.sip.srtp
    return [f"the leg: speaker {speaker}, codecs {', '.join(codecs)}, srtp {srtp}"]


def _words(body: dict[str, Any]) -> str:
    languages = f"{body.get('source_language', 'detected')} to {body.get('target_language', 'detected')}"
    metadata = ", ".join(f"{name}={value}" for name, value in body.get("metadata", {}).items())
    headers = ", ".join(f"{name}: {value}" for name, value in body["routing"]["sip"]["headers"].items())
    more = [f"metadata {metadata}" if metadata else "", f"headers {headers}" if headers else ""]
    return "; ".join([f"mode {body['mode']}", languages, *filter(None, more)])
