"""Digest authentication of requests, the server's side (RFC 7616, RFC 8760, in SIP by RFC 3261 §22).

Owns nonces, their lifetime, the count of their uses, and the comparison of responses. It refuses to know
where users come from (`Lookup`), which requests need a user and in which realm, and what time it is: `now` is in
seconds of any monotonic clock, the same for `challenge` and `verify`.

A nonce carries its own time and a seal, so that a challenge costs no memory: a scanner that asks a
million times is told a million nonces, and only one that was used well once is remembered.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from gateway.sip import headers

#: Algorithms in the order in which they are offered (RFC 8760 §2.1: the strongest first).
ALGORITHMS: Final = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}
MAX_HEADER: Final = 2_048
#: Nonces that are remembered with their counts; beyond, the oldest become stale.
MAX_NONCES: Final = 10_000
_PARAMETER = re.compile(r'([A-Za-z0-9_-]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
_STAMP = struct.Struct("!Q8s")
_SEAL_BYTES: Final = 16


class Outcome(Enum):
    """What a set of credentials is worth. Everything but ACCEPTED is answered 401 with a new challenge."""

    ACCEPTED = auto()
    MISSING = auto()  # none at all, or for another realm: challenge, and think nothing of it
    STALE = auto()  # the right password with a nonce of yesterday: challenge with stale=true
    REPLAYED = auto()
    MALFORMED = auto()
    WRONG = auto()


class Secret(Struct, frozen=True):
    """What we keep of a user: a password, or the HA1 by algorithm (hex, of `user:realm:password`)."""

    password: str = ""
    ha1: dict[str, str] = {}

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def serves(self, algorithm: str) -> bool:
        """Whether a response by this algorithm can be checked. An empty password is none."""
        return bool(self.password) or algorithm in self.ha1


class Verified(Struct, frozen=True):
    outcome: Outcome
    user: str = ""


Lookup = Callable[[str], Secret | None]
#: Compared against when there is no such user, so that the answer takes as long (RFC 7616 §5.9).
_NOBODY: Final = Secret(password="nobody")


class Digest:
    """The nonces of every realm. key: random bytes that seal them; another key makes all nonces stale."""

    def __init__(self, key: bytes, *, lifetime_s: float = 300.0, max_nonces: int = MAX_NONCES) -> None:
        if len(key) < 16:
            raise ValueError("a nonce key of at least 16 bytes is needed")
        self._key = key
        self.lifetime(lifetime_s)
        self._max_nonces = max_nonces
        self._counts: OrderedDict[str, int] = OrderedDict()
        #: Nonces of this time and before are stale: their counts have been forgotten.
        self._forgotten_ms = -1

    def lifetime(self, lifetime_s: float) -> None:
        """How long a nonce is good, those that are out included."""
        self._lifetime_ms = int(lifetime_s * 1000)

    def challenge(
        self, realm: str, algorithms: Sequence[str], now: float, salt: bytes, *, stale: bool = False
    ) -> list[str]:
        """The values of `WWW-Authenticate`, one header for each algorithm. salt: 8 random bytes."""
        nonce = self._nonce(realm, int(now * 1000), salt)
        tail = ', qop="auth"' + (", stale=true" if stale else "")
        return [f'Digest realm="{realm}", nonce="{nonce}", algorithm={name}{tail}' for name in algorithms]

    def verify(
        self, authorizations: list[str], realm: str, method: str, request_uri: str, now: float, lookup: Lookup
    ) -> Verified:
        """Judge a request by its `Authorization` headers; the first one for the realm counts."""
        for value in authorizations:
            parameters = parse(value)
            if parameters is None:
                return Verified(Outcome.MALFORMED)
            if parameters.get("realm") == realm:
                return self._judge(parameters, method, request_uri, int(now * 1000), lookup)
        return Verified(Outcome.MISSING)

    def _judge(self, given: dict[str, str], method: str, request_uri: str, now_ms: int, lookup: Lookup) -> Verified:
        user, nonce = given.get("username", ""), given.get("nonce", "")
        hashed = ALGORITHMS.get(given.get("algorithm", "MD5").upper())
        count = given.get("nc", "")
        if (
            not user
            or hashed is None
            or given.get("qop") != "auth"  # without it nothing counts the uses (RFC 7616 §5.6)
            or not re.fullmatch("[0-9a-fA-F]{8}", count)
            or not given.get("cnonce")
            or not same_uri(given.get("uri", ""), request_uri)
        ):
            return Verified(Outcome.MALFORMED, user)
        name = given.get("algorithm", "MD5").upper()
        secret = lookup(user)
        if secret is not None and not secret.serves(name):
            secret = None
        expected = response(_ha1(secret or _NOBODY, user, given["realm"], name), given, method, name)
        if not hmac.compare_digest(expected.encode(), given.get("response", "").lower().encode()) or secret is None:
            return Verified(Outcome.WRONG, user)
        # The password is right: from here on only the nonce is in question
        issued_ms = self._issued(nonce, given["realm"])
        if issued_ms is None or not 0 <= now_ms - issued_ms <= self._lifetime_ms or issued_ms <= self._forgotten_ms:
            return Verified(Outcome.STALE, user)
        if int(count, 16) <= self._counts.get(nonce, 0):
            return Verified(Outcome.REPLAYED, user)
        self._remember(nonce, int(count, 16), now_ms)
        return Verified(Outcome.ACCEPTED, user)

    def _remember(self, nonce: str, count: int, now_ms: int) -> None:
        self._counts[nonce] = count
        while self._counts:
            oldest = next(iter(self._counts))
            issued_ms = _stamped(oldest)
            if now_ms - issued_ms > self._lifetime_ms:
                del self._counts[oldest]  # too old to be used again
            elif len(self._counts) > self._max_nonces:
                del self._counts[oldest]
                self._forgotten_ms = max(self._forgotten_ms, issued_ms)
            else:
                break

    def _nonce(self, realm: str, time_ms: int, salt: bytes) -> str:
        stamp = _STAMP.pack(time_ms, salt)
        return base64.urlsafe_b64encode(stamp + self._seal(stamp, realm)).decode()

    def _issued(self, nonce: str, realm: str) -> int | None:
        """When we issued a nonce for this realm, in ms; None when we did not."""
        try:
            data = base64.urlsafe_b64decode(nonce)
        except (binascii.Error, ValueError):
            return None
        stamp, seal = data[: _STAMP.size], data[_STAMP.size :]
        if len(data) != _STAMP.size + _SEAL_BYTES or not hmac.compare_digest(seal, self._seal(stamp, realm)):
            return None
        return int(_STAMP.unpack(stamp)[0])

    def _seal(self, stamp: bytes, realm: str) -> bytes:
        return hmac.digest(self._key, stamp + realm.encode(), "sha256")[:_SEAL_BYTES]


def _stamped(nonce: str) -> int:
    """When a nonce of ours was issued, in ms."""
    return int(_STAMP.unpack(base64.urlsafe_b64decode(nonce)[: _STAMP.size])[0])


def parse(value: str) -> dict[str, str] | None:
    """The parameters of `Digest a=b, c="d"`, names in lower case; None when it is none or says a thing twice."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest" or len(value) > MAX_HEADER:
        return None
    found: dict[str, str] = {}
    position = 0
    rest = rest.strip()
    while position < len(rest):
        match = _PARAMETER.match(rest, position)
        if match is None or match[1].lower() in found:
            return None
        quoted = match[2]
        found[match[1].lower()] = match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = match.end()
        while position < len(rest) and rest[position] in " \t":
            position += 1
    return found


def response(ha1: str, given: dict[str, str], method: str, algorithm: str) -> str:
    """What the response must be (RFC 7616 §3.4.1, qop=auth)."""
    hashed = ALGORITHMS[algorithm]
    ha2 = hashed(f"{method}:{given['uri']}".encode()).hexdigest()
    text = f"{ha1}:{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}:{ha2}"
    return hashed(text.encode()).hexdigest()


def same_uri(a: str, b: str) -> bool:
    """Whether a digest's URI is the Request-URI (RFC 3261 §22.4), which may be written in another way.

    A proxy on the way may have changed the host, and some clients sign the host alone; another user is another
    resource. Whoever takes such credentials from the wire gains nothing: they have been used (RFC 7616 §5.5).
    """
    if a == b:
        return True
    try:
        first, second = headers.parse_uri(a), headers.parse_uri(b)
    except ValueError:
        return False
    if first.user:
        return first.user == second.user
    return (first.host.lower(), first.port or 5060) == (second.host.lower(), second.port or 5060)


def _ha1(secret: Secret, user: str, realm: str, algorithm: str) -> str:
    if algorithm in secret.ha1:
        return secret.ha1[algorithm].lower()
    return ALGORITHMS[algorithm](f"{user}:{realm}:{secret.password}".encode()).hexdigest()
