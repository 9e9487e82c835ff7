"""POST …/dial and …/transfer: what goes to the gateway, what comes back, and what a session shows of it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import Fault, GatewayError, PeerFault
from tests.support.session_service import Kit, run


def test_a_call_is_ordered_and_shown(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        path = f"/v1/sessions/{session['id']}/dial"
        wanted = {"to": "sip:200@pbx", "speaker": "agent", "from": "+155", "timeout_seconds": 30}
        response = await kit.post(path, wanted)
        assert response.status_code == 202
        call = response.json()
        assert (call["id"], call["status"], call["direction"]) == ("call_1", "ringing", "outbound")
        assert kit.switchboard.orders == [{"session_id": session["id"]} | wanted]
        shown = (await kit.get(f"/v1/sessions/{session['id']}")).json()["call"]
        assert shown == {
            "id": "call_1", "status": "ringing", "direction": "outbound", "sip_call_id": "abc@gateway",
        }  # fmt: skip
        async with kit.stream(session) as client:
            joined = {"type": "call.joined", "speaker": "agent", "call_id": "call_1", "sip_call_id": "abc@gateway"}
            client.send(joined | {"direction": "outbound"})
            await client.synced()
            shown = (await kit.get(f"/v1/sessions/{session['id']}")).json()["call"]
            assert shown["status"] == "active"

    run(sqlite_url, scenario)


def test_the_headers_of_a_session_go_with_its_calls(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create(routing={"type": "sip", "sip": {"headers": {"X-Queue": "sales"}}})
        await kit.post(f"/v1/sessions/{session['id']}/dial", {"to": "200"})
        assert kit.switchboard.orders[0]["headers"] == {"X-Queue": "sales"}

    run(sqlite_url, scenario)


def test_an_inbound_call_shows_its_call_id(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        async with kit.stream(session) as client:
            client.send(
                {"type": "call.joined", "speaker": "customer", "call_id": "call_9", "sip_call_id": "x@pbx",
                 "direction": "inbound"}
            )  # fmt: skip
            await client.synced()
            shown = (await kit.get(f"/v1/sessions/{session['id']}")).json()["call"]
            assert shown == {"id": "call_9", "status": "active", "direction": "inbound", "sip_call_id": "x@pbx"}

    run(sqlite_url, scenario)


def test_a_call_that_came_to_nothing_later_is_shown_as_failed(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        await kit.post(f"/v1/sessions/{session['id']}/dial", {"to": "200"})
        async with kit.stream(session) as client:
            told = {"type": "call.error", "target": "customer", "code": "dial_failed", "message": "486 Busy Here"}
            client.send(told | {"call_id": "call_1"})
            await client.synced()
            assert (await kit.get(f"/v1/sessions/{session['id']}")).json()["call"]["status"] == "failed"

    run(sqlite_url, scenario)


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (PeerFault(Fault.DIAL_FAILED, "486 Busy Here"), 502, "dial_failed"),
        (PeerFault(Fault.INVALID_FIELD, "no trunk leads to x", param="to"), 400, "invalid_field_value"),
        (PeerFault(Fault.CAPACITY, "no free leg"), 503, "service_unavailable"),
        (PeerFault(Fault.DRAINING, "the gateway is stopping"), 503, "draining"),
    ],
)
def test_what_the_gateway_refuses_is_told(sqlite_url: str, refusal: GatewayError, status: int, code: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        kit.switchboard.refusal = refusal
        response = await kit.post(f"/v1/sessions/{session['id']}/dial", {"to": "200"})
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["message"]) == (status, code, refusal.message)
        assert error.get("param") == refusal.param
        assert (await kit.get(f"/v1/sessions/{session['id']}")).json()["call"] is None

    run(sqlite_url, scenario)


def test_the_same_key_dials_once_and_a_refusal_is_not_kept(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        path, key = f"/v1/sessions/{session['id']}/dial", {"Idempotency-Key": "k1"}
        kit.switchboard.refusal = PeerFault(Fault.DIAL_FAILED, "503 Service Unavailable")
        assert (await kit.post(path, {"to": "200"}, **key)).status_code == 502
        kit.switchboard.refusal = None
        first = await kit.post(path, {"to": "200"}, **key)
        again = await kit.post(path, {"to": "200"}, **key)
        assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
        assert again.headers["Idempotent-Replayed"] == "true"
        assert len(kit.switchboard.orders) == 2
        assert (await kit.post(path, {"to": "201"}, **key)).json()["error"]["code"] == "idempotency_mismatch"
        kit.switchboard.hold.clear()
        running = asyncio.create_task(kit.post(path, {"to": "202"}, **{"Idempotency-Key": "k2"}))
        await kit.until(lambda: len(kit.switchboard.orders) == 3)
        conflict = await kit.post(path, {"to": "202"}, **{"Idempotency-Key": "k2"})
        assert (conflict.status_code, conflict.json()["error"]["code"]) == (409, "idempotency_conflict")
        kit.switchboard.hold.set()
        assert (await running).status_code == 202

    run(sqlite_url, scenario)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "to"),
        ({"to": ""}, "to"),
        ({"to": "a b"}, "to"),
        ({"to": "200", "speaker": "No!"}, "speaker"),
        ({"to": "200", "timeout_seconds": 0}, "timeout_seconds"),
        ({"to": "200", "from": "a\r\nb"}, "from"),
    ],
)
def test_a_bad_order_names_its_field(sqlite_url: str, body: dict[str, object], param: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        response = await kit.post(f"/v1/sessions/{session['id']}/dial", body)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)
        assert kit.switchboard.orders == []

    run(sqlite_url, scenario)


def test_nobody_dials_for_a_session_that_has_ended_or_is_not_his(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        path = f"/v1/sessions/{session['id']}/dial"
        stranger = {"Authorization": f"Bearer {kit.add_key('org_b')}"}
        assert (await kit.post(path, {"to": "200"}, **stranger)).status_code == 404
        await kit.post(f"/v1/sessions/{session['id']}/end")
        ended = await kit.post(path, {"to": "200"})
        assert (ended.status_code, ended.json()["error"]["code"]) == (409, "session_ended")
        assert kit.switchboard.orders == []

    run(sqlite_url, scenario)


def test_transferring_a_call(sqlite_url: str) -> None:
    async def scenario(kit: Kit) -> None:
        session = await kit.create()
        path = f"/v1/sessions/{session['id']}/calls/call_1/transfer"
        assert (await kit.post(path, {"to": "sip:300@pbx"})).status_code == 404
        async with kit.stream(session) as client:
            client.send({"type": "call.joined", "speaker": "agent", "call_id": "call_1"})
            await client.synced()
            assert (await kit.post(path, {"to": "http://x"})).json()["error"]["param"] == "to"
            response = await kit.post(path, {"to": "sip:300@pbx"})
            assert (response.status_code, response.json()["status"]) == (200, "transferring")
            told = await client.receive("call.transfer")
            assert told == {"type": "call.transfer", "target": "agent", "to": "sip:300@pbx"}

    run(sqlite_url, scenario)
