"""Which interpreter a session gets, and whether it can have one at all.

Owns the engines of the process and their health, and the answer to a creation that nobody could serve: 422
`engine_not_available` with the stage that is missing, 503 when an engine has no room. Knows no session's life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.errors import Fault, PeerFault
from gateway.speech import languages
from gateway.speech.agent import Agent
from gateway.speech.detection import TextDetector
from gateway.speech.endpointing import Tuning
from gateway.speech.engines.registry import Engines
from gateway.speech.fallback import Chains, Health
from gateway.speech.interpreter import Interpreter, Sink
from gateway.speech.library import Library
from gateway.speech.means import Means, Shared
from gateway.speech.pipeline import Pipeline
from gateway.speech.resilience import Limits
from gateway.speech.roles import AI_AGENT, ALONE, HELP, ROLES, Reach, Roles
from gateway.speech.settings import Speech
from gateway.speech.stages import ANY, Stage, primary
from gateway.speech.terms import AGENT, CUSTOMER, Terms, differ
from gateway.speech.timing import Measures
from gateway.speech.tongue import Tongue

#: Seconds after which a creation that was refused for want of room may be tried again.
_RETRY_S = 5


class Interpreters:
    """The engines, started once, and what is made of them. clock: seconds."""

    def __init__(self, settings: Speech, engines: Engines, clock: Callable[[], float], measures: Measures) -> None:
        self.engines = engines
        rest = settings.rest
        self.health = Health(clock, Limits(rest.failures, rest.first_s, rest.longest_s))
        self.chains = Chains(engines, self.health)
        endpointing = settings.endpointing
        tuning = Tuning(hangover_ms=endpointing.hangover_ms, longest_ms=endpointing.longest_s * 1000)
        self._means = Means(self.chains, self.missing, tuning, endpointing.clause_ms, clock, measures)
        self._detector = TextDetector()
        documents = settings.help_chat.documents
        self.library = None if documents is None else Library(documents)
        self._roles = Roles(settings.help_chat, self.chains, self.library, self._detector)
        self._reading: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[object] | None = None

    async def start(self) -> None:
        await self.engines.start()
        if self.library is not None:
            self._reading = asyncio.create_task(self.library.run(), name="documents")

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self.engines.close()

    def make(self, terms: Terms, sink: Sink, reach: Reach = ALONE) -> Interpreter:
        """A session's interpreter. reach: what an agent can get at beyond its session."""
        if terms.mode == HELP or None in (terms.language_of(CUSTOMER), terms.language_of(AGENT)):
            self._warm()
        if terms.mode in ROLES:
            return Agent(sink, terms, self._roles.part(terms, reach, self.tongue), self._means)
        shared = Shared.fresh(self._means, lambda speaker: self.tongue(terms.language_of(speaker)))
        return Pipeline(sink, terms, shared)

    def check(self, terms: Terms) -> None:
        """Before a session is made. Raises PeerFault: no chain of engines exists, or it has no room.

        With two languages one direction is enough: what the other one lacks is told to the session when it is wanted.
        """
        if terms.mode in ROLES:
            lacks = [self._lacks_alone(terms)]
        else:
            ways = ((CUSTOMER, AGENT), (AGENT, CUSTOMER))
            lacks = [self._lacks(terms, speaker, listener) for speaker, listener in ways]
        if all(lacks):
            why = dict.fromkeys(reason for reasons in lacks for reason in reasons)
            raise PeerFault(Fault.ENGINE_NOT_AVAILABLE, "; ".join(why))
        for stage, names in self.engines.order.items():
            if names and all(self.engines.by_name[name].full() for name in names):
                message = f"no room for one more speaker: {stage} by {' and '.join(names)} has enough to do"
                raise PeerFault(Fault.SERVICE_UNAVAILABLE, message, retry_after_s=_RETRY_S)

    def missing(self, stage: Stage, language: str) -> str:
        """Why a stage can not be had in a language (`es`) or pair (`es→en`)."""
        names = self.engines.order[stage]
        hints = [f"{name}: {self.engines.by_name[name].missing(stage)}" for name in names]
        return f"{stage} of {language} can not be had ({'; '.join(hints) or 'no engine is configured for it'})"

    def tongue(self, given: str | None, likely: str | None = None) -> Tongue:
        """The language of a party. Not given: one of those that are heard here, the likely one until it is known."""
        heard = [given] if given else self._heard_here()
        return Tongue(given, sorted(heard, key=lambda code: code != primary(likely or code)), self._detector)

    def _warm(self) -> None:
        """Load the detector's model before an utterance waits for it: half a second, and 90 MB where it is wanted."""
        if self._warming is None:
            self._warming = asyncio.create_task(
                asyncio.to_thread(self._detector.guess, "hello", ["en"]), name="detector"
            )

    def _heard_here(self) -> list[str]:
        """The languages that some engine recognizes, English first: most of what is installed knows it best."""
        heard: set[str] = set()
        for name in self.engines.order[Stage.RECOGNITION]:
            recognizer = self.engines.by_name[name].recognizer
            heard |= recognizer.languages if recognizer is not None else set()
        if ANY in heard:
            heard = {language.code for language in languages.TABLE}
        codes = {primary(one) for one in heard} or {"en"}
        return sorted(codes, key=lambda code: (code != "en", code))

    def _lacks_alone(self, terms: Terms) -> list[str]:
        """What an agent lacks to talk with a caller."""
        spoken = terms.language_of(CUSTOMER)
        likely = spoken or self._heard_here()[0]
        lacks = []
        if not (self.engines.recognizer(spoken) or (spoken is None and self.engines.recognizer(likely))):
            lacks.append(self.missing(Stage.RECOGNITION, spoken or "any language"))
        if self.engines.synthesizer(likely) is None:
            lacks.append(self.missing(Stage.SYNTHESIS, likely))
        if terms.mode == HELP and self.library is None:
            lacks.append("there are no documents to answer from: speech.help_chat.documents is not set")
        if terms.mode == AI_AGENT and self.engines.thinker(spoken) is None:
            lacks.append(self.missing(Stage.THINKING, spoken or "any language"))
        return lacks

    def _lacks(self, terms: Terms, speaker: str, listener: str) -> list[str]:
        """What one way lacks."""
        spoken, wanted = terms.language_of(speaker), terms.language_of(listener)
        lacks = []
        if self.engines.recognizer(spoken) is None and (spoken or not self.engines.recognizer(self._heard_here()[0])):
            lacks.append(self.missing(Stage.RECOGNITION, spoken or "any language"))
        if spoken is not None and wanted is not None and differ(spoken, wanted):
            if self.engines.translator(spoken, wanted) is None:
                lacks.append(self.missing(Stage.TRANSLATION, f"{spoken}→{wanted}"))
            if terms.is_voiced(listener) and self.engines.synthesizer(wanted) is None:
                lacks.append(self.missing(Stage.SYNTHESIS, wanted))
        return lacks
