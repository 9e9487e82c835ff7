"""What is being said to one party, and how much of it was heard: text cut into clauses, clauses laid along time.

Owns two accounts. `Sentences` cuts a text that comes in pieces where a voice would pause, the first clause early.
`Answer` knows which clause lies where in the audio that was sent, so that after an interruption the words that
were heard can be told from those that were not. Pure; time is an argument.
"""

from __future__ import annotations

import re
from typing import Final

#: Characters of a clause: at most so many, and at least so many before a sentence's end or a comma ends it.
LONGEST: Final = 220
SHORTEST: Final = 10
COMMA_AFTER: Final = 60

_END: Final = re.compile(r"[.!?…]+[\"'»”)\]]*\s+|[。！？]+[」』）]*|\n+")
_COMMA: Final = re.compile(r"[,;:–—]\s+|[、，；：]")
_SAYABLE: Final = re.compile(r"[^\W_]")


class Sentences:
    """Feed text in pieces, get clauses. Together they are the text, but for white space at the seams."""

    def __init__(self) -> None:
        self._text = ""

    def push(self, piece: str) -> list[str]:
        """The clauses that are finished by this piece."""
        self._text += piece
        found: list[str] = []
        while (cut := self._cut()) is not None:
            clause, self._text = self._text[:cut].strip(), self._text[cut:]
            if clause:
                found.append(clause)
        return found

    def flush(self) -> list[str]:
        """What is left at the end."""
        clause, self._text = self._text.strip(), ""
        return [clause] if clause else []

    def _cut(self) -> int | None:
        text = self._text
        for match in _END.finditer(text):
            # “Dr. Smith” and “No. 5” are no sentences: too short a clause goes on.
            if match.end() >= SHORTEST or "\n" in match[0] or match[0][0] in "。！？":
                return match.end() if match.end() <= LONGEST else self._forced(text)
        for match in _COMMA.finditer(text):
            if COMMA_AFTER <= match.end() <= LONGEST:
                return match.end()
        return self._forced(text) if len(text) > LONGEST else None

    @staticmethod
    def _forced(text: str) -> int:
        at = text.rfind(" ", SHORTEST, LONGEST)
        return LONGEST if at < 0 else at + 1


def sayable(clause: str) -> bool:
    """Whether there is anything to pronounce in it."""
    return bool(_SAYABLE.search(clause))


class Answer:
    """One answer on its way to one party. began: when its first audio was sent, in seconds of any clock."""

    def __init__(self) -> None:
        self.began: float | None = None
        self._clauses: list[tuple[str, int]] = []  # text, and its audio's milliseconds

    @property
    def text(self) -> str:
        """All of it that was begun to be sent."""
        return " ".join(text for text, _ in self._clauses)

    @property
    def sent_ms(self) -> int:
        return sum(ms for _, ms in self._clauses)

    def clause(self, text: str) -> None:
        """The audio from here on says this."""
        self._clauses.append((text, 0))

    def audio(self, ms: int, now: float) -> None:
        """So much audio of the last clause was sent."""
        if self.began is None:
            self.began = now
        text, before = self._clauses[-1]
        self._clauses[-1] = (text, before + ms)

    def left_ms(self, now: float) -> int:
        """How much has not been played yet, if play-out began at once and went on in real time."""
        if self.began is None:
            return 0
        return max(0, self.sent_ms - int((now - self.began) * 1000))

    def heard(self, dropped_ms: int) -> str:
        """The words that were heard, when so much at the end was not."""
        position = max(0, self.sent_ms - dropped_ms)
        words: list[str] = []
        for text, ms in self._clauses:
            if ms <= position:
                # A clause without audio yet was not heard, wherever the position is.
                words += [text] if ms else []
                position -= ms
                continue
            # In the middle of a clause: a voice says words at an even pace, near enough.
            all_of_them = text.split()
            words += all_of_them[: len(all_of_them) * position // ms]
            break
        return " ".join(words)
