"""Which address of ours a peer is told."""

from __future__ import annotations

import pytest

from gateway.calls.addresses import MAX_REMEMBERED, Advertiser


def test_the_configuration_decides() -> None:
    assert Advertiser("0.0.0.0", "203.0.113.5").towards("127.0.0.1:5060") == "203.0.113.5"
    assert Advertiser("192.0.2.3", None).towards("127.0.0.1:5060") == "192.0.2.3"
    assert Advertiser("192.0.2.3", "203.0.113.5").towards("127.0.0.1:5060") == "203.0.113.5"


@pytest.mark.parametrize("source", ["127.0.0.1:5060", "127.0.0.1", "127.8.8.8:1"])
def test_else_the_route_to_the_peer(source: str) -> None:
    assert Advertiser("0.0.0.0", None).towards(source).startswith("127.")


def test_a_peer_by_ipv6() -> None:
    assert Advertiser("::", None).towards("[::1]:5060") == "::1"


@pytest.mark.parametrize("source", ["", "pbx.example:5060", "1.2.3", "[::1"])
def test_a_source_that_is_no_address(source: str) -> None:
    assert Advertiser("0.0.0.0", None).towards(source) in ("0.0.0.0", "::1")


def test_what_is_remembered_is_bounded() -> None:
    advertiser = Advertiser("0.0.0.0", None)
    for i in range(MAX_REMEMBERED + 10):
        advertiser.towards(f"127.0.{i // 250}.{i % 250 + 1}:5060")
    assert len(advertiser._known) == MAX_REMEMBERED
