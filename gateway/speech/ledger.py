"""What one listener was sent, and what of it was heard: an account in octets, by the play-out's own reports.

Theory of operation. What is sent is a line of octets, `base` the position up to which `audio.cleared` has accounted for
it. A mark stands at a position; played, everything before it was heard. A clear says how much was played and how much
dropped since the one before it, so that the sums of both are exactly what was sent: pieces before the first figure were
heard, up to the second dropped. A stream that knows neither marks nor clears leaves its pieces open until `close`.

Owns that account. Knows no audio, no text's meaning and no clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway.speech.interpreter import OCTETS_PER_MS

#: The first audio of a turn that a listener is sent, with a mark behind it: when that is played, the turn is heard.
FIRST: Final = 20 * OCTETS_PER_MS
#: Pieces whose fate is not known: minutes of speech. Beyond, the oldest counts as heard.
OPEN_PIECES: Final = 4096


@dataclass(eq=False)
class Clause:
    """Words on their way to one listener. Counts are octets; complete: no more of it will be sent."""

    text: str
    sent: int = 0
    heard: int = 0
    lost: int = 0
    complete: bool = False

    @property
    def is_settled(self) -> bool:
        """Its fate is known."""
        return self.complete and self.heard + self.lost >= self.sent

    def heard_text(self) -> str:
        """The words that were heard, by their share of the audio: whole ones only."""
        if not self.lost:
            return self.text if self.complete or self.sent else ""
        words = self.text.split()
        return " ".join(words[: len(words) * self.heard // max(1, self.heard + self.lost)])


class Account:
    """One listener's."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[Clause, int, int]] = deque()  # of whom, from, to
        self._marks: dict[str, int] = {}
        self._sent = 0
        self._base = 0

    @property
    def open_octets(self) -> int:
        """Sent, and neither heard nor lost as far as is known."""
        return self._sent - self._pieces[0][1] if self._pieces else 0

    def send(self, clause: Clause, octets: int) -> None:
        clause.sent += octets
        self._pieces.append((clause, self._sent, self._sent + octets))
        self._sent += octets
        if len(self._pieces) > OPEN_PIECES:
            self._hear(self._pieces[0][2])

    def mark(self, name: str) -> None:
        """A mark stands here."""
        self._marks[name] = self._sent
        if len(self._marks) > OPEN_PIECES:
            del self._marks[next(iter(self._marks))]

    def played(self, name: str) -> bool:
        """The mark was reached. False: it is none of ours."""
        position = self._marks.pop(name, None)
        if position is not None:
            self._hear(position)
        return position is not None

    def cleared(self, played_ms: int, dropped_ms: int) -> None:
        """A report. What it drops is lost, marks within it too."""
        self._hear(self._base + played_ms * OCTETS_PER_MS)
        self._base = min(self._sent, self._base + (played_ms + dropped_ms) * OCTETS_PER_MS)
        # The report is in whole milliseconds; a piece that ends within the last one is meant too.
        end = self._base + OCTETS_PER_MS
        while self._pieces and self._pieces[0][1] < end:
            clause, begin, finish = self._pieces.popleft()
            clause.lost += finish - begin
        self._marks = {name: at for name, at in self._marks.items() if at > end}

    def lose(self, octets: int) -> None:
        """So much at the end of what is open will not be heard, the rest was: for want of a report."""
        end = self._sent - min(octets, self.open_octets)
        self._hear(end)
        while self._pieces:
            clause, begin, finish = self._pieces.popleft()
            clause.lost += finish - begin
        self._marks.clear()

    def close(self) -> None:
        """Nothing more is to be learnt: what is open counts as heard."""
        self._hear(self._sent)
        self._marks.clear()

    def _hear(self, position: int) -> None:
        while self._pieces and self._pieces[0][1] < position:
            clause, begin, finish = self._pieces.popleft()
            clause.heard += min(finish, position) - begin
            if finish > position:
                self._pieces.appendleft((clause, position, finish))
                break
