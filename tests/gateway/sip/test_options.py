"""What the stack is told of the configuration."""

import pytest

from gateway.config import Config
from gateway.sip import options
from gateway.sip.stack import Bind, Listening, TlsOptions

THIRD = {"address": "[::1]:5062", "advertise": "x.example"}
TLS = {"certificate": "/c.pem", "key": "/k.pem", "ca_file": "/a.pem", "client_certificates": "required"}


def of(**sip):
    return options.of(Config.model_validate({"sip": sip, "media": {"capacity": 8}}))


def test_the_default_listens_on_udp_and_tcp_and_taps_the_wire():
    told = of()
    assert told.binds == (Bind("udp", "0.0.0.0", 5060), Bind("tcp", "0.0.0.0", 5060))
    assert (told.tls, told.keepalive_s, told.tapped) == (None, 60, True)
    assert told.max_calls == 10 + options.SPARE_CALLS


def test_an_advertised_address_is_that_of_its_family_only():
    binds = [{"address": "0.0.0.0:5060"}, {"address": "[::1]:5061"}, THIRD]
    assert [bind.advertise for bind in of(bind=binds, advertise="192.0.2.1").binds] == ["192.0.2.1", "", "x.example"]
    assert [bind.advertise for bind in of(bind=binds, advertise="2001:db8::1").binds] == [
        "",
        "2001:db8::1",
        "x.example",
    ]
    assert [bind.advertise for bind in of(bind=binds, advertise="gw.example").binds] == [
        *["gw.example"] * 2,
        "x.example",
    ]


def test_tls_files_are_told_when_a_transport_wants_them():
    assert of(tls=TLS).tls is None
    told = of(bind=[{"transport": "tls", "address": "127.0.0.1:5061"}], tls=TLS)
    assert told.tls == TlsOptions("/c.pem", "/k.pem", "/a.pem", "required", "tls1.2")


@pytest.mark.parametrize(
    ("version", "built", "max_calls", "fit"),
    [("2.17", 4096, 4096 - options.SPARE_CALLS, True), ("2.15.1", 4, 4, False), ("2.16-svn", 4096, 3968, False)],
)
def test_a_small_or_old_build_is_not_fit_for_a_network(version, built, max_calls, fit):
    told = options.ready(Listening(["udp 127.0.0.1:5060"], version, built, True))
    assert (told.max_calls, told.fit_for_network, told.listening) == (max_calls, fit, ["udp 127.0.0.1:5060"])


def test_without_a_trace_nothing_is_tapped():
    assert not of(trace={"memory_kb": 0}).tapped
    assert of(trace={"memory_kb": 0, "homer": {"address": "192.0.2.9:9060"}}).tapped
