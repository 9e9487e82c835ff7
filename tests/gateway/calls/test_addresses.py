"""Which address of ours a peer is told."""

from __future__ import annotations

import pytest

from gateway.calls.addresses import MAX_REMEMBERED, Addresses, Advertiser
from gateway.config import Media


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


def _towards(source: str, connection: str | None, **media: str) -> str:
    offer = None if connection is None else f"v=0\r\nc=IN {connection}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    return Addresses(Media.model_validate(media)).towards(source, offer)


BOTH = {"bind": "192.0.2.1", "bind6": "2001:db8::1"}


@pytest.mark.parametrize(
    ("source", "connection", "told"),
    [
        ("198.51.100.1:5060", "IP4 198.51.100.2", "192.0.2.1"),
        ("198.51.100.1:5060", "IP6 2001:db8::2", "2001:db8::1"),
        ("[2001:db8::9]:5060", "IP4 198.51.100.2", "192.0.2.1"),
        ("[2001:db8::9]:5060", None, "2001:db8::1"),
        ("198.51.100.1:5060", None, "192.0.2.1"),
        ("198.51.100.1:5060", "IP4 pbx.example", "192.0.2.1"),
        ("198.51.100.1:5060", "IP4 224.2.1.1/127", "192.0.2.1"),
        ("nobody", None, "192.0.2.1"),
    ],
)
def test_the_family_is_the_offers_else_the_signallings(source: str, connection: str | None, told: str) -> None:
    assert _towards(source, connection, **BOTH) == told


def test_each_family_has_its_own_advertised_address() -> None:
    media = {"bind": "0.0.0.0", "advertise": "203.0.113.5", "bind6": "::", "advertise6": "2001:db8::5"}
    assert _towards("127.0.0.1:1", "IP6 ::1", **media) == "2001:db8::5"
    assert _towards("[::1]:1", "IP4 127.0.0.1", **media) == "203.0.113.5"


def test_with_one_family_it_is_that_one() -> None:
    assert _towards("127.0.0.1:1", "IP6 ::1", bind="192.0.2.1") == "192.0.2.1"
    assert _towards("127.0.0.1:1", "IP4 127.0.0.1", bind="2001:db8::1") == "2001:db8::1"


def test_the_route_is_that_of_the_media_when_the_signalling_goes_another_way() -> None:
    assert _towards("127.0.0.1:5060", "IP6 ::1", bind="0.0.0.0", bind6="::") == "::1"


def test_a_mediums_own_address_comes_before_the_sessions() -> None:
    offer = "v=0\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP6 ::1\r\n"
    assert Addresses(Media.model_validate(BOTH)).towards("127.0.0.1:1", offer) == "2001:db8::1"
