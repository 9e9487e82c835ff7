"""What an INVITE asks for."""

from __future__ import annotations

from gateway.calls.errand import errand_of
from gateway.calls.routing import Create, Existing
from gateway.config import Route
from tests.gateway.calls.test_routing import invited


def test_an_invite_is_an_errand() -> None:
    errand = errand_of(invited(uri_parameters={"speaker": "agent"}), [])
    assert (errand.choice, errand.speaker, errand.dialog) == (Existing("sess_1"), "agent", 1)
    assert errand.identity.call_id.startswith("call_")
    assert errand.identity.call_id != errand_of(invited(), []).identity.call_id
    routed = errand_of(invited("47"), [Route(name="r", user="47", mode="help_chat_voice")])
    assert isinstance(routed.choice, Create)
    assert routed.identity.route == "r"
    assert errand_of(invited("48"), []).choice is None
