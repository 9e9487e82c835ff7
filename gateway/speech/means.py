"""What every interpreter of a process works with: engines, tuning, clock, and who counts.

Owns the bundles, and the choice of who hears a party. Knows no engine and no session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from gateway.speech.endpointing import Tuning
from gateway.speech.ledger import Account
from gateway.speech.stages import Recognizer, Stage, Synthesizer, Translator
from gateway.speech.timing import Measures
from gateway.speech.tongue import Tongue
from gateway.speech.turn import segment_ids


class Engines(Protocol):
    """Who serves a stage: `fallback.Chains`, or `engines.registry.Engines`."""

    def recognizer(self, language: str | None) -> Recognizer | None: ...
    def translator(self, source: str, target: str) -> Translator | None: ...
    def synthesizer(self, language: str) -> Synthesizer | None: ...


class Means(NamedTuple):
    """missing: why a stage can not be had in a language or pair. clause_ms: see `turns.Turns`. clock: seconds, never
    backwards."""

    engines: Engines
    missing: Callable[[Stage, str], str]
    tuning: Tuning
    clause_ms: int
    clock: Callable[[], float]
    measures: Measures

    def recognizer(self, tongue: Tongue) -> Recognizer | None:
        """Who hears a party: where its language is to be found out, one that tells it, else one that hears the
        likeliest."""
        found = self.engines.recognizer(tongue.given)
        return found or (self.engines.recognizer(tongue.language) if tongue.given is None else None)


class Shared(NamedTuple):
    """What interpreters that serve one session after the other go on with. tongue: the language of a party,
    given or to be found out. accounts: what listeners were sent. new_segment: the next turn's name."""

    means: Means
    tongue: Callable[[str], Tongue]
    accounts: dict[str, Account]
    new_segment: Callable[[], str]

    @classmethod
    def fresh(cls, means: Means, tongue: Callable[[str], Tongue]) -> Shared:
        """At a session's beginning."""
        return cls(means, tongue, {}, segment_ids(means.clock))
