"""Bad input, route by route as the OpenAPI document lists them: the right 4xx, its `param`, and nothing stored.

A route or a field that is new makes these tests fail until it stands in a table here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from sqlalchemy import Connection, func, select

from gateway.sessions.models import deliveries, idempotency, organizations, sessions
from tests.support.session_service import Kit, run

#: Bodies with every field that there is, each of them right.
TOOL: Final = {
    "type": "function", "name": "look_up", "description": "x", "parameters": {"type": "object"},
    "url": "http://127.0.0.1:9/tool", "timeout_seconds": 5, "to": "+15551234567", "method": "dial",
}  # fmt: skip
WHOLE: Final[dict[str, dict[str, Any]]] = {
    "SessionCreate": {
        "mode": "ai_agent",
        "source_language": "en",
        "target_language": "es",
        "routing": {
            "type": "sip",
            "sip": {"from_uri": "sip:1@pbx", "headers": {"X-A": "1"}},
            "connection_id": None,
            "phone_number": "+15551234567",
            "direction": "inbound",
        },
        "provider": {
            "type": "sip", "phone_number": "+15551234567", "call_sid": "x", "transport": "x", "codecs": ["PCMU"],
        },
        "participants": [{"type": "agent", "language": "en"}],
        "ai_agent": {"system_prompt": "x", "greeting": "x", "voice": "x", "temperature": 1, "tools": [TOOL]},
        "recording": {"enabled": False, "channels": "dual"},
        "transcription": {"enabled": True, "partials": True},
        "webhook_url": "http://127.0.0.1:9/hook",
        "metadata": {"a": "b"},
    },
    "SessionEnd": {"reason": "x"},
    "Dial": {"to": "200", "speaker": "agent", "from": "+1", "timeout_seconds": 30, "trunk": "pbx"},
    "Transfer": {"to": "sip:300@pbx"},
}  # fmt: skip
#: What each route with a body takes.
BODIES: Final = {
    "/v1/sessions": "SessionCreate",
    "/v1/sessions/{session_id}/end": "SessionEnd",
    "/v1/sessions/{session_id}/calls/{call_id}/hangup": "SessionEnd",
    "/v1/sessions/{session_id}/calls/{call_id}/transfer": "Transfer",
    "/v1/sessions/{session_id}/dial": "Dial",
}
#: Query parameters, with a value that they do not have.
QUERIES: Final = {
    ("/v1/sessions/{session_id}/transcript", "format"): "pdf",
    ("/v1/recordings/{recording_id}/audio", "format"): "ogg",
    ("/v1/recordings/{recording_id}/audio", "tracks"): "some",
}
#: Wrong for every field; whatever lets one of them pass stands in FREE.
HOSTILE: Final[dict[str, Any]] = {
    "list": [[]],
    "bomb": json.loads("[" * 80 + "]" * 80),
    "object": {"x": {"y": [1]}},
    "number": 10**30,
    "text": "n" * 25_000,
    "NUL": "\0",
    "line": "x\r\nVia: y",
}
#: Where one of them is right: text that people write, objects whose names are the client's.
FREE: Final = {
    "line": ("ai_agent.system_prompt", "ai_agent.greeting", "ai_agent.voice", "ai_agent.tools.0.description", "reason",
             "provider.call_sid", "provider.transport", "provider.codecs.0", "metadata.a"),
    "NUL": ("metadata.a",),
    # Fields that nobody knows are a newer client's, and of these objects all fields may be left out.
    "object": ("ai_agent.tools.0.parameters", "routing", "routing.sip", "recording", "transcription"),
}  # fmt: skip
AWAY: Final = "sess_01HZZZZZZZZZZZZZZZZZZZZZZZ"


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Every field of a body, and every entry of its lists: `ai_agent.tools.0.name`."""
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in named:
        yield f"{at}{name}"
        yield from paths(inner, f"{at}{name}.")


def fields(schemas: dict[str, Any], schema: dict[str, Any], at: str = "") -> Iterator[str]:
    """The same of a schema."""
    for option in (schema, *schema.get("anyOf", ())):
        if "$ref" in option:
            yield from fields(schemas, schemas[option["$ref"].rpartition("/")[2]], at)
        for name, inner in option.get("properties", {}).items() if "type" in option else ():
            yield f"{at}{name}"
            yield from fields(schemas, inner, f"{at}{name}.")
        if "items" in option:
            yield f"{at}0"
            yield from fields(schemas, option["items"], f"{at}0.")


def with_value(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(body)
    *way, last = path.split(".")
    node: Any = made
    for name in way:
        node = node[int(name) if isinstance(node, list) else name]
    node[int(last) if isinstance(node, list) else last] = value
    return made


def stored(connection: Connection) -> tuple[Any, ...]:
    tables = (sessions, deliveries, idempotency)
    counts = [connection.execute(select(func.count()).select_from(table)).scalar() for table in tables]
    used = connection.execute(select(organizations.c.id, organizations.c.credits_used)).all()
    return (*counts, *used)


async def operations(kit: Kit) -> list[tuple[str, str]]:
    """Method and path of every route that needs a key."""
    document = (await kit.get("/openapi.json")).json()
    return [(method.upper(), path) for path, of in document["paths"].items() if "/v1/" in path for method in of]


def test_the_tables_know_every_route_and_field(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        document = (await kit.get("/openapi.json")).json()
        schemas = document["components"]["schemas"]
        for name, body in WHOLE.items():
            known = {path for path in paths(body) if path not in ("metadata.a", "routing.sip.headers.X-A")}
            assert known - {"ai_agent.tools.0.parameters.type"} == set(fields(schemas, schemas[name]))
        posts = {path for method, path in await operations(kit) if method == "POST"}
        assert posts == set(BODIES)
        asked = {
            (path, parameter["name"])
            for path, methods in document["paths"].items()
            for operation in methods.values()
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query"
        }
        assert asked == set(QUERIES)

    run(sqlite_url, scenario)


@pytest.mark.parametrize("path", BODIES)
def test_every_field_of_every_route(sqlite_url: str, path: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        url = path.format(session_id=session["id"], call_id="call_1")
        whole = WHOLE[BODIES[path]]
        before = await kit.database.run(stored)
        async with kit.stream(session) as client:
            client.send({"type": "call.joined", "speaker": "agent", "call_id": "call_1"})
            await client.synced()
            await kit.settled()
            for field in paths(whole):
                for kind, value in HOSTILE.items():
                    if field in FREE.get(kind, ()):
                        continue
                    response = await kit.post(url, with_value(whole, field, value), Idempotency_Key="k")
                    error = response.json().get("error", {})
                    assert response.status_code == 400, (field, kind, response.text[:300])
                    param = error.get("param") or ""
                    assert field.startswith(param) or param.startswith(field), (field, kind, error)
                    assert param, (field, kind, error)
                    assert len(response.content) < 2000
            assert client.messages.empty()
        assert await kit.database.run(stored) == before
        assert kit.switchboard.orders == []

    run(sqlite_url, scenario)


@pytest.mark.parametrize("path", BODIES)
def test_every_body_that_is_none(sqlite_url: str, path: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        url = path.format(session_id=session["id"], call_id="call_1")
        before = await kit.database.run(stored)
        cases = [
            (b"{", "application/json", 400),
            (b"[]", "application/json", 400),
            (b"null", "application/json", 400),
            (b"\xff\xfe", "application/json", 400),
            (b'{"a":' * 50_000, "application/json", 400),
            (b"[" * 200_000, "application/json", 400),
            (b"a=b", "application/x-www-form-urlencoded", 415),
            (b"{}", "text/plain", 415),
            (b"x" * 10_000_000, "application/json", 413),
        ]
        for body, kind, status in cases:
            response = await kit.http.post(url, content=body, headers={"Content-Type": kind, "Idempotency-Key": "k"})
            assert response.status_code == status, (body[:10], response.text[:200])
            assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]
        assert await kit.database.run(stored) == before

    run(sqlite_url, scenario)


def test_every_parameter_of_a_query(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        for (path, name), value in QUERIES.items():
            url = path.format(session_id=session["id"], recording_id="rec_1")
            response = await kit.get(f"{url}?{name}={value}")
            assert (response.status_code, response.json()["error"]["param"]) == (400, name), response.text

    run(sqlite_url, scenario)


def test_every_route_asks_who_it_is_and_whose_it_is(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        stranger = {"Authorization": f"Bearer {kit.add_key('org_b')}"}
        reader = {"Authorization": f"Bearer {kit.add_key('org_default', scope='read')}"}
        routes = await operations(kit)
        assert len(routes) >= 12
        for method, path in routes:
            before = await kit.database.run(stored)
            body = WHOLE[BODIES[path]] if method == "POST" else None
            answers = {}
            for session_id in (session["id"], AWAY):
                url = path.format(session_id=session_id, call_id="call_1", recording_id="rec_1")
                answers[session_id] = await kit.http.request(method, url, json=body, headers=stranger)
                for headers in ({"Authorization": ""}, {"Authorization": "Bearer sk_live_x"}):
                    assert (await kit.http.request(method, url, json=body, headers=headers)).status_code == 401, path
                if method == "POST":
                    assert (await kit.http.request(method, url, json=body, headers=reader)).status_code == 403, path
            if "{" in path:  # another organization's session is told from none by nothing
                mine, none = (answer.json()["error"] for answer in answers.values())
                assert {answer.status_code for answer in answers.values()} == {404}, path
                assert (mine["code"], mine.get("param")) == (none["code"], none.get("param"))
                assert mine["message"].replace(session["id"], AWAY) == none["message"]
                if method == "POST":
                    assert await kit.database.run(stored) == before

    run(sqlite_url, scenario)
