from __future__ import annotations

from typing import Any

import pytest

from gateway.calls.rehearsal import Told, invite, rehearse
from gateway.config import Config

TRUNKS = [
    {"name": "pbx", "allow": ["10.0.0.1"], "codecs": ["PCMA"]},
    {"name": "a", "allow": ["10.0.1.0/24"], "credentials": [{"username": "a", "password": "x"}]},
    {"name": "b", "allow": ["10.0.1.0/24"], "credentials": [{"username": "b", "password": "x"}]},
]
ROUTES = [
    {"name": "sales", "user": "47.*", "headers": {"X-Queue": "sales"}, "mode": "help_chat_voice"},
    {
        "name": "rest",
        "user": "[0-9]+",
        "trunk": "pbx|default",
        "mode": "bidirectional_translation",
        "target_language": "es",
        "speaker": "agent",
        "metadata": {"queue": "rest"},
    },
]


def told(to: str, config: dict[str, Any] | None = None, **given: Any) -> Told:
    asked = {"from_uri": "anna", "source": "10.0.0.1", "transport": "udp", "trunk": "", "headers": {}} | given
    return rehearse(Config.model_validate({"trunks": TRUNKS, "routes": ROUTES} | (config or {})), invite(to, **asked))


def test_the_first_route_whose_conditions_hold() -> None:
    taken, lines = told("4711", headers={"X-Queue": "sales"})
    assert taken
    assert lines == [
        "trunk 'pbx' takes udp from 10.0.0.1",
        "route 1 'sales' matches",
        "it would create a session: mode help_chat_voice; detected to detected; headers x-queue: sales",
        "the leg: speaker by order of arrival, codecs PCMA, srtp disabled",
    ]


def test_why_a_route_does_not_match() -> None:
    taken, lines = told("4711")
    assert taken
    assert lines[1:4] == [
        "route 1 'sales' does not match: there is no header X-Queue",
        "route 2 'rest' matches",
        "it would create a session: mode bidirectional_translation; detected to es; metadata queue=rest",
    ]
    assert lines[4].startswith("the leg: speaker agent")


@pytest.mark.parametrize(
    ("to", "given", "last"),
    [
        ("bob", {}, "no route takes 'bob': the caller gets 404"),
        ("4711", {"source": "192.0.2.1"}, "no trunk takes udp from 192.0.2.1: the caller gets 403"),
        ("4711", {"trunk": "none"}, "there is no trunk 'none'"),
        ("bob", {"config": {"routes": []}}, "no route takes 'bob': the caller gets 404; there are none"),
        (
            "1",
            {"source": "192.0.2.1", "config": {"sip": {"unknown_source": "drop"}}},
            "no trunk takes udp from 192.0.2.1: the caller gets no answer",
        ),
    ],
)
def test_why_there_would_be_no_call(to: str, given: dict[str, Any], last: str) -> None:
    taken, lines = told(to, **given)
    assert (taken, lines[-1]) == (False, last)


def test_a_session_needs_no_route() -> None:
    taken, lines = told("sip:sess_1@gw;speaker=agent", trunk="pbx")
    assert taken
    assert lines == [
        "trunk 'pbx', as said",
        "sess_1 is a session's id: the call joins it, no route is asked",
        "the leg: speaker agent, codecs PCMA, srtp disabled",
    ]


def test_who_would_be_asked_for_a_password() -> None:
    _, lines = told("1", source="10.0.1.9")
    assert lines[:2] == [
        "trunk 'a' takes udp from 10.0.1.9; its password is asked for",
        "  or 'b', by the user who authenticates",
    ]
    _, lines = told("1", {"trunks": []}, source="127.0.0.1")
    assert lines[0] == "trunk 'default' takes udp from 127.0.0.1, which stands in while none is configured"


def test_nonsense_is_told() -> None:
    with pytest.raises(ValueError, match="host"):
        told("sip:bob@")
