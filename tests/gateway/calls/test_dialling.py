"""Orders to dial: how they are read, where they go, and what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.calls import actions as do
from gateway.calls import dialling
from gateway.calls.dialling import Dialler, Placed, Wanted, order, read
from gateway.calls.intake import Order
from gateway.errors import Fault, GatewayError
from gateway.trunks import Trunk


def trunk(name: str, host: str, **fields: Any) -> Trunk:
    return Trunk.model_validate({"name": name, "outbound": {"host": host}} | fields)


OFFICE = trunk("office", "192.0.2.1", speaker="agent")
CARRIER = trunk("carrier", "sip.carrier.example", outbound={"host": "sip.carrier.example", "port": 5070})
INBOUND = Trunk(name="in", allow=("10.0.0.0/8",))
ALL = (INBOUND, OFFICE, CARRIER)


def wanted(**fields: Any) -> Wanted:
    return Wanted(**({"session_id": "sess_1", "to": "200"} | fields))


@pytest.mark.parametrize(
    ("fields", "name", "uri"),
    [
        ({"to": "+15551234567"}, "office", "sip:+15551234567@192.0.2.1"),
        ({"to": "tel:+15551234567"}, "office", "sip:+15551234567@192.0.2.1"),
        ({"to": "*98#"}, "office", "sip:*98%23@192.0.2.1"),
        ({"to": "200", "trunk": "carrier"}, "carrier", "sip:200@sip.carrier.example:5070"),
        ({"to": "sip:200@192.0.2.1"}, "office", "sip:200@192.0.2.1"),
        ({"to": "sip:200@192.0.2.1:5060;transport=tcp"}, "office", "sip:200@192.0.2.1"),
        ({"to": "sip:200@carrier"}, "carrier", "sip:200@sip.carrier.example:5070"),
        ({"to": "sip:200@SIP.Carrier.example:5070"}, "carrier", "sip:200@sip.carrier.example:5070"),
    ],
)
def test_where_an_order_goes(fields: dict[str, Any], name: str, uri: str) -> None:
    made = order(wanted(**fields), ALL)
    assert (made.trunk.name, made.uri) == (name, uri)


def test_headers_go_along_as_the_trunk_lets_them() -> None:
    made = order(wanted(headers={"X-Queue": "sales", "Via": "x", "X-Session-ID": "other"}), ALL)
    assert made.headers == {"X-Queue": "sales"}


def test_what_the_order_does_not_say_the_trunk_does() -> None:
    made = order(wanted(), ALL)
    assert (made.speaker, made.ring_s, made.from_uri) == ("agent", 60, "sip:glotgate@192.0.2.1")
    made = order(wanted(speaker="customer", timeout_seconds=7, from_="+155"), ALL)
    assert (made.speaker, made.ring_s, made.from_uri) == ("customer", 7, "sip:+155@192.0.2.1")


@pytest.mark.parametrize(
    ("fields", "trunks", "fault", "param"),
    [
        ({"to": "sip:200@evil.example"}, ALL, Fault.INVALID_FIELD, "to"),
        ({"to": "sip:200@192.0.2.1:5099"}, ALL, Fault.INVALID_FIELD, "to"),
        ({"to": "sip:200@carrier", "trunk": "office"}, ALL, Fault.INVALID_FIELD, "to"),
        ({"to": "a b"}, ALL, Fault.INVALID_FIELD, "to"),
        ({"to": "sip:a?Subject=x@192.0.2.1"}, ALL, Fault.INVALID_FIELD, "to"),
        ({"to": "sip:192.0.2.1"}, ALL, Fault.INVALID_FIELD, "to"),
        ({"to": "http://192.0.2.1/"}, ALL, Fault.INVALID_FIELD, "to"),
        ({"trunk": "in"}, ALL, Fault.INVALID_FIELD, "trunk"),
        ({"trunk": "none"}, ALL, Fault.INVALID_FIELD, "trunk"),
        ({"from_": "a<b>"}, ALL, Fault.INVALID_FIELD, "from"),
        ({}, (INBOUND,), Fault.ROUTING_UNRESOLVED, None),
    ],
)
def test_what_is_not_dialled(fields: dict[str, Any], trunks: tuple[Trunk, ...], fault: Fault, param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        order(wanted(**fields), trunks)
    assert (caught.value.fault, caught.value.param) == (fault, param)


def test_an_order_is_read() -> None:
    read_back = read(b'{"session_id":"sess_1","to":"200","from":"+155","timeout_seconds":9,"unknown":1}')
    assert (read_back.to, read_back.from_, read_back.timeout_seconds) == ("200", "+155", 9)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"session_id":"x","to":"1"}', b'{"session_id":"sess_1","to":1}', b"\xff"]
)
def test_what_is_no_order(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        read(body)
    assert caught.value.fault is Fault.INVALID_REQUEST


class Exchange:
    """Places calls, and tells of each what the test says."""

    def __init__(self, *told: do.Progress) -> None:
        self.told = told
        self.orders: list[Order] = []

    def place(self, made: Order, progress: Callable[[do.Progress], None]) -> Placed:
        self.orders.append(made)
        for one in self.told:
            progress(one)
        who = SimpleNamespace(sip_call_id="abc")
        call: Any = SimpleNamespace(call_id="call_1", identity=who, call=SimpleNamespace(speaker="agent"))
        return call  # type: ignore[no-any-return]

    def dial(self, **fields: Any) -> dict[str, Any]:
        return asyncio.run(Dialler(ALL, self.place).dial(wanted(**fields)))


@pytest.mark.parametrize(("code", "status"), [(180, "ringing"), (183, "ringing"), (200, "active")])
def test_the_first_sign_is_the_answer(code: int, status: str) -> None:
    exchange = Exchange(do.Progress(code), do.Progress(200))
    call = exchange.dial()
    assert call == {
        "id": "call_1", "object": "call", "session_id": "sess_1", "status": status, "direction": "outbound",
        "sip_call_id": "abc", "speaker": "agent", "to": "200",
    }  # fmt: skip
    assert exchange.orders[0].source == "192.0.2.1"


def test_a_refusal_is_raised() -> None:
    with pytest.raises(GatewayError, match="486 Busy Here"):
        Exchange(do.Progress(486, GatewayError(Fault.DIAL_FAILED, "486 Busy Here"))).dial()


def test_a_late_sign_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "FIRST_SIGN_S", 0.01)
    assert Exchange().dial()["status"] == "dialing"


def test_the_trunks_name_is_looked_up_before_anything_is_sent() -> None:
    exchange = Exchange(do.Progress(180))
    local = trunk("local", "localhost")
    asyncio.run(Dialler((local,), exchange.place).dial(wanted()))
    assert exchange.orders[0].source in ("127.0.0.1", "::1")
    nowhere = trunk("nowhere", "no-such-host.invalid")
    with pytest.raises(GatewayError) as caught:
        asyncio.run(Dialler((nowhere,), exchange.place).dial(wanted()))
    assert caught.value.fault is Fault.DIAL_FAILED
    assert len(exchange.orders) == 1


def test_an_outage_of_the_name_servers_costs_no_trunk_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Exchange(do.Progress(180))

    async def story() -> None:
        dialler = Dialler((trunk("local", "localhost"),), exchange.place)
        await dialler.dial(wanted())

        async def away(*asked: Any) -> Any:
            raise OSError("Temporary failure in name resolution")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", away)
        await dialler.dial(wanted())
        monkeypatch.setattr(dialling, "STALE_S", -1.0)
        with pytest.raises(GatewayError, match="no address is known"):
            await dialler.dial(wanted())

    asyncio.run(story())
    assert exchange.orders[0].source == exchange.orders[1].source in ("127.0.0.1", "::1")
    assert len(exchange.orders) == 2
