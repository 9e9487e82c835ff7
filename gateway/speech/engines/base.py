"""What all engines have in common: no stage before they have started, and nothing to say unless they know better.

Owns those defaults of `stages.Engine`.
"""

from __future__ import annotations

from gateway.speech.stages import Recognizer, Stage, Synthesizer, Thinker, Translator


class Base:
    """An `Engine` that does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.recognizer: Recognizer | None = None
        self.translator: Translator | None = None
        self.synthesizer: Synthesizer | None = None
        self.thinker: Thinker | None = None

    async def start(self) -> None:
        """It needs nothing."""

    async def close(self) -> None:
        """It holds nothing."""

    def missing(self, stage: Stage) -> str:
        return ""

    def trouble(self, stage: Stage) -> str:
        return ""

    def full(self) -> bool:
        return False
