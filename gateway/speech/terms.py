"""What a session asks of its interpreter: mode and languages, and what follows for each party.

Owns who speaks which language and who is to hear whose words in which. Refuses to know engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.speech.stages import primary

CUSTOMER: Final = "customer"
AGENT: Final = "agent"


@dataclass(frozen=True)
class Terms:
    """source_language: the customer's, target_language: the agent's; None: to be found out. participants: the
    language of others, or None, by name. options: what else the session was created with."""

    mode: str
    source_language: str | None = None
    target_language: str | None = None
    participants: Mapping[str, str | None] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def language_of(self, speaker: str) -> str | None:
        """What a party speaks, as far as the session says. Who is not listed is on the agent's side."""
        own = self.participants.get(speaker)
        return own or (self.source_language if speaker == CUSTOMER else self.target_language)

    def other_language(self, speaker: str) -> str | None:
        """What the other side speaks: for a lone party, who hears himself."""
        return self.target_language if speaker == CUSTOMER else self.source_language

    def is_voiced(self, listener: str) -> bool:
        """Whether a party hears translations, or reads them only."""
        return self.mode != "assistive_translation" or listener == CUSTOMER


def differ(one: str | None, other: str | None) -> bool:
    """Whether there is something to translate between two languages. Unknown ones: no."""
    return one is not None and other is not None and primary(one) != primary(other)


def listeners(
    terms: Terms, speaker: str, present: Iterable[str], languages: Mapping[str, str | None]
) -> dict[str, list[str]]:
    """Who is to hear a speaker's words in which language. A lone party hears itself, as the other would."""
    others = [name for name in present if name != speaker]
    spoken = languages.get(speaker)
    if not others:
        wanted = terms.other_language(speaker)
        return {wanted: [speaker]} if wanted is not None and differ(spoken, wanted) else {}
    found: dict[str, list[str]] = {}
    for name in others:
        language = languages.get(name)
        if language is not None and differ(spoken, language):
            found.setdefault(language, []).append(name)
    return found
