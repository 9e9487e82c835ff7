"""Who is let in, by which trunk, and why not."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from gateway.config import Sip
from gateway.sip.admission import MAX_FOUND, Admission, TrunkTable
from gateway.sip.digest import ALGORITHMS, parse, response
from gateway.sip.headers import Message
from gateway.sip.sources import Report
from gateway.sip.stack import DROP, LET_IN, Verdict
from gateway.trunks import Trunk

URI = "sip:100@gw.example"
USER = {"username": "pbx", "password": "secret"}


def trunk(name: str = "pbx", **given: Any) -> Trunk:
    return Trunk.model_validate({"name": name, **given})


class Rig:
    """Admission with a clock, and a caller who answers challenges."""

    def __init__(self, *trunks: Trunk, **sip: Any) -> None:
        salts = (number.to_bytes(8, "big") for number in count())
        self.admission = Admission(trunks, Sip.model_validate(sip), b"k" * 32, lambda: next(salts))
        self.now = 1000.0
        self.running: dict[str, int] = {}
        self.counters: list[str] = []
        self.last: dict[str, str] = {}

    def invite(
        self, source: str, *, password: str = "", user: str = "pbx", algorithm: str = "SHA-256", transport: str = "udp"
    ) -> Verdict:
        """One INVITE; with a password, and once more after a challenge."""
        verdict = self._send(source, "", transport)
        if verdict.code == 401 and password:
            verdict = self._send(source, self.answer(verdict, user, password, algorithm), transport)
        return verdict

    def _send(self, source: str, authorization: str, transport: str = "udp") -> Verdict:
        ruling = self.admission.source(source, transport, self.now)
        self.counters += ruling.counters
        if ruling.verdict is not LET_IN:
            return ruling.verdict
        message = Message("", (("authorization", authorization),) if authorization else (), "")
        running = lambda name: self.running.get(name, 0)  # noqa: E731
        admitted = self.admission.call(ruling, source, URI, message, self.now, running)
        self.counters += admitted.counters
        return admitted.verdict

    def options(self, source: str, authorization: str = "") -> Verdict:
        ruling = self.admission.source(source, "udp", self.now)
        message = Message("", (("authorization", authorization),) if authorization else (), "")
        admitted = self.admission.options(ruling, source, URI, message, self.now)
        self.counters += admitted.counters
        return admitted.verdict

    def again(self, source: str) -> Verdict:
        """The last credentials once more."""
        return self._send(source, self.last["authorization"])

    def answer(self, verdict: Verdict, user: str, password: str, algorithm: str, method: str = "INVITE") -> str:
        offered = [parse(value) or {} for value in verdict.challenges]
        challenge = next(one for one in offered if one["algorithm"] == algorithm)
        given = {
            "username": user,
            "realm": challenge["realm"],
            "nonce": challenge["nonce"],
            "uri": URI,
            "algorithm": algorithm,
            "qop": "auth",
            "nc": "00000001",
            "cnonce": "abc",
        }
        ha1 = ALGORITHMS[algorithm](f"{user}:{given['realm']}:{password}".encode()).hexdigest()
        given["response"] = response(ha1, given, method, algorithm)
        self.last["authorization"] = "Digest " + ", ".join(f'{name}="{value}"' for name, value in given.items())
        return self.last["authorization"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("10.1.2.3", "host"),
        ("10.1.2.4", "site"),
        ("10.9.9.9", "wide"),
        ("::ffff:10.1.2.3", "host"),
        ("2001:db8::1", "six"),
        ("2001:db8::1%eth0", "six"),
        ("192.0.2.1", None),
        ("no address", None),
    ],
)
def test_the_longest_network_serves(source: str, expected: str | None) -> None:
    table = TrunkTable(
        [
            trunk("wide", allow=["10.0.0.0/8"]),
            trunk("six", allow=["2001:db8::/32"]),
            trunk("host", allow=["10.1.2.3"]),
            trunk("site", allow=["10.1.0.0/16"]),
        ]
    )
    found, known = table.lookup(source, "udp")
    assert ([one.name for one in found], known) == ([expected], True) if expected else ([], False)


def test_a_transport_that_a_trunk_does_not_take_is_not_its_own() -> None:
    table = TrunkTable([trunk("sealed", allow=["10.0.0.1"], transports=["tls"]), trunk("rest", allow=["10.0.0.0/8"])])
    assert table.lookup("10.0.0.1", "tls")[0][0].name == "sealed"
    assert table.lookup("10.0.0.1", "udp")[0][0].name == "rest"
    alone = TrunkTable([trunk("sealed", allow=["10.0.0.1"], transports=["tls"])])
    assert alone.lookup("10.0.0.1", "udp") == ((), False)


def test_the_whole_internet_is_no_name() -> None:
    found, known = TrunkTable([trunk(allow=["0.0.0.0/0"])]).lookup("192.0.2.1", "udp")
    assert ([one.name for one in found], known) == (["pbx"], False)


@pytest.mark.parametrize(("source", "code"), [("127.0.0.1", 0), ("192.168.1.9", 0), ("fd00::5", 0), ("8.8.8.8", 403)])
def test_without_trunks_private_addresses_are_let_in(source: str, code: int) -> None:
    verdict = Rig().invite(source)
    assert (verdict.code, verdict.account) == (code, "" if code else "default")


@pytest.mark.parametrize(("unknown", "expected"), [("reject", Verdict(403)), ("drop", DROP)])
def test_an_address_that_nobody_named(unknown: str, expected: Verdict) -> None:
    rig = Rig(trunk(allow=["10.0.0.1"]), unknown_source=unknown)
    assert rig.invite("192.0.2.1") == expected
    assert rig.counters == ["source_refused"]
    assert rig.admission.reports(rig.now) == [Report("192.0.2.1", "not_allowed", 1, scanner=False)]


def test_an_allowed_address_needs_no_more() -> None:
    rig = Rig(trunk(allow=["10.0.0.1"]))
    assert rig.invite("10.0.0.1") == Verdict(0, account="pbx")
    assert rig.counters == []


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize("allow", [[], ["10.0.0.1"]])
def test_a_password_is_asked_for_and_taken(algorithm: str, allow: list[str]) -> None:
    rig = Rig(trunk(allow=allow, credentials=[USER]))
    challenge = rig.invite("10.0.0.1")
    offered = [(parse(value) or {})["algorithm"] for value in challenge.challenges]
    assert (challenge.code, offered) == (401, ["SHA-256", "MD5"])
    assert rig.invite("10.0.0.1", password="secret", algorithm=algorithm) == Verdict(0, account="pbx")
    assert rig.counters == ["challenged", "challenged", "digest_accepted"]


def test_the_address_comes_before_the_password() -> None:
    rig = Rig(trunk(allow=["10.0.0.1"], credentials=[USER]))
    assert rig.invite("10.0.0.2", password="secret").code == 403
    assert rig.counters == ["source_refused"]


def test_credentials_are_good_once() -> None:
    rig = Rig(trunk(credentials=[USER]))
    assert rig.invite("192.0.2.1", password="secret").code == 0
    replayed = rig.again("192.0.2.1")
    assert replayed.code == 401
    assert all("stale=true" in value for value in replayed.challenges)
    assert rig.counters[-1] == "digest_replayed"


def test_a_nonce_ages_as_configured() -> None:
    rig = Rig(trunk(credentials=[USER]), admission={"nonce_lifetime_s": 10})
    authorization = rig.answer(rig.invite("192.0.2.1"), "pbx", "secret", "SHA-256")
    rig.now += 11
    assert "stale=true" in rig._send("192.0.2.1", authorization).challenges[0]


def test_several_users_of_one_network_have_their_own_trunks() -> None:
    a = trunk("a", allow=["10.0.0.0/8"], credentials=[{"username": "alice", "password": "one"}])
    b = trunk("b", allow=["10.0.0.0/8"], credentials=[{"username": "bob", "password": "two"}])
    rig = Rig(a, b)
    assert rig.invite("10.0.0.1", user="alice", password="one").account == "a"
    assert rig.invite("10.0.0.1", user="bob", password="two").account == "b"
    assert rig.invite("10.0.0.1", user="bob", password="one").code == 401


def test_a_guesser_becomes_a_scanner() -> None:
    rig = Rig(trunk(credentials=[USER]), admission={"strikes": 4, "drop_s": 60})
    codes = [rig.invite("192.0.2.1", password=f"guess{number}").code for number in range(6)]
    assert codes == [401, 401, 401, 401, -1, -1]
    assert rig.invite("192.0.2.2").code == 401
    rig.now += 61
    assert rig.invite("192.0.2.1", password="secret").code == 0
    assert rig.counters.count("scanners_found") == 1


def test_a_wrong_password_behind_the_allow_list_is_told_and_not_dropped() -> None:
    rig = Rig(trunk(allow=["10.0.0.1"], credentials=[USER]), admission={"strikes": 1})
    assert [rig.invite("10.0.0.1", password="wrong").code for _ in range(5)] == [401] * 5
    assert rig.admission.reports(rig.now) == [Report("10.0.0.1", "digest_wrong", 5, scanner=False)]
    assert rig.invite("10.0.0.1", password="secret").code == 0


def test_a_flood_without_passwords_ends_at_the_drop_list() -> None:
    rig = Rig(trunk(credentials=[USER]), admission={"per_source_per_s": 10, "burst": 20, "strikes": 5})
    codes = [rig.invite("192.0.2.1").code for _ in range(100)]
    assert codes == [401] * 20 + [503] * 5 + [-1] * 75
    assert rig.counters.count("source_dropped") == 75


def test_who_shows_the_password_may_come_as_often_as_he_likes() -> None:
    rig = Rig(trunk(credentials=[USER]), admission={"per_source_per_s": 1, "burst": 10})
    for _ in range(100):
        rig.now += 0.02
        assert rig.invite("192.0.2.1", password="secret").code == 0


def test_options_are_answered_to_who_shows_the_password_and_to_who_was_named() -> None:
    rig = Rig(trunk(credentials=[USER]), trunk("near", allow=["10.0.0.1"], credentials=[USER]))
    challenged = rig.options("192.0.2.1")
    assert (challenged.code, len(challenged.challenges)) == (401, 2)
    of_an_invite = rig.answer(challenged, "pbx", "secret", "MD5")
    assert rig.options("192.0.2.1", of_an_invite).code == 401
    challenged = rig.options("192.0.2.1")
    assert rig.options("192.0.2.1", rig.answer(challenged, "pbx", "secret", "MD5", "OPTIONS")).code == 0
    assert rig.options("10.0.0.1").code == 0
    assert rig.counters == ["challenged", "digest_wrong", "challenged", "digest_accepted"]


def test_a_known_address_may_come_as_often_as_it_likes() -> None:
    rig = Rig(trunk(allow=["10.0.0.1"]), admission={"per_source_per_s": 1, "burst": 1})
    assert {rig.invite("10.0.0.1").code for _ in range(1000)} == {0}


def test_a_full_trunk() -> None:
    rig = Rig(trunk(allow=["10.0.0.1"], max_calls=2), trunk("other", allow=["10.0.0.2"]), retry_after_s=7)
    rig.running = {"pbx": 1}
    assert rig.invite("10.0.0.1").code == 0
    rig.running = {"pbx": 2}
    assert rig.invite("10.0.0.1") == Verdict(503, headers={"Retry-After": "7"})
    assert rig.invite("10.0.0.2").code == 0
    assert rig.counters == ["trunk_full"]
    assert rig.admission.reports(rig.now)[0].reason == "trunk_full"


def test_a_trunk_that_calls_too_often() -> None:
    rig = Rig(trunk(allow=["10.0.0.1"], max_calls_per_s=2))
    assert [rig.invite("10.0.0.1").code for _ in range(4)] == [0, 0, 503, 503]
    rig.now += 0.5
    assert [rig.invite("10.0.0.1").code for _ in range(2)] == [0, 503]


def test_capacity_comes_after_the_password() -> None:
    rig = Rig(trunk(credentials=[USER], max_calls=1))
    rig.running = {"pbx": 1}
    assert rig.invite("192.0.2.1").code == 401
    assert rig.invite("192.0.2.1", password="secret").code == 503


def test_who_tries_numbers_is_a_scanner_unless_he_is_known() -> None:
    rig = Rig(trunk(allow=["10.0.0.1"]), trunk("open", allow=["0.0.0.0/0"]), admission={"strikes": 3})
    told = [rig.admission.no_such_number("192.0.2.1", rig.now) for _ in range(3)]
    assert told == [(), (), ("scanners_found",)]
    assert rig.invite("192.0.2.1") is DROP
    assert [rig.admission.no_such_number("10.0.0.1", rig.now) for _ in range(9)] == [()] * 9
    assert rig.invite("10.0.0.1").code == 0


def test_another_configuration_under_running_calls() -> None:
    rig = Rig(trunk(credentials=[USER]), admission={"strikes": 1})
    rig.invite("192.0.2.1", password="wrong")
    authorization = rig.answer(rig.invite("192.0.2.2"), "pbx", "secret", "MD5")
    rig.admission.reconfigure([trunk(credentials=[USER]), trunk("new", allow=["192.0.2.3"])], Sip())
    assert rig.invite("192.0.2.1") is DROP
    assert rig._send("192.0.2.2", authorization).code == 0
    assert rig.invite("192.0.2.3").account == "new"
    rig.admission.reconfigure([trunk("new", allow=["192.0.2.1"])], Sip())
    assert rig.invite("192.0.2.1").account == "new"


def test_a_cancel_costs_nothing() -> None:
    rig = Rig(trunk(credentials=[USER]), admission={"burst": 1, "per_source_per_s": 0.1})
    assert rig.invite("192.0.2.1").code == 401
    assert rig.admission.source("192.0.2.1", "udp", rig.now, costs=False).verdict is LET_IN
    assert rig.admission.source("192.0.2.1", "udp", rig.now).verdict.code == 503


def test_what_is_remembered_of_sources_is_bounded_and_goes_with_the_configuration() -> None:
    table = TrunkTable((trunk(allow=["10.0.0.0/8"]),))
    for number in range(MAX_FOUND + 10):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        assert table.lookup(address, "udp") == table.lookup(address, "udp") == ((table.trunks[0],), True)
    assert len(table._found) <= MAX_FOUND
    rig = Rig(trunk(allow=["10.0.0.1"]))
    assert rig.invite("10.0.0.1").code == 0
    rig.admission.reconfigure((trunk(allow=["10.0.0.2"]),), Sip())
    assert rig.invite("10.0.0.1").code == 403
