"""Which session an INVITE belongs to, and who speaks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.routing import MAX_HEADERS, MAX_METADATA, Create, Existing, choose, place, speaker
from gateway.config import Route
from gateway.sessions.schema import SessionCreate
from gateway.sip.events import Invited

SALES = Route(name="sales", user="47[0-9]{2}", mode="bidirectional_translation", source_language="en", speaker="agent")
REST = Route(name="rest", user="[0-9]+", mode="help_chat_voice", metadata={"queue": "rest"})


def invited(user: str = "sess_1", **fields: Any) -> Invited:
    settings: dict[str, Any] = {
        "dialog": 1,
        "sip_call_id": "x",
        "transport": "udp",
        "source": "192.0.2.9:5060",
        "request_uri": f"sip:{user}@gw",
        "user": user,
        "uri_parameters": {},
        "from_uri": '"Anna" <sip:anna@pbx.example:5080>;tag=77',
        "to_uri": "<sip:x@gw>",
        "headers": {},
        "sdp": None,
    }
    return Invited(**(settings | fields))


@pytest.mark.parametrize("user", ["sess_1", "sess_01JABCDEFGHJKMNPQRSTVWXYZ0"])
def test_a_session_id_is_itself(user: str) -> None:
    assert choose(invited(user), [REST]) == Existing(user)


@pytest.mark.parametrize("user", ["sess_", "sess_a/../b", "sess_a b", "SESS_1", "", "sess_" + "a" * 65, "xsess_1"])
def test_what_is_no_session_id_needs_a_route(user: str) -> None:
    assert choose(invited(user), [SALES]) is None


def test_the_first_route_that_matches_creates() -> None:
    first = choose(invited("4711"), [SALES, REST])
    assert isinstance(first, Create)
    assert first.route == "sales"
    assert first.body["source_language"] == "en"
    assert first.body["routing"]["sip"]["from_uri"] == "sip:anna@pbx.example:5080"
    second = choose(invited("48111"), [SALES, REST])
    assert isinstance(second, Create)
    assert second.route == "rest"
    assert second.body["metadata"] == {"queue": "rest"}


def test_metadata_headers_are_merged_and_bounded() -> None:
    headers = {f"x-session-metadata-k{i}": "v" * 900 for i in range(80)} | {"x-session-metadata-": "none", "via": "no"}
    choice = choose(invited("48", headers=headers), [REST])
    assert isinstance(choice, Create)
    metadata = choice.body["metadata"]
    assert len(metadata) == MAX_METADATA
    assert metadata["queue"] == "rest"
    assert {len(value) for key, value in metadata.items() if key != "queue"} == {500}
    assert len(choice.body["routing"]["sip"]["headers"]) == MAX_HEADERS


names = st.from_regex(r"[xX]?-?[a-z0-9_-]{0,40}", fullmatch=True) | st.text(max_size=20)


@given(st.dictionaries(names.map(str.lower), st.text(max_size=600), max_size=64), st.text(max_size=300))
def test_the_body_is_one_that_the_service_takes(headers: dict[str, str], caller: str) -> None:
    choice = choose(invited("48", headers=headers, from_uri=caller), [REST])
    assert isinstance(choice, Create)
    SessionCreate.model_validate(choice.body)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"uri_parameters": {"speaker": "agent"}}, "agent"),
        ({"headers": {"x-session-speaker": "Agent"}}, "agent"),
        ({"uri_parameters": {"speaker": "a"}, "headers": {"x-session-speaker": "b"}}, "a"),
        ({"uri_parameters": {"speaker": 'x"}'}, "headers": {"x-session-speaker": "b"}}, "b"),
        ({"uri_parameters": {"speaker": ""}}, None),
        ({"uri_parameters": {"speaker": "a" * 33}}, None),
        ({"user": "4711"}, "agent"),
        ({"user": "4711", "uri_parameters": {"speaker": "customer"}}, "customer"),
        ({"user": "48"}, None),
    ],
)
def test_who_speaks(fields: dict[str, Any], expected: str | None) -> None:
    assert speaker(invited(**fields), [SALES, REST]) == expected


def test_names_by_order_of_arrival() -> None:
    taken: list[str] = []
    for _ in range(5):
        taken.append(place(None, taken))
    assert taken == ["customer", "agent", "participant-3", "participant-4", "participant-5"]


def test_an_asked_name_is_given_once() -> None:
    assert place("agent", []) == "agent"
    assert place("agent", ["agent"]) == "agent-2"
    assert place("agent", ["agent", "agent-2"]) == "agent-3"
    assert place(None, ["customer"]) == "agent"
    assert place(None, ["agent"]) == "customer"
