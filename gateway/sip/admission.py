"""Which sources may ask at all, and how often: allow lists, a rate per source, and the list of scanners.

Owns a bounded table of sources with their budgets and their record. It refuses to know messages (the
caller says which source asks and how it turned out) and the time (`now`, seconds, monotonic).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from msgspec import Struct

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Sources that are remembered; beyond, the one that was seen longest ago is forgotten.
MAX_SOURCES: Final = 4_096
#: A scanner is told of at most so often.
REPORT_EVERY_S: Final = 60.0


class Ruling(Enum):
    ADMIT = auto()
    FORBID = auto()  # 403: not on the allow list
    DROP = auto()  # no answer: not on the list and nobody to be polite to, or a scanner
    LIMIT = auto()  # 503 with Retry-After


class Rules(Struct, frozen=True):
    """networks: CIDRs that may ask, empty for all. unknown: reject or drop the others. per_s, burst: requests
    outside a dialog from one source, 0 for no limit. strikes: bad requests within window_s that make a scanner,
    0 for never; it is dropped for banned_s. A source on the allow list is never a scanner."""

    networks: tuple[str, ...] = ()
    unknown: str = "reject"
    per_s: float = 0.0
    burst: int = 50
    strikes: int = 0
    window_s: float = 60.0
    banned_s: float = 600.0


class Report(Struct, frozen=True):
    """A scanner, for one log line (and for fail2ban). dropped: requests since the last report."""

    source: str
    dropped: int


class _Source(Struct):
    known: bool
    tokens: float
    seen_s: float
    strikes: int = 0
    strikes_from_s: float = 0.0
    banned_until_s: float = 0.0
    dropped: int = 0
    reported_s: float = float("-inf")


class Admission:
    def __init__(self, rules: Rules, max_sources: int = MAX_SOURCES) -> None:
        self._rules = rules
        self._networks = parse_networks(rules.networks)
        self._max_sources = max_sources
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self.forgotten = 0

    def judge(self, source: str, now: float) -> Ruling:
        """A request from this IP address: spend its budget."""
        rules, entry = self._rules, self._entry(source, now)
        if entry.banned_until_s > now:
            entry.dropped += 1
            return Ruling.DROP
        if self._networks and not entry.known:
            if rules.unknown == "drop":
                entry.dropped += 1
                return Ruling.DROP
            return Ruling.FORBID
        if not rules.per_s:
            return Ruling.ADMIT
        entry.tokens = min(float(rules.burst), entry.tokens + (now - entry.seen_s) * rules.per_s)
        entry.seen_s = now
        if entry.tokens < 1.0:
            return Ruling.LIMIT
        entry.tokens -= 1.0
        return Ruling.ADMIT

    def strike(self, source: str, now: float) -> bool:
        """Its request was bad (no such user, wrong password, malformed). True: it is a scanner from now on."""
        rules, entry = self._rules, self._entry(source, now)
        if not rules.strikes or (self._networks and entry.known):
            return False
        if now - entry.strikes_from_s > rules.window_s:
            entry.strikes, entry.strikes_from_s = 0, now
        entry.strikes += 1
        if entry.strikes < rules.strikes or entry.banned_until_s > now:
            return False
        entry.banned_until_s, entry.strikes = now + rules.banned_s, 0
        return True

    def reports(self, now: float) -> list[Report]:
        """The sources that were dropped, each at most once a minute."""
        due = []
        for source, entry in self._sources.items():
            if entry.dropped and now - entry.reported_s >= REPORT_EVERY_S:
                due.append(Report(source, entry.dropped))
                entry.dropped, entry.reported_s = 0, now
        return due

    def _entry(self, source: str, now: float) -> _Source:
        entry = self._sources.get(source)
        if entry is None:
            entry = self._sources[source] = _Source(within(self._networks, source), float(self._rules.burst), now)
            if len(self._sources) > self._max_sources:
                self._sources.popitem(last=False)
                self.forgotten += 1
        else:
            self._sources.move_to_end(source)
        return entry


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """CIDRs or single addresses. Raises ValueError naming the one that is none."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def within(networks: Iterable[Network], source: str) -> bool:
    """Whether an address lies in one of the networks; an IPv4 address that came over IPv6 counts as IPv4."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address.version == network.version and address in network for network in networks)
