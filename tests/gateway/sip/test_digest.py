"""Digest: the RFC's own examples, and every way to be refused."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import digest
from gateway.sip.digest import ALGORITHMS, Digest, Outcome, Secret, parse, response

KEY, SALT, REALM, BOTH = b"k" * 32, b"saltsalt", "gw", ("SHA-256", "MD5")
URI = "sip:sess_1@gw.example"


def ha1(user, realm, password, algorithm):
    return ALGORITHMS[algorithm](f"{user}:{realm}:{password}".encode()).hexdigest()


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm, expected):
    given = {
        "uri": "/dir/index.html",
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "nc": "00000001",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        "qop": "auth",
    }
    known = ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm)
    assert response(known, given, "GET", algorithm) == expected


class Client:
    """A user agent that answers challenges, and can be made to do it wrong."""

    def __init__(self, server, now=1000.0, algorithm="SHA-256", password="secret"):
        challenges = [parse(value) for value in server.challenge(REALM, BOTH, now, SALT)]
        self.challenge = next(c for c in challenges if c["algorithm"] == algorithm)
        self.password = password
        self.count = 0

    def authorization(self, **changed):
        self.count += 1
        given = {
            "username": "pbx",
            "realm": self.challenge["realm"],
            "nonce": self.challenge["nonce"],
            "uri": URI,
            "algorithm": self.challenge["algorithm"],
            "qop": "auth",
            "nc": f"{self.count:08x}",
            "cnonce": "abc",
        } | changed
        known = ha1(given["username"], given["realm"], self.password, self.challenge["algorithm"])
        given.setdefault("response", response(known, given, "INVITE", self.challenge["algorithm"]))
        bare = ("nc", "qop", "algorithm")
        parts = [f"{k}={v}" if k in bare else f'{k}="{v}"' for k, v in given.items() if v is not None]
        return "Digest " + ", ".join(parts)


def users(name):
    return Secret(password="secret") if name == "pbx" else None


@pytest.fixture
def server():
    return Digest(KEY)


def verify(server, value, now=1000.0, method="INVITE", uri=URI, lookup=users):
    return server.verify([value] if value else [], REALM, method, uri, now, lookup).outcome


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_right_password_is_accepted_each_count_once(server, algorithm):
    client = Client(server, algorithm=algorithm)
    first, second = client.authorization(), client.authorization()
    assert verify(server, first) is Outcome.ACCEPTED
    assert verify(server, first) is Outcome.REPLAYED
    assert verify(server, second) is Outcome.ACCEPTED
    assert verify(server, first) is Outcome.REPLAYED


def test_a_hashed_secret_is_enough(server):
    stored = Secret(ha1={"SHA-256": ha1("pbx", REALM, "secret", "SHA-256").upper()})
    assert verify(server, Client(server).authorization(), lookup=lambda _: stored) is Outcome.ACCEPTED
    assert "secret" not in repr(Secret(password="secret"))


@pytest.mark.parametrize(("kept", "used"), [("SHA-256", "MD5"), ("MD5", "SHA-256")])
def test_a_hash_of_one_algorithm_says_nothing_of_the_other(server, kept, used):
    stored = Secret(ha1={kept: ha1("pbx", REALM, "secret", kept)})
    for guess in ("secret", ""):  # what is not kept must not count as an empty password
        client = Client(server, algorithm=used, password=guess)
        assert verify(server, client.authorization(), lookup=lambda _: stored) is Outcome.WRONG


def test_a_user_without_any_secret_can_not_come_in(server):
    client = Client(server, password="")
    assert verify(server, client.authorization(), lookup=lambda _: Secret()) is Outcome.WRONG


def test_a_nonce_of_another_realm_is_stale(server):
    theirs = parse(server.challenge("other", BOTH, 1000.0, SALT)[0])["nonce"]
    assert verify(server, Client(server).authorization(nonce=theirs)) is Outcome.STALE


def test_only_what_was_asked_for_is_offered(server):
    assert [parse(c)["algorithm"] for c in server.challenge(REALM, ["MD5"], 1.0, SALT)] == ["MD5"]


def test_the_strongest_is_offered_first(server):
    challenges = [parse(value) for value in server.challenge(REALM, BOTH, 1.0, SALT)]
    assert [c["algorithm"] for c in challenges] == ["SHA-256", "MD5"]
    assert all(c["qop"] == "auth" for c in challenges)
    assert "stale=true" in server.challenge(REALM, BOTH, 1.0, SALT, stale=True)[0]


def test_an_algorithm_that_is_not_named_is_md5(server):
    client = Client(server, algorithm="MD5")
    assert verify(server, client.authorization(algorithm=None)) is Outcome.ACCEPTED


def test_a_nonce_grows_old(server):
    client = Client(server, now=1000.0)
    assert verify(server, client.authorization(), now=1299.9) is Outcome.ACCEPTED
    assert verify(server, client.authorization(), now=1300.1) is Outcome.STALE
    assert verify(server, client.authorization(), now=999.0) is Outcome.STALE


def test_a_nonce_of_another_key_is_stale_and_a_made_up_one_too(server):
    client = Client(Digest(b"other" * 8))
    assert verify(server, client.authorization()) is Outcome.STALE
    assert verify(server, Client(server).authorization(nonce="made up")) is Outcome.STALE


def test_a_wrong_password_learns_nothing_of_the_nonce(server):
    wrong = Client(server, password="guess")
    assert verify(server, wrong.authorization()) is Outcome.WRONG
    assert verify(server, wrong.authorization(), now=9999.0) is Outcome.WRONG
    assert verify(server, Client(server).authorization(username="nobody")) is Outcome.WRONG


@pytest.mark.parametrize(
    "changed",
    [
        {"qop": "auth-int"},
        {"nc": "1"},
        {"nc": "zzzzzzzz"},
        {"cnonce": ""},
        {"username": ""},
        {"uri": "sip:other@gw.example"},
        {"uri": ""},
        {"uri": "nonsense"},
    ],
)
def test_malformed_credentials(server, changed):
    assert verify(server, Client(server).authorization(**changed)) is Outcome.MALFORMED


def test_unknown_algorithms(server):
    value = Client(server).authorization().replace("algorithm=SHA-256", "algorithm=CRC32")
    assert verify(server, value) is Outcome.MALFORMED


def test_credentials_of_another_method(server):
    assert verify(server, Client(server).authorization(), method="BYE") is Outcome.WRONG


@pytest.mark.parametrize(
    ("signed", "asked", "same"),
    [
        (URI, "sip:sess_1@GW.example:5060;x=y", True),
        (URI, "sip:sess_1@behind.proxy:5080", True),
        (URI, "sip:sess_2@gw.example", False),
        ("sip:gw.example", URI, True),
        ("sip:gw.example:5080", URI, False),
        ("sip:other.example", URI, False),
        ("nonsense", URI, False),
    ],
)
def test_which_uri_is_the_same(signed, asked, same):
    assert digest.same_uri(signed, asked) is same


def test_no_credentials_and_those_of_another_realm(server):
    assert verify(server, "") is Outcome.MISSING
    assert verify(server, Client(server).authorization(realm="elsewhere")) is Outcome.MISSING
    assert verify(server, "Basic abc") is Outcome.MALFORMED
    both = [Client(server).authorization(realm="elsewhere"), Client(server).authorization()]
    assert server.verify(both, REALM, "INVITE", URI, 1000.0, users).outcome is Outcome.ACCEPTED


def test_the_memory_of_nonces_is_bounded_and_forgetting_is_safe():
    server = Digest(KEY, max_nonces=3)
    clients = []
    for step in range(6):
        clients.append(Client(server, now=1000.0 + step))
        assert verify(server, clients[-1].authorization(), now=1010.0) is Outcome.ACCEPTED
    assert verify(server, clients[0].authorization(), now=1010.0) is Outcome.STALE
    assert verify(server, clients[5].authorization(), now=1010.0) is Outcome.ACCEPTED


def test_a_short_nonce_key_is_a_bug():
    with pytest.raises(ValueError, match="16 bytes"):
        Digest(b"short")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('Digest a="b", c=d', {"a": "b", "c": "d"}),
        ('digest  A = "x,\\"y\\"" ,b=1', {"a": 'x,"y"', "b": "1"}),
        ("Digest", {}),
        ('Digest a="b" c=d', None),
        ("Digest a=1, A=2", None),
        ('Digest a="open', None),
        ("Digest " + "x" * 3000, None),
    ],
)
def test_parsing(text, found):
    assert parse(text) == found


@given(st.text(max_size=300))
def test_any_text_is_judged(text):
    server = Digest(KEY)
    outcome = verify(server, f"Digest {text}")
    assert outcome in (Outcome.MALFORMED, Outcome.MISSING)
    assert server._issued(text, REALM) is None


def test_the_library_has_the_algorithms():
    assert digest.ALGORITHMS["SHA-256"] is hashlib.sha256
