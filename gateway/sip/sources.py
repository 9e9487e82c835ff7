"""Strangers: how often each may ask, what it did wrong, and the list of scanners that get no answer.

Owns a bounded table of sources with their budgets and their record. It refuses to know messages and trunks
(the caller says which source asks and how it turned out) and the time (`now`, seconds, monotonic).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

from msgspec import Struct

from gateway.trunks import Admission as Rules

#: A source is told of at most so often.
REPORT_EVERY_S: Final = 60.0


class Report(Struct, frozen=True):
    """A source that was refused, for one log line. reason: the last one; requests: refused since the last report;
    scanner: it is on the drop list."""

    source: str
    reason: str
    requests: int
    scanner: bool


class _Source(Struct):
    address: str
    tokens: float
    seen_s: float
    strikes: int = 0
    strikes_from_s: float = 0.0
    dropped_until_s: float = 0.0
    refused: int = 0
    reason: str = ""
    reported_s: float = float("-inf")


class Sources:
    """The sources that no allow list names."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        #: Those with something to report, in the order in which it happened first.
        self._telling: OrderedDict[str, None] = OrderedDict()
        #: Sources that had to make room for others: the ones heard of longest ago.
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._sources)

    def reconfigure(self, rules: Rules) -> None:
        """Other rules from now on; what is known of the sources stays."""
        self._rules = rules

    def dropped(self, source: str, now: float) -> bool:
        """Whether it is a scanner: its request is counted and gets no answer."""
        entry = self._sources.get(key_of(source))
        if entry is None or entry.dropped_until_s <= now:
            return False
        self._refused(entry, source)
        return True

    def spend(self, source: str, now: float) -> bool:
        """A request of its own: False when it is over its budget."""
        rules, entry = self._rules, self._entry(source, now)
        entry.tokens = min(float(rules.burst), entry.tokens + (now - entry.seen_s) * rules.per_source_per_s)
        entry.seen_s = now
        if entry.tokens < 1.0:
            return False
        entry.tokens -= 1.0
        return True

    def strike(self, source: str, reason: str, now: float) -> bool:
        """Its request was refused, and that was its own doing. True: it is a scanner from now on."""
        rules, entry = self._rules, self._entry(source, now)
        self._refused(entry, source, reason)
        if now - entry.strikes_from_s > rules.strikes_window_s:
            entry.strikes, entry.strikes_from_s = 0, now
        entry.strikes += 1
        if entry.strikes < rules.strikes or entry.dropped_until_s > now:
            return False
        entry.dropped_until_s, entry.strikes = now + rules.drop_s, 0
        entry.reported_s = float("-inf")  # that is news
        return True

    def complain(self, source: str, reason: str, now: float) -> None:
        """As a strike, of a source that is never a scanner: somebody should look after it."""
        self._refused(self._entry(source, now), source, reason)

    def welcome(self, source: str) -> None:
        """It has shown a password that is right: nothing that it did before counts, nor what that cost."""
        if entry := self._sources.get(key_of(source)):
            entry.strikes, entry.tokens = 0, float(self._rules.burst)

    def reports(self, now: float) -> list[Report]:
        """The sources that were refused, each at most once a minute."""
        due = []
        for key in list(self._telling):
            entry = self._sources.get(key)
            if entry is None:
                del self._telling[key]
            elif now - entry.reported_s >= REPORT_EVERY_S:
                due.append(Report(entry.address, entry.reason, entry.refused, entry.dropped_until_s > now))
                entry.refused, entry.reported_s = 0, now
                del self._telling[key]
        return due

    def _refused(self, entry: _Source, source: str, reason: str = "") -> None:
        entry.address, entry.refused = source, entry.refused + 1
        entry.reason = reason or entry.reason
        key = key_of(source)
        self._telling[key] = None
        self._sources.move_to_end(key)  # who goes on is not the one to be forgotten

    def _entry(self, source: str, now: float) -> _Source:
        key = key_of(source)
        entry = self._sources.get(key)
        if entry is None:
            entry = self._sources[key] = _Source(source, float(self._rules.burst), now)
            while len(self._sources) > self._rules.max_sources:
                forgotten, _ = self._sources.popitem(last=False)
                self._telling.pop(forgotten, None)
                self.forgotten += 1
        else:
            self._sources.move_to_end(key)
        return entry


def key_of(source: str) -> str:
    """What a source is known by: its IPv4 address, or the /64 that an IPv6 host may choose its addresses from."""
    if ":" not in source:
        return source
    try:
        address = ipaddress.IPv6Address(source.partition("%")[0])
    except ValueError:
        return source
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
