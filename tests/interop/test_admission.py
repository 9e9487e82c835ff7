"""Who is let in, asked of the real daemon by SIPp from several addresses of this host."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.daemon import Daemon

from gateway.sip.digest import ALGORITHMS, parse, response
from tests.support.sip import OFFER, Peer
from tests.support.sipp import Calls, calling, unanswered

HA1 = b"pbx:glotgate:secret"
TRUNKS = [
    {"name": "both", "allow": ["127.0.0.1"], "credentials": [{"username": "pbx", "password": "secret"}]},
    {
        "name": "hashed",
        "allow": ["127.0.0.2"],
        "credentials": [{"username": "pbx", "ha1_md5": hashlib.md5(HA1).hexdigest()}],
        "transports": ["tcp", "udp"],
    },
    {"name": "small", "allow": ["127.0.0.3"], "max_calls": 2},
    {"name": "slow", "allow": ["127.0.0.4"], "max_calls_per_s": 3},
    {"name": "roaming", "credentials": [{"username": "pbx", "password": "secret"}], "digest": ["MD5"]},
    {"name": "nobody", "allow": ["127.0.0.64/26"], "transports": ["tls"]},
]
ROUTES = [{"name": "all", "user": "100", "mode": "bidirectional_translation", "trunk": "(?!nobody).*"}]
ADMISSION = {"per_source_per_s": 5, "burst": 20, "strikes": 5, "drop_s": 600}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Daemon]:
    changes = {"trunks": TRUNKS, "routes": ROUTES, "sip": {"admission": ADMISSION}}
    with Daemon(capacity=16, changes=changes) as running:
        yield running


@pytest.fixture(scope="module")
def closed() -> Iterator[Daemon]:
    """A daemon that does not speak to strangers."""
    changes = {"trunks": TRUNKS[2:3], "routes": ROUTES, "sip": {"unknown_source": "drop"}}
    with Daemon(capacity=4, changes=changes) as running:
        yield running


def counted(daemon: Daemon, event: str) -> float:
    return daemon.metrics()[f'glotgate_sip_agent_events_total{{event="{event}"}}']


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def lines(daemon: Daemon, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def test_a_caller_with_the_right_password_is_let_in(guarded: Daemon, tmp_path: Path) -> None:
    calls = Calls(tmp_path, guarded.sip_address, calling(authenticated=True), source="127.0.0.2", count=5)
    assert calls.done() == (5, 0)
    assert "algorithm=SHA-256" not in calls.messages()  # only the hash of the other is kept


def test_a_wrong_password_is_asked_for_again(guarded: Daemon, tmp_path: Path) -> None:
    scenario = calling(authenticated=True, ends=401)
    calls = Calls(tmp_path, guarded.sip_address, scenario, source="127.0.0.2", password="guess")
    assert calls.done() == (1, 0)
    until(lambda: bool([line for line in lines(guarded, "sip_source_refused") if line["reason"] == "digest_wrong"]))
    assert "guess" not in guarded.log.read_text()
    assert "secret" not in guarded.log.read_text()


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_both_algorithms_are_offered_and_taken_once(guarded: Daemon, algorithm: str) -> None:
    peer = Peer(int(guarded.sip_address.rpartition(":")[2]))
    peer.send(peer.request("INVITE", OFFER, user="100"))
    challenged = peer.expect("401")
    offered = [parse(value) or {} for value in challenged.all("www-authenticate")]
    assert [one["algorithm"] for one in offered] == ["SHA-256", "MD5"]
    peer.to_tag = ""
    challenge = next(one for one in offered if one["algorithm"] == algorithm)
    given = {"username": "pbx", "realm": challenge["realm"], "nonce": challenge["nonce"], "qop": "auth"}
    given |= {"uri": f"sip:100@{peer.there}", "algorithm": algorithm, "nc": "00000001", "cnonce": "c"}
    ha1 = ALGORITHMS[algorithm](HA1).hexdigest()
    given["response"] = response(ha1, given, "INVITE", algorithm)
    credentials = "Authorization: Digest " + ", ".join(f'{key}="{value}"' for key, value in given.items()) + "\r\n"
    invite = peer.request("INVITE", OFFER, user="100", extra=credentials)
    peer.send(invite)
    peer.expect("200")
    peer.send(peer.request("ACK", user="100"))
    peer.send(peer.request("BYE", user="100"))
    peer.expect("200")
    # Somebody who has read that INVITE sends it as his own
    thief = Peer(int(guarded.sip_address.rpartition(":")[2]))
    thief.send(thief.request("INVITE", OFFER, user="100", extra=credentials))
    again = thief.expect("401")
    assert "stale=true" in (again.get("www-authenticate") or "")
    peer.close()
    thief.close()


def test_an_address_that_no_trunk_takes_is_refused(guarded: Daemon, tmp_path: Path) -> None:
    calls = Calls(tmp_path, guarded.sip_address, calling(ends=403), source="127.0.0.65")
    # The network of the trunk that wants TLS does not take UDP; the one for anybody asks for a password
    assert calls.done() == (0, 1)
    assert "SIP/2.0 401" in calls.messages()


def test_a_stranger_gets_no_word(closed: Daemon, tmp_path: Path) -> None:
    calls = Calls(tmp_path, closed.sip_address, unanswered(), source="127.0.0.9", count=3)
    calls.done()
    assert (calls.messages().count("message sent"), calls.messages().count("message received")) == (3, 0)
    until(lambda: counted(closed, "source_refused") == 3)
    until(lambda: bool(lines(closed, "sip_source_refused")))
    assert lines(closed, "sip_source_refused")[0]["source"] == "127.0.0.9"


def test_a_trunk_takes_no_more_calls_than_it_may(guarded: Daemon, tmp_path: Path) -> None:
    staying = Calls(
        tmp_path / "two", guarded.sip_address, calling(stays_ms=2500), source="127.0.0.3", count=2, per_s=50
    )
    until(lambda: guarded.metrics()["glotgate_calls_active"] == 2)
    refused = Calls(tmp_path / "third", guarded.sip_address, calling(ends=503), source="127.0.0.3")
    assert refused.done() == (1, 0)
    assert "Retry-After: 5" in refused.messages()
    assert staying.done() == (2, 0)
    until(lambda: guarded.metrics()["glotgate_calls_active"] == 0)
    assert Calls(tmp_path / "later", guarded.sip_address, calling(), source="127.0.0.3").done() == (1, 0)
    assert counted(guarded, "trunk_full") == 1


def test_a_trunk_takes_calls_no_faster_than_it_may(guarded: Daemon, tmp_path: Path) -> None:
    calls = Calls(tmp_path, guarded.sip_address, calling(), source="127.0.0.4", count=8, per_s=100)
    answered, refused = calls.done()
    assert answered + refused == 8
    assert 3 <= answered <= 5
    until(lambda: counted(guarded, "trunk_limited") >= refused)


def test_a_flood_is_not_even_answered(guarded: Daemon, tmp_path: Path) -> None:
    calls = Calls(tmp_path, guarded.sip_address, calling(ends=401), source="127.0.0.9", count=400, per_s=400)
    calls.done()
    until(lambda: counted(guarded, "source_dropped") > 300)
    until(lambda: bool(lines(guarded, "sip_scanner")))
    assert counted(guarded, "scanners_found") == 1
    (told,) = [line for line in lines(guarded, "sip_scanner") if line["source"] == "127.0.0.9"]
    assert told["reason"] == "too_many"
    # Who behaves is served meanwhile, also by the same trunk
    other = Calls(tmp_path / "other", guarded.sip_address, calling(authenticated=True), source="127.0.0.10")
    assert other.done() == (1, 0)
