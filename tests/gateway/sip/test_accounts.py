"""Accounts of trunks: who gets one, and the URIs of our side."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sip.accounts import account, accounts, from_uri, hosts, request_uri
from gateway.trunks import Outbound, Trunk


def trunk(**fields: Any) -> Trunk:
    return Trunk.model_validate({"name": "office", "outbound": {"host": "pbx.example"}} | fields)


def out(**fields: Any) -> Outbound:
    return Outbound.model_validate({"host": "pbx.example"} | fields)


def test_only_who_needs_one_has_an_account_of_its_own() -> None:
    plain = Trunk(name="in", allow=("10.0.0.0/8",))
    timed = Trunk.model_validate({"name": "timed", "allow": ["10.1.0.0/16"], "session_timer": {"expires_s": 600}})
    made = accounts((plain, timed, trunk()), "192.0.2.1")
    assert [one.name for one in made] == ["", "timed", "office"]
    assert made[0].uri == made[1].uri == "sip:glotgate@192.0.2.1"
    assert (made[1].timer.expires_s, made[1].timer.mode) == (600, "optional")
    assert accounts((), "2001:db8::1")[0].uri == "sip:glotgate@[2001:db8::1]"


@pytest.mark.parametrize(
    ("outbound", "registration", "registrar"),
    [
        ({"host": "pbx.example"}, None, ""),
        ({"host": "pbx.example"}, {}, "sip:pbx.example"),
        ({"host": "pbx.example", "port": 5070, "transport": "tcp"}, {}, "sip:pbx.example:5070;transport=tcp"),
        ({"host": "pbx.example"}, {"registrar": "reg.example", "port": 5080}, "sip:reg.example:5080"),
        ({"host": "pbx.example"}, {"port": 5080}, "sip:pbx.example:5080"),
        ({"host": "2001:db8::1"}, {}, "sip:[2001:db8::1]"),
    ],
)
def test_where_it_registers(outbound: dict[str, Any], registration: dict[str, Any] | None, registrar: str) -> None:
    made = account(trunk(outbound=outbound, registration=registration), "sip:x@y")
    assert made.registrar == registrar


def test_credentials_are_not_shown() -> None:
    made = account(trunk(outbound={"host": "pbx.example", "username": "gw", "password": "hush"}), "sip:x@y")
    assert (made.username, made.password, made.uri) == ("gw", "hush", "sip:gw@pbx.example")
    assert "hush" not in repr(made)


@pytest.mark.parametrize(
    ("fields", "user", "uri"),
    [
        ({}, None, "sip:glotgate@pbx.example"),
        ({"from_user": "line1", "from_domain": "tenant.example"}, None, "sip:line1@tenant.example"),
        ({"from_domain": "tenant.example"}, "200", "sip:200@tenant.example"),
        ({}, "sip:anna@elsewhere.example", "sip:anna@elsewhere.example"),
    ],
)
def test_who_we_are_on_a_call(fields: dict[str, Any], user: str | None, uri: str) -> None:
    assert from_uri(out(**fields), user) == uri


def test_whom_we_call() -> None:
    assert request_uri(out(port=5070, transport="tls"), "200") == "sip:200@pbx.example:5070;transport=tls"
    assert request_uri(out(), "+1555") == "sip:+1555@pbx.example"


def test_whose_names_have_to_be_looked_up() -> None:
    trunks = (
        trunk(),
        trunk(outbound={"host": "192.0.2.1"}),
        trunk(outbound={"host": "2001:db8::1"}, registration={"registrar": "reg.example"}),
        Trunk(name="in", allow=("10.0.0.0/8",)),
    )
    assert hosts(trunks) == {"pbx.example", "reg.example"}
