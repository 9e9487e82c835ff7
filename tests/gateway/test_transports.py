"""The sections of transports: what must hold between their keys, and that an error names the right one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import Config
from gateway.configfile import ConfigError, parse

TLS = "tls: {certificate: /c.pem, key: /k.pem}"


def _problems(sip: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as raised:
        parse(f"sip:\n  {sip}\n", "f", {})
    return [(problem.line, problem.path) for problem in raised.value.problems]


def _config(sip: dict[str, Any]) -> Config:
    return Config.model_validate({"sip": sip})


def test_a_tls_transport_takes_a_certificate_and_a_key() -> None:
    bind = [{"transport": "tls", "address": "[::1]:5061", "advertise": "gw.example"}]
    config = _config({"bind": bind, "tls": {"certificate": "/c.pem", "key": "/k.pem"}})
    assert (config.sip.bind[0].advertise, config.sip.tls.minimum) == ("gw.example", "tls1.2")


@pytest.mark.parametrize(
    ("sip", "blamed"),
    [
        ("bind: [{transport: tls}]", "sip.tls.certificate"),
        ("tls: {certificate: /c.pem}", "sip.tls.key"),
        ("tls: {key: /k.pem}", "sip.tls.certificate"),
        ("tls: {client_certificates: required}", "sip.tls.ca_file"),
        ("tls: {minimum: tls1.1}", "sip.tls.minimum"),
        ("bind: [{transport: sctp}]", "sip.bind[0].transport"),
        ("trace: {homer: {address: nowhere}}", "sip.trace.homer.address"),
    ],
)
def test_what_does_not_go_together_names_the_key_and_a_line(sip: str, blamed: str) -> None:
    assert _problems(sip) == [(2, blamed)]


def test_lateness_is_measured_at_a_bound_of_the_loops_histogram() -> None:
    from typing import get_args

    from gateway.transports import Overload
    from rtp.control import LATENESS_BOUNDS_US

    for value in get_args(Overload.model_fields["late_ms"].annotation):
        assert value * 1000 in LATENESS_BOUNDS_US
