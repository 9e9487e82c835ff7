"""The language of one party: given, or found out from what it says. Owns the choice as it stands; knows no audio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.speech.detection import Choice, TextDetector, combined, count_words
from gateway.speech.stages import Heard


class Tongue:
    """The language of one party: given, or found out. among: those that can be served, the likeliest first."""

    def __init__(self, given: str | None, among: Sequence[str], detector: TextDetector) -> None:
        self.given = given
        self._among = among
        self._choice = Choice(among)
        self._detector = detector

    @property
    def language(self) -> str:
        """As far as it is known."""
        return self.given or self._choice.language or self._among[0]

    async def hear(self, heard: Heard, spoken: bool) -> str:
        """One more utterance. spoken: the engine found its language out by itself."""
        if self.given is not None or len(self._among) == 1:
            return self.language
        words = count_words(heard.text)
        guessed = await asyncio.to_thread(self._detector.guess, heard.text, self._among)
        return self._choice.hear(combined(heard.language if spoken else None, guessed, words), words)
