"""Which interpreter a session gets, and whether it can have one at all.

Owns the engines of the process and their health, and the answer to a creation that nobody could serve: 422
`engine_not_available` with the stage that is missing, 503 when an engine has no room. Knows no session's life.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import Fault, PeerFault
from gateway.speech import languages
from gateway.speech.caller import Tongue
from gateway.speech.detection import TextDetector
from gateway.speech.endpointing import Tuning
from gateway.speech.engines.registry import Engines
from gateway.speech.fallback import Chains, Health
from gateway.speech.interpreter import Interpreter, Sink
from gateway.speech.pipeline import Measures, Pipeline
from gateway.speech.resilience import Limits
from gateway.speech.settings import Speech
from gateway.speech.stages import ANY, Stage, primary
from gateway.speech.terms import AGENT, CUSTOMER, Terms, differ

#: Seconds after which a creation that was refused for want of room may be tried again.
_RETRY_S = 5


class Interpreters:
    """The engines, started once, and what is made of them. clock: seconds."""

    def __init__(self, settings: Speech, engines: Engines, clock: Callable[[], float], measures: Measures) -> None:
        self.engines = engines
        rest = settings.rest
        self.health = Health(clock, Limits(rest.failures, rest.first_s, rest.longest_s))
        self.chains = Chains(engines, self.health)
        self._settings = settings
        self._clock = clock
        self._measures = measures
        self._detector = TextDetector()

    async def start(self) -> None:
        await self.engines.start()

    async def close(self) -> None:
        await self.engines.close()

    def make(self, terms: Terms, sink: Sink) -> Interpreter:
        """A session's interpreter."""
        endpointing = self._settings.endpointing
        tuning = Tuning(hangover_ms=endpointing.hangover_ms, longest_ms=endpointing.longest_s * 1000)
        return Pipeline(
            sink,
            terms,
            self.chains,
            lambda speaker: self.tongue(terms.language_of(speaker)),
            self.missing,
            tuning,
            endpointing.clause_ms,
            self._clock,
            self._measures,
        )

    def check(self, terms: Terms) -> None:
        """Before a session is made. Raises PeerFault: no chain of engines exists, or it has no room.

        With two languages one direction is enough: what the other one lacks is told to the session when it is wanted.
        """
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

    def tongue(self, given: str | None) -> Tongue:
        """The language of a party. Not given: one of those that are heard here."""
        return Tongue(given, [given] if given else self._heard_here(), self._detector)

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
