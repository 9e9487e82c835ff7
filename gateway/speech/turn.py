"""One turn on its way through the pipeline: what was heard of it, what became of it, and when.

Owns the turn's account: its words, its clauses, its moments. Times are the pipeline's clock in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from gateway.speech.ledger import Clause

#: Clauses of one turn that wait to be translated. A turn has a maximal length; this bounds an engine gone wild.
CLAUSES: Final = 64
#: The moments of a turn after its speech has ended, in the order in which they are reported. A turn is translated, or
#: answered by an agent.
MOMENTS: Final = ("final", "translated", "answered", "first_audio", "heard")


def segment_ids(clock: Callable[[], float]) -> Callable[[], str]:
    """Names for the turns of a session from now on: a session that goes on after a restart repeats none."""
    born, numbers = int(clock() * 1000), count(1)
    return lambda: f"seg_{born:x}_{next(numbers)}"


@dataclass(eq=False)
class Turn:
    """segment_id: as the transcript names it. language: as spoken. ended_at: when its last sound was heard."""

    segment_id: str
    speaker: str
    language: str
    start_ms: int
    end_ms: int = 0
    ended_at: float | None = None
    guess: str = ""
    text: str = ""
    confidence: float = 0.0
    translations: dict[str, str] = field(default_factory=dict)  # by language, in the order of the first listener
    spoken: list[tuple[str, Clause]] = field(default_factory=list)  # to whom, what
    interrupted: bool = False
    understood: bool = False  # its text is known, or will not be
    told: bool = False  # the transcript has it
    voiced: bool = False  # nothing more of it will be spoken
    settled: bool = False
    failed: bool = False  # not understood
    timed: bool = False  # where its time went was told
    stopped: set[str] = field(default_factory=set)  # listeners who interrupted it

    def __post_init__(self) -> None:
        #: What is to be translated; None: that was all.
        self.clauses: asyncio.Queue[str | None] = asyncio.Queue()
        self._taken = 0
        self._moments: dict[str, float] = {}

    def stabilize(self, text: str, stable: int) -> None:
        """So many characters of the text will not change: what is new of them is a clause."""
        clause = text[self._taken : stable].strip()
        if clause and self.clauses.qsize() < CLAUSES:
            self.clauses.put_nowait(clause)
            self._taken = stable

    def rest(self) -> str:
        """Of the whole text, what no clause has yet."""
        return self.text[self._taken :].strip()

    def reach(self, moment: str, now: float) -> None:
        """The first time counts."""
        self._moments.setdefault(moment, now)

    def timing(self) -> dict[str, float]:
        """Seconds from the end of speech to each moment that was reached; negative where a clause was done before."""
        if self.ended_at is None:
            return {}
        return {name: self._moments[name] - self.ended_at for name in MOMENTS if name in self._moments}

    def timing_ms(self) -> dict[str, int]:
        return {name: round(seconds * 1000) for name, seconds in self.timing().items()}

    def translation(self, *, heard: bool = False) -> tuple[str, str] | None:
        """(language, text) for the transcript. heard: only what the listeners heard of it, when it was interrupted."""
        if not self.translations:
            return None
        language, text = next(iter(self.translations.items()))
        if heard and self.interrupted and self.spoken:
            first = self.spoken[0][0]
            text = " ".join(part for name, one in self.spoken if name == first and (part := one.heard_text()))
        return language, text

    def metadata(self) -> dict[str, Any]:
        """What the transcript says of it beyond its words."""
        metadata: dict[str, Any] = {"timing_ms": self.timing_ms()}
        return metadata | ({"interrupted": True} if self.interrupted else {})

    @property
    def reached(self) -> frozenset[str]:
        """The moments that it has come to."""
        return frozenset(self._moments)

    def reaches(self, listener: str) -> bool:
        """Whether something of it is on its way to a listener who did not interrupt it."""
        if listener in self.stopped or not self.spoken:
            return False
        return not self.voiced or any(name == listener and not clause.is_settled for name, clause in self.spoken)

    @property
    def is_over(self) -> bool:
        """Everything of it was spoken and its fate is known."""
        return self.voiced and self.told and all(clause.is_settled for _, clause in self.spoken)
