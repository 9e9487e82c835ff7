"""Which session an INVITE belongs to, and who speaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.passing import MAX_HEADERS
from gateway.calls.routing import MAX_METADATA, Create, Existing, choose, mismatch, place, speaker
from gateway.config import Route
from gateway.sessions.schema import SessionCreate
from gateway.sip.events import Invited
from gateway.trunks import Trunk

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
    assert choice.body["routing"]["sip"]["headers"] == {}


def test_headers_reach_the_session_as_the_trunk_lets_them() -> None:
    headers = {f"x-{number}": "v" for number in range(30)} | {"x-session-speaker": "agent", "reason": "SIP"}
    choice = choose(invited("48", headers=headers), [REST])
    assert isinstance(choice, Create)
    assert len(choice.body["routing"]["sip"]["headers"]) == MAX_HEADERS
    assert {name[:3] for name in choice.body["routing"]["sip"]["headers"]} <= {f"x-{number}" for number in range(10)}
    narrow = Trunk(name="pbx", allow=("::1",), pass_headers=("X-7",))
    choice = choose(invited("48", headers=headers), [REST], narrow)
    assert isinstance(choice, Create)
    assert choice.body["routing"]["sip"]["headers"] == {"x-7": "v"}


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ({"user": "48"}, None),
        ({"user": "4"}, "user '48' is not '4'"),
        ({"from_uri": "sip:anna@.*"}, None),
        ({"from_uri": "sip:berta@.*"}, "from_uri 'sip:anna@pbx.example:5080' is not 'sip:berta@.*'"),
        ({"trunk": "pbx|other"}, None),
        ({"trunk": "pb"}, "trunk 'pbx' is not 'pb'"),
        ({"headers": {"X-Queue": "sales|service"}}, None),
        ({"headers": {"X-Queue": "sale"}}, "header X-Queue 'sales' is not 'sale'"),
        ({"headers": {"X-Other": ".*"}}, "there is no header X-Other"),
        ({"user": "4[0-9]", "from_uri": ".*", "trunk": "p.*", "headers": {"x-queue": "s.*"}}, None),
    ],
)
def test_every_condition_of_a_route_must_hold(conditions: dict[str, Any], why: str | None) -> None:
    route = Route.model_validate({"name": "r", "mode": "help_chat_voice"} | conditions)
    invite = invited("48", trunk="pbx", headers={"x-queue": "sales"})
    assert mismatch(invite, route) == why
    assert (choose(invite, [route]) is None) == (why is not None)


def test_the_trunk_says_who_speaks_when_nobody_else_does() -> None:
    trunk = Trunk(name="pbx", allow=("::1",), speaker="caller")
    assert speaker(invited(), [REST], trunk) == "caller"
    assert speaker(invited(headers={"x-session-speaker": "boss"}), [REST], trunk) == "boss"
    assert speaker(invited("4711"), [SALES], trunk) == "agent"
    assert speaker(invited("48"), [REST], trunk) == "caller"


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


def test_a_route_describes_its_agent_as_the_api_does() -> None:
    tools = [{"type": "end_call"}, {"name": "stock", "url": "https://example.com/stock", "timeout_seconds": 5}]
    agent = {"system_prompt": "Sell bicycles.", "greeting": "Welcome!", "tools": tools}
    shop = Route.model_validate({"name": "shop", "mode": "ai_agent", "ai_agent": agent})
    made = choose(invited("100"), [shop])
    assert isinstance(made, Create)
    asked = SessionCreate.model_validate_json(json.dumps(made.body))
    assert asked.ai_agent is not None
    assert (asked.ai_agent.greeting, [tool.called for tool in asked.ai_agent.tools or ()]) == (
        "Welcome!", ["end_call", "stock"],
    )  # fmt: skip
