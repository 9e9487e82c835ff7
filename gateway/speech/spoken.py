"""Text that comes in pieces, cut where a voice would pause: the first clause is spoken while the rest is written.

Owns the places. Knows no language: the marks are those of many. Pure.
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
