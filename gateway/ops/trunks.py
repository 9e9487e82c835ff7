"""What an operator is shown of a trunk: where it leads and how our registration there stands. Pure, no secrets."""

from __future__ import annotations

from typing import Any

from gateway.sip.events import RegistrationChanged
from gateway.trunks import Trunk


def describe(trunk: Trunk, registration: RegistrationChanged | None) -> dict[str, Any]:
    """For `/trunks`. registration: None when the trunk does not register."""
    out = trunk.outbound
    return {
        "name": trunk.name,
        "allow": list(trunk.allow),
        "users": [credential.username for credential in trunk.credentials],
        "outbound": None if out is None else {"address": out.authority, "transport": out.transport},
        "registration": None
        if registration is None
        else {
            "state": registration.state,
            "code": registration.code,
            "reason": registration.reason,
            "expires_s": registration.expires_s,
        },
    }
