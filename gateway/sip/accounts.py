"""As whom we are to whom: the stack's accounts, made from the trunks of the configuration. Pure.

Owns which trunk needs an account of its own and the URIs that our side of a trunk has. Refuses to know pjsua2.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from gateway.sip import events, headers
from gateway.sip.stack import Account, Placement, Timer
from gateway.trunks import Outbound, SessionTimer, Trunk

#: Our name where nothing says another.
USER: Final = "glotgate"


def accounts(trunks: Sequence[Trunk], host: str) -> tuple[Account, ...]:
    """The nameless account first, for everybody without one. host: ours, in its URI."""
    nobody = Account("", f"sip:{USER}@{_bracketed(host)}")
    own = [trunk for trunk in trunks if trunk.outbound is not None or trunk.session_timer != SessionTimer()]
    return (nobody, *(account(trunk, nobody.uri) for trunk in own))


def account(trunk: Trunk, uri: str) -> Account:
    """The account of a trunk. uri: ours, for a trunk that takes calls only."""
    timer = Timer(trunk.session_timer.mode, trunk.session_timer.expires_s, trunk.session_timer.min_se_s)
    out, registration = trunk.outbound, trunk.registration
    if out is None:
        return Account(trunk.name, uri, timer=timer)
    return Account(
        trunk.name,
        _from(out),
        username=out.username or "",
        password="" if out.password is None else out.password.get_secret_value(),
        registrar="" if registration is None else _registrar(trunk),
        contact_user="" if registration is None else registration.contact_user or "",
        transport=out.transport,
        expires_s=300 if registration is None else registration.expires_s,
        timer=timer,
    )


def from_uri(out: Outbound, user: str | None) -> str:
    """Our address on a call: the account's, or with another user; a whole URI stays as it is."""
    if user is None:
        return _from(out)
    if user.lower().startswith(("sip:", "sips:")):
        return user
    return f"sip:{user}@{_bracketed(out.from_domain or out.host)}"


def request_uri(out: Outbound, user: str) -> str:
    """Whom an INVITE is for. user: a number, or the user part of a URI."""
    return f"sip:{user}@{out.authority}{_transport(out)}"


def hosts(trunks: Sequence[Trunk]) -> set[str]:
    """The names of hosts that our calls and registrations go to; addresses are none."""
    found: set[str] = set()
    for trunk in trunks:
        if trunk.outbound is not None:
            found.add(trunk.outbound.host)
        if trunk.registration is not None and trunk.registration.registrar is not None:
            found.add(trunk.registration.registrar)
    return {host for host in found if not _is_address(host)}


def placement(command: events.Dial) -> Placement:
    """What the stack is to send for an order of the controller's, made safe."""
    return Placement(
        uri=headers.one_line(command.uri, headers.MAX_URI),
        headers=dict(headers.outgoing(command.headers)),
        account=command.trunk,
        from_uri=headers.one_line(command.from_uri, headers.MAX_URI),
        sip_call_id=command.sip_call_id,
    )


def _from(out: Outbound) -> str:
    user = out.from_user or out.username or USER
    return f"sip:{user}@{_bracketed(out.from_domain or out.host)}"


def _registrar(trunk: Trunk) -> str:
    out, registration = trunk.outbound, trunk.registration
    assert out is not None
    assert registration is not None
    if registration.registrar is None and registration.port is None:
        return f"sip:{out.authority}{_transport(out)}"
    host = _bracketed(registration.registrar or out.host)
    port = "" if registration.port is None else f":{registration.port}"
    return f"sip:{host}{port}{_transport(out)}"


def _transport(out: Outbound) -> str:
    """UDP is what a SIP URI means without a word (RFC 3261 §19.1.2)."""
    return "" if out.transport == "udp" else f";transport={out.transport}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
