from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configfile import ConfigError, parse
from gateway.trunks import IMPLICIT, Credential, Outbound, Trunk, exposure, in_force, named

MD5 = hashlib.md5(b"pbx:glotgate:secret").hexdigest()
SHA256 = hashlib.sha256(b"pbx:glotgate:secret").hexdigest()


def trunk(**given: Any) -> Trunk:
    return Trunk.model_validate({"name": "pbx", "allow": ["192.0.2.10"], **given})


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", {"SECRET": "s3cret-in-the-environment"})
    return [f"{problem.line} {problem.path}: {problem.reason}" for problem in caught.value.problems]


def test_a_trunk_by_address_needs_no_more_than_a_name() -> None:
    assert trunk().sources == ("192.0.2.10/32",)
    assert trunk().algorithms == ()


def test_credentials_alone_are_good_from_anywhere() -> None:
    roaming = trunk(allow=[], credentials=[{"username": "pbx", "password": "secret"}])
    assert roaming.sources == ("0.0.0.0/0", "::/0")
    assert roaming.algorithms == ("SHA-256", "MD5")


def test_a_trunk_for_our_calls_alone_lets_nobody_in() -> None:
    assert trunk(allow=[], outbound={"host": "pbx.example"}).sources == ()


@pytest.mark.parametrize(
    ("hashes", "algorithms"),
    [
        ({"ha1_md5": MD5}, ("MD5",)),
        ({"ha1_sha256": SHA256}, ("SHA-256",)),
        ({"ha1_md5": MD5, "ha1_sha256": SHA256}, ("SHA-256", "MD5")),
    ],
)
def test_a_hash_serves_its_algorithm(hashes: dict[str, str], algorithms: tuple[str, ...]) -> None:
    assert Credential.model_validate({"username": "pbx", **hashes}).algorithms == algorithms


def test_the_challenge_offers_what_serves_every_user() -> None:
    users = [{"username": "a", "password": "x"}, {"username": "b", "ha1_md5": MD5}]
    assert trunk(credentials=users).algorithms == ("MD5",)
    users[1] = {"username": "b", "password": "y"}
    assert trunk(credentials=users, digest=["MD5"]).algorithms == ("MD5",)
    assert trunk(credentials=users, digest=["MD5", "SHA-256"]).algorithms == ("MD5", "SHA-256")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("[{name: pbx}]", "1 trunks[0].allow: nobody could use this trunk: give allow, credentials or outbound"),
        ("[{name: P B X, allow: [10.0.0.1]}]", "1 trunks[0].name: "),
        ("[{name: pbx, allow: [192.0.2.1/24]}]", "1 trunks[0].allow[0]: 192.0.2.1/24 has host bits set"),
        ("[{name: pbx, alow: [10.0.0.1]}]", "1 trunks[0].alow: unknown key; did you mean allow?"),
        (
            "[{name: pbx, allow: [10.0.0.1], pass_headers: [Via]}]",
            "1 trunks[0].pass_headers[0]: 'Via' is neither Reason",
        ),
        ("[{name: pbx, allow: [10.0.0.1], transports: []}]", "1 trunks[0].transports: "),
        ("[{name: pbx, allow: [10.0.0.1], registration: {}}]", "1 trunks[0].registration: needs outbound"),
        (
            "[{name: pbx, outbound: {host: pbx.example, username: me}}]",
            "1 trunks[0].outbound.password: is needed: username and password go together",
        ),
        (
            "[{name: pbx, outbound: {host: pbx.example, usrname: me}}]",
            "1 trunks[0].outbound.usrname: unknown key; did you mean username?",
        ),
        (
            "[{name: pbx, allow: [10.0.0.1], session_timer: {expires_s: 100, min_se_s: 200}}]",
            "1 trunks[0].session_timer.min_se_s: 200 is above expires_s 100",
        ),
        (
            "[{name: pbx, allow: [10.0.0.1], credentials: [{username: a}]}]",
            "1 trunks[0].credentials[0]: password, or ha1_md5 and ha1_sha256 (one or both)",
        ),
        (
            "[{name: pbx, allow: [10.0.0.1], credentials: [{username: a, password: x, ha1_md5: y}]}]",
            "1 trunks[0].credentials[0]: password, or ha1_md5 and ha1_sha256 (one or both)",
        ),
        (
            "[{name: pbx, credentials: [{username: a, password: x}, {username: a, password: y}]}]",
            "1 trunks[0].credentials[1].username: 'a' stands here twice",
        ),
        (
            f"[{{name: pbx, digest: [MD5], credentials: [{{username: a, ha1_sha256: {SHA256}}}]}}]",
            "1 trunks[0].credentials: none of MD5 serves all users",
        ),
        (
            "[{name: pbx, allow: [10.0.0.1]}, {name: pbx, allow: [10.0.0.2]}]",
            "1 trunks[1].name: 'pbx' is the name of trunks[0]",
        ),
        (
            "[{name: a, allow: [10.0.0.1]}, {name: b, allow: [10.0.0.1/32]}]",
            "1 trunks[1].allow: 10.0.0.1/32 belongs to trunk 'a' too: only credentials could tell them apart",
        ),
        (
            "[{name: a, credentials: [{username: u, password: x}]},"
            " {name: b, credentials: [{username: u, password: y}]}]",
            "1 trunks[1].credentials: user 'u' of 0.0.0.0/0 belongs to trunk 'a' too",
        ),
        (
            "[{name: a, credentials: [{username: u, password: x}]},"
            " {name: b, realm: other, credentials: [{username: v, password: y}]}]",
            "1 trunks[1].realm: trunk 'a' takes calls of 0.0.0.0/0 too: one realm",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(lines: str, expected: str) -> None:
    (problem,) = problems(f"trunks: {lines}")
    assert problem.startswith(expected)


def test_a_secret_that_is_wrong_is_not_told() -> None:
    for key in ("ha1_md5", "ha1_sha256"):
        found = "\n".join(
            problems(f"trunks: [{{name: pbx, credentials: [{{username: a, {key}: ${{SECRET}}}}]}}]")
            + problems(f"trunks: [{{name: pbx, credentials: [{{username: a, {key}: plain-s3cret}}]}}]")
        )
        assert "hex digits" in found
        assert "s3cret" not in found


def test_no_secret_is_shown() -> None:
    whole = trunk(
        credentials=[{"username": "pbx", "password": "s3cret"}],
        outbound={"host": "pbx.example", "username": "me", "password": "s3cret"},
    )
    assert "s3cret" not in repr(whole) + str(whole)


def test_trunks_may_share_a_network_with_users_of_their_own() -> None:
    text = """
trunks:
  - {name: a, allow: [192.0.2.0/24], credentials: [{username: u, password: x}]}
  - {name: b, allow: [192.0.2.0/24], credentials: [{username: v, password: y}]}
  - {name: c, allow: [192.0.0.0/16]}
  - {name: d, allow: [198.51.100.7], transports: [tls]}
  - {name: e, allow: [198.51.100.7], transports: [udp]}
"""
    assert [t.name for t in parse(text, "f", {}).trunks] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("patterns", "passed", "kept"),
    [
        (["X-*", "Reason"], ["X-Queue", "x-anything", "Reason"], ["Via", "P-Asserted-Identity", "X"]),
        (["X-Queue"], ["x-queue"], ["X-Queue-Id", "Reason"]),
        ([], [], ["X-Queue", "Reason"]),
    ],
)
def test_which_headers_pass(patterns: list[str], passed: list[str], kept: list[str]) -> None:
    some = trunk(pass_headers=patterns)
    assert [name for name in passed + kept if some.passes(name)] == passed


@given(st.text(max_size=30))
def test_no_header_of_the_stack_passes(name: str) -> None:
    if trunk().passes(name):
        assert name.lower().startswith("x-") or name.lower() == "reason"


def test_without_trunks_the_implicit_one_serves() -> None:
    assert in_force(()) == (IMPLICIT,)
    assert named((), "default") is IMPLICIT
    assert in_force([trunk()]) == (trunk(),)
    assert named([trunk()], "pbx") == trunk()
    assert named([trunk()], "default") is None


@pytest.mark.parametrize(
    ("trunks", "hosts", "said"),
    [
        ((), ("127.0.0.1", "::1", "localhost"), []),
        ((), ("127.0.0.1", "0.0.0.0"), ["no trunk is configured: whoever has a private address may call"]),
        ((trunk(),), ("0.0.0.0",), []),
        ((trunk(allow=["::/0"]),), ("::",), ["trunk 'pbx' takes calls from the whole internet without a password"]),
        ((trunk(allow=[], credentials=[{"username": "a", "password": "b"}]),), ("0.0.0.0",), []),
    ],
)
def test_who_may_call_though_nobody_was_named(trunks: tuple[Trunk, ...], hosts: list[str], said: list[str]) -> None:
    told = exposure(trunks, hosts)
    assert len(told) == len(said)
    assert all(line.startswith(beginning) for line, beginning in zip(told, said, strict=True))


@pytest.mark.parametrize(
    ("outbound", "expected"),
    [
        ({"host": "pbx.example"}, "pbx.example"),
        ({"host": "pbx.example", "port": 5070}, "pbx.example:5070"),
        ({"host": "2001:db8::1", "port": 5070}, "[2001:db8::1]:5070"),
    ],
)
def test_where_calls_go(outbound: dict[str, Any], expected: str) -> None:
    assert Outbound.model_validate(outbound).authority == expected
