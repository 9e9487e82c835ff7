from __future__ import annotations

from gateway.ops.trunks import describe
from gateway.sip.events import RegistrationChanged
from gateway.trunks import Trunk


def test_a_trunk_is_shown_without_its_secrets() -> None:
    trunk = Trunk.model_validate(
        {
            "name": "office",
            "allow": ["10.0.0.0/8"],
            "credentials": [{"username": "pbx", "password": "hush"}],
            "outbound": {"host": "10.0.0.1", "port": 5070, "username": "gw", "password": "hush"},
            "registration": {},
        }
    )
    shown = describe(trunk, RegistrationChanged("office", "failed", 403, "Forbidden"))
    assert shown == {
        "name": "office",
        "allow": ["10.0.0.0/8"],
        "users": ["pbx"],
        "outbound": {"address": "10.0.0.1:5070", "transport": "udp"},
        "registration": {"state": "failed", "code": 403, "reason": "Forbidden", "expires_s": 0},
    }
    assert "hush" not in str(shown)


def test_a_trunk_that_only_takes_calls() -> None:
    shown = describe(Trunk(name="in", allow=("10.0.0.0/8",)), None)
    assert (shown["outbound"], shown["registration"]) == (None, None)
