"""The loopback interpreter: plays each finished utterance back, so that a line can be tried by ear.

A lone party hears itself. With two or more, each is heard by the others, as an interpreter's voice would be.
Translates nothing and recognizes nothing.
"""

from __future__ import annotations

from gateway.speech.endpointing import Endpointer, Utterance
from gateway.speech.interpreter import Sink


class Loopback:
    """One session's loopback."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._speakers: dict[str, Endpointer] = {}

    def joined(self, speaker: str) -> None:
        if speaker not in self._speakers:
            self._speakers[speaker] = Endpointer()

    def left(self, speaker: str) -> None:
        endpointer = self._speakers.pop(speaker, None)
        if endpointer is not None and self._speakers:
            for event in endpointer.flush():
                self._play(speaker, event)

    def audio(self, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        endpointer = self._speakers.get(speaker)
        if endpointer is None:
            endpointer = self._speakers[speaker] = Endpointer()
        for event in endpointer.push(timestamp_ms, mulaw):
            self._play(speaker, event)

    def played(self, target: str, mark: str) -> None:
        """It sets no marks."""

    def cleared(self, target: str, played_ms: int, dropped_ms: int) -> None:
        """What was not heard is not said again."""

    def refused(self, target: str, message: str) -> None:
        """It asks for nothing."""

    def close(self) -> None:
        self._speakers.clear()

    def _play(self, speaker: str, event: object) -> None:
        if isinstance(event, Utterance):
            others = self._speakers.keys() - {speaker}
            target = None if len(others) > 1 else next(iter(others), speaker)
            self._sink.audio(speaker, target, event.start_ms, event.mulaw)
