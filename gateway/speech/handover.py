"""A caller and the human to whom an agent has handed over: written down, and translated where their languages differ.

Theory of operation. It is a pipeline like that of `bidirectional_translation`; whose languages are the same hears
nobody translated, and both hear each other's own voice as before. As soon as the languages are known to differ and one
of the ways can be had, the session acts as `bidirectional_translation`: the originals move under the translation. Where
no way can be had, that is told once by `session.error`, and the voices stay as they are.

Owns that decision, taken anew whenever somebody comes, goes or has said something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Final

import structlog

from gateway.speech.interpreter import Sink
from gateway.speech.means import Shared
from gateway.speech.pipeline import Pipeline
from gateway.speech.stages import Stage
from gateway.speech.terms import Terms, differ
from gateway.speech.turn import Turn

_log = structlog.get_logger(__name__)

BIDIRECTIONAL: Final = "bidirectional_translation"


class HandOver(Pipeline):
    """terms: the agent's session's. shared: what it goes on with, and gives back."""

    def __init__(self, sink: Sink, terms: Terms, shared: Shared) -> None:
        super().__init__(sink, replace(terms, mode=BIDIRECTIONAL), shared)
        self._translating = False

    def joined(self, speaker: str) -> None:
        super().joined(speaker)
        self._decide()

    def left(self, speaker: str) -> None:
        super().left(speaker)
        self._decide()

    def understood(self, turn: Turn) -> None:
        super().understood(turn)
        self._decide()  # its language may have been found out by it

    def close(self) -> None:
        """One is left, or the session is over: it is the agent's again."""
        super().close()
        self._act(translating=False)

    def _decide(self) -> None:
        if self._closed:
            return
        lacks = list(self._lacks())
        if lacks and all(lacks):
            self._say_once("nobody translates after the hand-over: " + "; ".join(dict.fromkeys(lacks)))
        self._act(translating=bool(lacks) and not all(lacks))

    def _act(self, *, translating: bool) -> None:
        if translating != self._translating:
            self._translating = translating
            _log.info("hand_over", translating=translating)
            self._sink.acts_as(BIDIRECTIONAL if translating else None)

    def _lacks(self) -> Iterator[str]:
        """What each way between two languages lacks; empty: nothing."""
        for speaker, listener in permutations(self._parties.values(), 2):
            spoken, wanted = speaker.tongue.language, listener.tongue.language
            if not differ(spoken, wanted):
                continue
            if not speaker.can_hear:
                yield self._means.missing(Stage.RECOGNITION, spoken)
            elif self._engines.translator(spoken, wanted) is None:
                yield self._means.missing(Stage.TRANSLATION, f"{spoken}→{wanted}")
            elif self._engines.synthesizer(wanted) is None:
                yield self._means.missing(Stage.SYNTHESIS, wanted)
            else:
                yield ""
