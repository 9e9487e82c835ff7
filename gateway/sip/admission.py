"""Who is let in, by which trunk, and in which order that is asked (contract §4): the address, how often a stranger
comes, the password, the trunk's limits.

Owns the table of trunks, its lookup, and the answers to who is not let in. The trunk with the longest network that
holds the source (and that takes its transport) serves; where several share that network, the user who authenticates
decides. It refuses to know the stack, the controller and the time (`now`, seconds, monotonic).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gateway.config import Sip
from gateway.sip.digest import Digest, Outcome, Secret
from gateway.sip.headers import Message
from gateway.sip.sources import Report, Sources
from gateway.sip.stack import DROP, LET_IN, Verdict
from gateway.trunks import Credential, Trunk, in_force

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Sources whose trunks are remembered: a PBX asks with every message.
MAX_FOUND: Final = 4096
#: Counters that admission moves, one name for each way not to be let in.
COUNTERS: Final = (
    *("source_refused", "source_dropped", "source_limited", "challenged", "digest_stale", "digest_replayed"),
    *("digest_malformed", "digest_wrong", "digest_accepted", "trunk_full", "trunk_limited", "scanners_found"),
    "sources_forgotten",
)
_TOLD: Final = {
    Outcome.MISSING: "challenged",
    Outcome.STALE: "digest_stale",
    Outcome.REPLAYED: "digest_replayed",
    Outcome.MALFORMED: "digest_malformed",
    Outcome.WRONG: "digest_wrong",
}


class Ruling(NamedTuple):
    """trunks: those that may serve the source, empty when it is not let in. known: an allow list names it."""

    verdict: Verdict
    counters: tuple[str, ...] = ()
    trunks: tuple[Trunk, ...] = ()
    known: bool = False


class Admitted(NamedTuple):
    """The verdict of an INVITE; it names the trunk when the call is let in."""

    verdict: Verdict
    counters: tuple[str, ...] = ()


class TrunkTable:
    """Trunks by source. Built once for a configuration."""

    def __init__(self, trunks: Sequence[Trunk]) -> None:
        self.trunks = in_force(trunks)
        entries = [(ipaddress.ip_network(text), trunk) for trunk in self.trunks for text in trunk.sources]
        self._found: dict[tuple[str, str | None], tuple[tuple[Trunk, ...], bool]] = {}
        #: The longest prefix first; within one length the order of the file
        self._entries: list[tuple[Network, Trunk]] = sorted(entries, key=lambda entry: -entry[0].prefixlen)

    def lookup(self, source: str, transport: str | None = None) -> tuple[tuple[Trunk, ...], bool]:
        """The trunks that may serve a source: none, one, or several that share the network; and whether an allow
        list names it. The whole internet is no name: who comes by a network of length 0 is a stranger.

        transport: None for any.
        """
        found = self._found.get((source, transport))
        if found is None:
            if len(self._found) >= MAX_FOUND:  # those of strangers, most of them
                self._found.clear()
            found = self._found[source, transport] = self._look_up(source, transport)
        return found

    def _look_up(self, source: str, transport: str | None) -> tuple[tuple[Trunk, ...], bool]:
        try:
            address = ipaddress.ip_address(source.partition("%")[0])
        except ValueError:
            return (), False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        found: list[Trunk] = []
        best: Network | None = None
        for network, trunk in self._entries:
            if best is not None and network != best:
                break
            if address.version != network.version or address not in network:
                continue
            if transport is None or transport in trunk.transports:
                best = network
                found.append(trunk)
        return tuple(found), best is not None and best.prefixlen > 0


class _Bucket:
    """New calls of a trunk: so many a second, and as many at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._tokens = self._most = max(1.0, per_s)
        self._seen_s = 0.0

    def take(self, now: float) -> bool:
        self._tokens = min(self._most, self._tokens + (now - self._seen_s) * self._per_s)
        self._seen_s = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Admission:
    """key: random bytes for the nonces. salt: gives 8 random bytes at each call."""

    def __init__(self, trunks: Sequence[Trunk], sip: Sip, key: bytes, salt: Callable[[], bytes]) -> None:
        self._digest = Digest(key)
        self._salt = salt
        self.sources = Sources(sip.admission)
        self.reconfigure(trunks, sip)

    def reconfigure(self, trunks: Sequence[Trunk], sip: Sip) -> None:
        """Another configuration, under running calls too: scanners stay dropped, nonces stay good."""
        self.sources.reconfigure(sip.admission)
        self._digest.lifetime(sip.admission.nonce_lifetime_s)
        self.table = TrunkTable(trunks)
        self._unknown = DROP if sip.unknown_source == "drop" else Verdict(403)
        self._busy = Verdict(503, headers={"Retry-After": str(sip.retry_after_s)})
        self._most = {trunk.name: trunk.max_calls for trunk in self.table.trunks}
        self._buckets = {t.name: _Bucket(t.max_calls_per_s) for t in self.table.trunks if t.max_calls_per_s}
        self._secrets = {(t.name, c.username): _secret(c) for t in self.table.trunks for c in t.credentials}

    def source(self, source: str, transport: str, now: float, *, costs: bool = True) -> Ruling:
        """A request that is in no dialog of ours. costs: it is charged to a stranger's budget."""
        trunks, known = self.table.lookup(source, transport)
        if known:
            return Ruling(LET_IN, (), trunks, True)
        if self.sources.dropped(source, now):
            return Ruling(DROP, ("source_dropped",))
        if not trunks:
            return Ruling(self._unknown, ("source_refused", *self.blame(source, "not_allowed", now)))
        if costs and not self.sources.spend(source, now):
            return Ruling(self._busy, ("source_limited", *self.blame(source, "too_many", now)))
        return Ruling(LET_IN, (), trunks)

    def call(
        self,
        ruling: Ruling,
        source: str,
        request_uri: str,
        message: Message,
        now: float,
        running: Callable[[str], int],
    ) -> Admitted:
        """An INVITE of a source that was let in: the password, then the limits. running: calls of a trunk."""
        who = self._who("INVITE", ruling, source, request_uri, message, now)
        if not who.verdict.account:
            return who
        if limit := self.limit(who.verdict.account, now, running):
            self.sources.complain(source, limit, now)
            return Admitted(self._busy, (*who.counters, limit))
        return who

    def options(self, ruling: Ruling, source: str, request_uri: str, message: Message, now: float) -> Admitted:
        """An OPTIONS of a source that was let in. RFC 3261 §11.2 has it answered as an INVITE would be, so that a
        stranger is asked for the password before he learns whether calls are taken; whose address was named is asked
        for none, because a PBX that watches its trunk by OPTIONS seldom answers a challenge of it."""
        if ruling.known:
            return Admitted(LET_IN)
        return self._who("OPTIONS", ruling, source, request_uri, message, now)

    def limit(self, trunk: str, now: float, running: Callable[[str], int]) -> str:
        """Which limit keeps a trunk from one more call, in or out, as a counter's name; "": none, and it is counted.

        running: calls of a trunk.
        """
        most = self._most.get(trunk)
        if most is not None and running(trunk) >= most:
            return "trunk_full"
        bucket = self._buckets.get(trunk)
        return "trunk_limited" if bucket is not None and not bucket.take(now) else ""

    def blame(self, source: str, reason: str, now: float) -> tuple[str, ...]:
        """Note what a stranger did wrong. The counters that this moves besides."""
        return ("scanners_found",) if self.sources.strike(source, reason, now) else ()

    def no_such_number(self, source: str, now: float) -> tuple[str, ...]:
        """It dialled what does not exist: a stranger who does that often tries numbers. As `blame`."""
        _, known = self.table.lookup(source)
        return () if known else self.blame(source, "no_such_number", now)

    def reports(self, now: float) -> list[Report]:
        return self.sources.reports(now)

    def _who(
        self, method: str, ruling: Ruling, source: str, request_uri: str, message: Message, now: float
    ) -> Admitted:
        """Which trunk a request belongs to, as the verdict's account; none: the verdict is a challenge."""
        if trunk := next((trunk for trunk in ruling.trunks if not trunk.credentials), None):
            return Admitted(Verdict(LET_IN.code, account=trunk.name))
        trunk, outcome = self._authenticate(method, ruling.trunks, request_uri, message, now)
        if trunk is None:
            return self._challenge(ruling, source, outcome, now)
        self.sources.welcome(source)
        return Admitted(Verdict(LET_IN.code, account=trunk.name), ("digest_accepted",))

    def _authenticate(
        self, method: str, trunks: Sequence[Trunk], request_uri: str, message: Message, now: float
    ) -> tuple[Trunk | None, Outcome]:
        """Trunks of one network have one realm, and no user belongs to two of them (`trunks.clashes`)."""
        owners = {credential.username: trunk for trunk in trunks for credential in trunk.credentials}

        def lookup(user: str) -> Secret | None:
            return self._secrets[owners[user].name, user] if user in owners else None

        given = message.all("authorization")
        verified = self._digest.verify(given, trunks[0].realm, method, request_uri, now, lookup)
        accepted = verified.outcome is Outcome.ACCEPTED
        return owners[verified.user] if accepted else None, verified.outcome

    def _challenge(self, ruling: Ruling, source: str, outcome: Outcome, now: float) -> Admitted:
        """401 (RFC 3261 §22.2). stale tells a client whose password is right that another nonce is all it takes."""
        stale = outcome in (Outcome.STALE, Outcome.REPLAYED)
        trunk, counter = ruling.trunks[0], _TOLD[outcome]
        moved: tuple[str, ...] = (counter,)
        if outcome in (Outcome.WRONG, Outcome.MALFORMED):
            if ruling.known:
                self.sources.complain(source, counter, now)
            else:
                moved += self.blame(source, counter, now)
        values = self._digest.challenge(trunk.realm, trunk.algorithms, now, self._salt(), stale=stale)
        return Admitted(Verdict(401, challenges=tuple(values)), moved)


def _secret(credential: Credential) -> Secret:
    if credential.password is not None:
        return Secret(credential.password.get_secret_value())
    kept = (("MD5", credential.ha1_md5), ("SHA-256", credential.ha1_sha256))
    return Secret(ha1={name: value.get_secret_value() for name, value in kept if value is not None})
