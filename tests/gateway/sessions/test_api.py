"""gateway/sessions/api.py: HTTP, envelope, headers, statuses."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from gateway.sessions import keys, tenants
from gateway.sessions.ids import ULID_PATTERN
from tests.support.session_service import INTERNAL_KEY, Kit, run, service

CREATE = {"mode": "bidirectional_translation"}


def test_a_created_session(database_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        asked = CREATE | {
            "source_language": "en",
            "target_language": "es-MX",
            "routing": {"type": "sip", "sip": {"from_uri": "sip:100@pbx", "headers": {"X-Case": "7"}}},
            "participants": [{"type": "agent"}, {"type": "customer", "language": "en"}],
            "recording": {"enabled": True, "channels": "mixed"},
            "metadata": {"case": "7"},
        }
        response = await kit.post("/v1/sessions", asked)
        assert response.status_code == 201
        made = response.json()
        assert re.fullmatch("sess_" + ULID_PATTERN, made["id"])
        stream = made.pop("stream")
        assert stream["url"].endswith(f"/v1/sessions/{made['id']}/stream")
        assert stream["token"].startswith("kst_")
        assert stream["expires_at"] == "2027-01-15T08:05:00.000Z"
        assert made == {
            "id": made["id"], "object": "session", "status": "created", "mode": "bidirectional_translation",
            "provider": "sip", "phone_number": None, "source_language": "en", "target_language": "es-MX",
            "call": None,
            "participants": [{"type": "agent", "language": None}, {"type": "customer", "language": "en"}],
            "recording": {"enabled": True, "channels": "mixed"},
            "transcript": {"available": False, "word_count": 0}, "metadata": {"case": "7"}, "duration": 0.0,
            "usage": {"active_seconds": 0.0, "translation_seconds": 0.0, "ai_agent_seconds": 0.0},
            "created_at": "2027-01-15T08:00:00.000Z", "started_at": None, "ended_at": None, "end_reason": None,
        }  # fmt: skip
        shown = await kit.get(f"/v1/sessions/{made['id']}")
        assert shown.status_code == 200
        kit.clock.now += 60
        again = (await kit.get(f"/v1/sessions/{made['id']}")).json()
        assert again.pop("stream")["expires_at"] == "2027-01-15T08:06:00.000Z"
        assert again == made

    run(database_url, scenario)


def test_headers(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        organization = {"credits_limit": 10, "rate_limit": 100}
        key = kit.add_key("org_a", organization=organization)
        response = await kit.post("/v1/sessions", CREATE, Authorization=f"Bearer {key}")
        headers = response.headers
        assert re.fullmatch("req_" + ULID_PATTERN, headers["X-Request-ID"])
        assert headers["X-API-Credits-Remaining"] == "9"
        assert headers["X-API-Credits-Used"] == "1"
        assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("100", "99")
        assert int(headers["X-RateLimit-Reset"]) == 1_800_000_060
        by_other_header = await kit.http.get(
            f"/v1/sessions/{response.json()['id']}", headers={"X-API-Key": key, "Authorization": ""}
        )
        assert by_other_header.status_code == 200
        assert by_other_header.headers["X-API-Credits-Used"] == "1"

    run(sqlite_url, scenario)


def test_the_gateways_own_key(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        theirs = await kit.create()
        system = {"Authorization": f"Bearer {INTERNAL_KEY}"}
        shown = await kit.http.get(f"/v1/sessions/{theirs['id']}", headers=system)
        assert shown.status_code == 200
        assert "X-API-Credits-Used" not in shown.headers
        assert "X-RateLimit-Limit" not in shown.headers
        made = await kit.http.post("/v1/sessions", json=CREATE, headers=system)
        assert made.status_code == 201
        assert (await kit.get(f"/v1/sessions/{made.json()['id']}")).status_code == 200

    run(sqlite_url, scenario)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [({"credits_limit": 1}, 402, "insufficient_api_credits"), ({"active": False}, 403, "organization_inactive")],
)
def test_a_call_by_a_route_costs_the_default_organization_too(
    sqlite_url: str, change: dict[str, Any], status: int, code: str
) -> None:
    async def scenario(kit: Kit) -> None:
        system = {"Authorization": f"Bearer {INTERNAL_KEY}"}
        assert (await kit.http.post("/v1/sessions", json=CREATE, headers=system)).status_code == 201
        await kit.database.run(tenants.change_organization, keys.DEFAULT_ORGANIZATION, change)
        refused = await kit.http.post("/v1/sessions", json=CREATE, headers=system)
        assert refused.status_code == status
        assert refused.json()["error"]["code"] == code

    run(sqlite_url, scenario)


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"mode": None}, "invalid_mode", "mode"),
        ({"mode": "translation"}, "invalid_mode", "mode"),
        ({"mode": 5}, "invalid_mode", "mode"),
        ({"mode": "ai_agent"}, "missing_required_field", "ai_agent"),
        ({"mode": "ai_agent", "ai_agent": {}}, "missing_required_field", "ai_agent.system_prompt"),
        ({"ai_agent": {"system_prompt": "x", "temperature": 3}}, "invalid_field_value", "ai_agent.temperature"),
        ({"ai_agent": {"system_prompt": "x", "tools": [5]}}, "invalid_field_value", "ai_agent.tools.0"),
        ({"source_language": "english"}, "invalid_language_code", "source_language"),
        ({"target_language": 7}, "invalid_language_code", "target_language"),
        ({"participants": [{"type": "agent", "language": "??"}]}, "invalid_language_code",
         "participants.0.language"),
        ({"participants": [{}]}, "missing_required_field", "participants.0.type"),
        ({"participants": [{"type": "agent"}] * 17}, "invalid_field_value", "participants"),
        ({"routing": []}, "invalid_field_value", "routing"),
        ({"routing": {"phone_number": "0151"}}, "invalid_field_value", "routing.phone_number"),
        ({"routing": {"type": "sip", "sip": {"from_uri": "100"}}}, "invalid_field_value",
         "routing.sip.from_uri"),
        ({"routing": {"type": "sip", "sip": {"headers": {"Via": "x"}}}}, "invalid_field_value",
         "routing.sip.headers.Via"),
        ({"routing": {"type": "sip", "sip": {"headers": {"X-A": "a\r\nVia: b"}}}}, "invalid_field_value",
         "routing.sip.headers.X-A"),
        ({"routing": {"connection_id": "pcon_nobody"}}, "routing_unresolved", "routing.connection_id"),
        ({"routing": {"direction": "sideways"}}, "invalid_field_value", "routing.direction"),
        ({"provider": {"type": "twilio"}}, "missing_required_field", "provider.phone_number"),
        ({"provider": {"type": "pigeon", "phone_number": "+15551234567"}}, "invalid_field_value",
         "provider.type"),
        ({"recording": {"enabled": "yes"}}, "invalid_field_value", "recording.enabled"),
        ({"recording": {"channels": "quad"}}, "invalid_field_value", "recording.channels"),
        ({"transcription": {"partials": 1}}, "invalid_field_value", "transcription.partials"),
        ({"webhook_url": "ftp://x"}, "invalid_field_value", "webhook_url"),
        ({"metadata": {"a": 5}}, "invalid_field_value", "metadata.a"),
        ({"metadata": {"a": "x" * 501}}, "invalid_field_value", "metadata.a"),
        ({"metadata": {str(n): "" for n in range(51)}}, "invalid_field_value", "metadata"),
    ],
)  # fmt: skip
def test_bad_fields_are_named_and_nothing_is_stored(
    sqlite_url: str, change: dict[str, Any], code: str, param: str
) -> None:
    async def scenario(kit: Kit) -> None:
        response = await kit.post("/v1/sessions", CREATE | change)
        error = response.json()["error"]
        assert (response.status_code, error["type"]) == (400, "invalid_request_error")
        assert (error["code"], error["param"]) == (code, param)
        assert error["request_id"] == response.headers["X-Request-ID"]
        assert not kit.hub.sessions
        assert (await kit.get("/v1/sessions/x")).headers["X-API-Credits-Used"] == "0"

    run(sqlite_url, scenario)


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "invalid_request"),
        (b"{", "application/json", 400, "invalid_request"),
        (b"[]", "application/json", 400, "invalid_request"),
        (b"null", "application/json", 400, "invalid_request"),
        (b"{}", "application/json", 400, "missing_required_field"),
        (b"[" * 100_000, "application/json", 400, "invalid_request"),
        (b'{"mode":"ai_agent","ai_agent":{"system_prompt":"\\ud800"}}', "application/json", 400, None),
        (b"\xff\xfe{}", "application/json", 400, "invalid_request"),
        (b"mode=ai_agent", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'{"mode":"help_chat_voice"}', "", 415, "unsupported_media_type"),
        (b" " * 10_000_000, "application/json", 413, "payload_too_large"),
    ],
)
def test_bad_bodies(sqlite_url: str, body: bytes, kind: str, status: int, code: str | None) -> None:
    async def scenario(kit: Kit) -> None:
        response = await kit.http.post("/v1/sessions", content=body, headers={"Content-Type": kind})
        assert response.status_code == status, response.text
        assert code is None or response.json()["error"]["code"] == code

        async def in_pieces() -> Any:
            for start in range(0, len(body), 50_000):
                yield body[start : start + 50_000]

        chunked = await kit.http.post("/v1/sessions", content=in_pieces(), headers={"Content-Type": kind})
        assert chunked.status_code == status

    run(sqlite_url, scenario)


def test_who_may(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        theirs = await kit.create()
        reader = kit.add_key("org_default", scope="read")
        stranger = kit.add_key("org_b")
        cases: list[tuple[str, str, dict[str, str], int, str]] = [
            ("POST", "/v1/sessions", {"Authorization": ""}, 401, "invalid_api_key"),
            ("POST", "/v1/sessions", {"Authorization": "Bearer sk_live_x"}, 401, "invalid_api_key"),
            ("POST", "/v1/sessions", {"Authorization": "Basic sk_live_x"}, 401, "invalid_api_key"),
            ("POST", "/v1/sessions", {"Authorization": f"Bearer {reader}"}, 403, "insufficient_permissions"),
            ("GET", f"/v1/sessions/{theirs['id']}", {"Authorization": f"Bearer {stranger}"}, 404,
             "session_not_found"),
            ("POST", f"/v1/sessions/{theirs['id']}/end", {"Authorization": f"Bearer {stranger}"}, 404,
             "session_not_found"),
            ("GET", "/v1/sessions/nothing", {}, 404, "session_not_found"),
            ("GET", "/v1/nothing", {}, 404, "not_found"),
            ("DELETE", "/v1/sessions", {}, 405, "method_not_allowed"),
        ]  # fmt: skip
        for method, path, headers, status, code in cases:
            response = await kit.http.request(method, path, headers=headers, json=CREATE)
            assert (response.status_code, response.json()["error"]["code"]) == (status, code), (method, path)
            assert "X-Request-ID" in response.headers
        shown = await kit.http.get(f"/v1/sessions/{theirs['id']}", headers={"Authorization": f"Bearer {reader}"})
        assert shown.status_code == 200

    run(sqlite_url, scenario)


def test_credits_run_out(database_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        auth = {"Authorization": f"Bearer {kit.add_key('org_a', organization={'credits_limit': 2})}"}
        for _ in range(2):
            assert (await kit.post("/v1/sessions", CREATE, **auth)).status_code == 201
        response = await kit.post("/v1/sessions", CREATE, **auth, Idempotency_Key="k")
        assert response.status_code == 402
        assert response.json()["error"]["code"] == "insufficient_api_credits"
        assert response.headers["X-API-Credits-Remaining"] == "0"
        assert len(kit.hub.sessions) == 2

    run(database_url, scenario)


def test_too_many_requests(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        auth = {"Authorization": f"Bearer {kit.add_key('org_a', organization={'rate_limit': 2})}"}
        for _ in range(2):
            assert (await kit.http.get("/v1/sessions/x", headers=auth)).status_code == 404
        response = await kit.http.get("/v1/sessions/x", headers=auth)
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "60"
        assert response.json()["error"] | {"message": ""} == {
            "type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "", "retry_after": 60,
            "request_id": response.headers["X-Request-ID"],
        }  # fmt: skip
        kit.clock.now += 60
        assert (await kit.http.get("/v1/sessions/x", headers=auth)).status_code == 404

    run(sqlite_url, scenario)


def test_the_older_create_shape(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        older = {"type": "twilio", "phone_number": "+15551234567", "call_sid": "CA1", "codecs": ["PCMU"]}
        response = await kit.post("/v1/sessions", CREATE | {"provider": older}, Idempotency_Key="k")
        assert response.headers["Deprecation"] == "true"
        assert response.json()["provider"] == older
        assert response.json()["phone_number"] == "+15551234567"
        shown = await kit.get(f"/v1/sessions/{response.json()['id']}")
        assert shown.json()["provider"] == older
        replay = await kit.post("/v1/sessions", CREATE | {"provider": older}, Idempotency_Key="k")
        assert replay.headers["Deprecation"] == "true"
        assert "Deprecation" not in (await kit.post("/v1/sessions", CREATE)).headers

    run(sqlite_url, scenario)


def test_idempotency(database_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        first = await kit.post("/v1/sessions", CREATE, Idempotency_Key="k1")
        again = await kit.post("/v1/sessions", CREATE, Idempotency_Key="k1")
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["X-API-Credits-Used"] == "1"
        other = await kit.post("/v1/sessions", CREATE | {"source_language": "en"}, Idempotency_Key="k1")
        assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_mismatch")
        stranger = {"Authorization": f"Bearer {kit.add_key('org_b')}"}
        theirs = await kit.post("/v1/sessions", CREATE, **stranger, Idempotency_Key="k1")
        assert theirs.json()["id"] != first.json()["id"]
        refused = await kit.post("/v1/sessions", {"mode": "no"}, Idempotency_Key="k2")
        assert refused.status_code == 400
        assert (await kit.post("/v1/sessions", CREATE, Idempotency_Key="k2")).status_code == 201
        kit.clock.now += 24 * 3600
        late = await kit.post("/v1/sessions", CREATE, Idempotency_Key="k1")
        assert late.json()["id"] != first.json()["id"]

    run(database_url, scenario)


def test_one_key_at_once_is_one_session(database_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        responses = await asyncio.gather(*(kit.post("/v1/sessions", CREATE, Idempotency_Key="same") for _ in range(10)))
        statuses = [response.status_code for response in responses]
        assert set(statuses) <= {201, 409}
        assert len({r.json()["id"] for r in responses if r.status_code == 201}) == 1
        assert all(r.headers["Retry-After"] == "1" for r in responses if r.status_code == 409)
        assert len(kit.hub.sessions) == 1

    run(database_url, scenario)


def test_idempotency_over_a_restart(database_url: str) -> None:
    async def main() -> None:
        async with service(database_url) as kit:
            first = await kit.post("/v1/sessions", CREATE, Idempotency_Key="k")
            key = kit.key
        async with service(database_url) as kit:
            again = await kit.post("/v1/sessions", CREATE, Idempotency_Key="k", Authorization=f"Bearer {key}")
            assert again.content == first.content
            assert again.headers["X-API-Credits-Used"] == "1"

    asyncio.run(main())


def test_ending(database_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        path = f"/v1/sessions/{session['id']}/end"
        kit.clock.now += 5
        first = await kit.post(path, {"reason": "hung up"}, Idempotency_Key="e")
        assert first.status_code == 200
        assert first.json() == {
            "id": session["id"], "object": "session", "status": "ended", "duration_seconds": 0.0,
            "ended_at": "2027-01-15T08:00:05.000Z",
        }  # fmt: skip
        kit.clock.now += 5
        assert (await kit.http.post(path)).json() == first.json()
        replay = await kit.post(path, {"reason": "hung up"}, Idempotency_Key="e")
        assert replay.headers["Idempotent-Replayed"] == "true"
        view = (await kit.get(f"/v1/sessions/{session['id']}")).json()
        assert (view["status"], view["end_reason"]) == ("ended", "hung up")
        assert "stream" not in view
        for bad in ({"reason": 5}, {"reason": "x" * 201}):
            response = await kit.post(path, bad)
            assert (response.status_code, response.json()["error"]["param"]) == (400, "reason")

    run(database_url, scenario)


def test_hanging_up_a_call(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        path = f"/v1/sessions/{session['id']}/calls/call_1/hangup"
        assert (await kit.http.post(path)).status_code == 404
        async with kit.stream(session) as client:
            client.send({"type": "call.joined", "speaker": "agent", "call_id": "call_1"})
            await client.synced()
            response = await kit.post(path, {"reason": "done"})
            assert (response.status_code, response.json()["status"]) == (200, "ending")
            told = await client.receive("call.hangup")
            assert told == {"type": "call.hangup", "target": "agent", "reason": "done"}
            client.send({"type": "call.left", "speaker": "agent", "call_id": "call_1"})
            await client.synced()
            assert (await kit.http.post(path)).json()["error"]["param"] == "call_id"
            stranger = {"Authorization": f"Bearer {kit.add_key('org_b')}"}
            assert (await kit.post(path, {}, **stranger)).status_code == 404
        await kit.post(f"/v1/sessions/{session['id']}/end")
        assert (await kit.http.post(path)).status_code == 404

    run(sqlite_url, scenario)


def test_what_can_be_no_id_is_not_found(database_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        for strange in ("%00", "sess_%00", "%ff", "%C3%A9", "a%0Ab", "x" * 5000):
            for path in (f"sessions/{strange}", f"sessions/{strange}/transcript", f"sessions/{strange}/recordings"):
                assert (await kit.get(f"/v1/{path}")).json()["error"]["code"] == "session_not_found", path
            for path in (f"recordings/{strange}", f"recordings/{strange}/audio", f"recordings/{strange}/timeline"):
                assert (await kit.get(f"/v1/{path}")).json()["error"]["code"] == "recording_not_found", path
            for path in ("end", "calls/call_1/hangup", "calls/%00/hangup"):
                answer = await kit.post(f"/v1/sessions/{strange}/{path}")
                assert answer.json()["error"]["code"] == "session_not_found", path

    run(database_url, scenario)


def test_a_defect_is_an_envelope_too(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(kit: Kit) -> None:
        async def broken(*_args: object) -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(kit.service, "show", broken)
        response = await kit.get("/v1/sessions/x")
        assert response.status_code == 500
        assert "secret detail" not in response.text
        assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]

    run(sqlite_url, scenario)


def test_a_database_that_is_away_is_503(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(kit: Kit) -> None:
        async def away(*_args: object) -> None:
            raise OperationalError("SELECT 1", {}, Exception("away"))

        monkeypatch.setattr(kit.database, "read", away)
        response = await kit.get("/v1/sessions/x")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        monkeypatch.undo()

    run(sqlite_url, scenario)


def test_health_needs_no_key(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        for path in ("/livez", "/readyz", "/openapi.json", "/docs"):
            response = await kit.http.get(path, headers={"Authorization": ""})
            assert response.status_code == 200, path

    run(sqlite_url, scenario)
