"""Which language somebody speaks, when the session does not say: evidence of each utterance, and the decision.

Theory of operation. Every utterance brings evidence: a probability per language, from the engine that heard it
where it tells, else from its words (`TextDetector`). The first utterance decides. A decision on weak evidence
(“okay”, a name) gives way to the first better one; a firm one only to strong evidence for one and the same
other language: one long utterance or several short ones in a row, with nothing in between that speaks for the
present one. So a loan word or a misheard utterance does not switch an interpreter over, and somebody who
really changes the language is followed after about two sentences.

Owns that rule (`Choice`, pure) and the guess from text. Refuses to know engines and sessions.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from gateway.speech import languages

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

#: Evidence from here on decides firmly, if it has so many words.
FIRM: Final = 0.8
FIRM_WORDS: Final = 3
#: Evidence for another language that counts against a firm decision, and how many words of it are needed.
STRONG: Final = 0.95
STRONG_WORDS: Final = 8
#: A weak decision gives way to evidence from here on.
BETTER: Final = 0.5
#: An utterance that speaks for the present language to this degree wipes out what spoke against it.
HOLDS: Final = 0.5

#: How people begin and answer on the telephone: too short for a statistical guess, and all there is at first.
#: Words that several languages of the table share are left out.
_OPENINGS: Final[dict[str, str]] = {
    word: code
    for code, words in {
        "ar": "مرحبا نعم السلام",
        "cs": "dobrý ahoj",
        "da": "goddag",
        "de": "guten tag danke bitte moin servus",
        "en": "hello hi hey yes yeah please thanks thank good morning goodbye",
        "es": "hola buenos buenas gracias diga adiós sí",
        "fi": "kiitos kyllä päivää",
        "fr": "allô bonjour bonsoir oui merci",
        "hi": "नमस्ते हाँ",
        "it": "pronto ciao buongiorno buonasera grazie",
        "ja": "もしもし はい こんにちは",
        "ko": "여보세요 네 안녕하세요",
        "nl": "goedemorgen goedemiddag dank alstublieft",
        "pl": "cześć dzień dobry dziękuję tak",
        "pt": "alô olá obrigado obrigada bom boa",
        "ru": "алло да здравствуйте привет спасибо",
        "sv": "hallå tack",
        "tr": "alo merhaba evet teşekkürler",
        "uk": "вітаю дякую так",
        "zh": "喂 你好 您好 是的",
    }.items()
    for word in words.split()
}
#: Up to how many words an utterance is looked up in the openings.
_OPENING_WORDS: Final = 3
_OPENING_WEIGHT: Final = 0.85


def count_words(text: str) -> int:
    """Words as a speaker would count them: by white space; two characters make a word where a script has none."""
    count = 0
    for word in text.split():
        unspaced = sum(1 for c in word if "\u0e00" <= c <= "\u0eff" or "\u3040" <= c <= "\u9fff")
        count += (unspaced + 1) // 2 + (1 if unspaced < len(word) else 0)
    return count


class Choice:
    """One speaker's language. among: the languages that can be served at all, the likeliest first, never empty."""

    def __init__(self, among: Collection[str]) -> None:
        self.language: str | None = None
        self.firm = False
        self._among = list(among)
        self._against: str | None = None
        self._words_against = 0

    def hear(self, evidence: Mapping[str, float], words: int) -> str:
        """One utterance. evidence: probability per language, regions ignored. Returns the language from now on."""
        best, probability = self._best(evidence)
        firm = probability >= FIRM and words >= FIRM_WORDS
        if self.language is None or (not self.firm and probability >= BETTER):
            self.language = best
            self.firm = firm
        elif self.firm:
            self._doubt(best, probability, evidence, words)
        return self.language

    def _doubt(self, best: str, probability: float, evidence: Mapping[str, float], words: int) -> None:
        assert self.language is not None
        if evidence.get(languages.base(self.language), 0.0) >= HOLDS:
            self._against, self._words_against = None, 0
        elif probability >= STRONG:
            if best != self._against:
                self._against, self._words_against = best, 0
            self._words_against += words
            if self._words_against >= STRONG_WORDS:
                self.language, self._against, self._words_against = best, None, 0

    def _best(self, evidence: Mapping[str, float]) -> tuple[str, float]:
        """The likeliest language that can be served; the first on the list when nothing speaks for any."""
        found, highest = self._among[0], 0.0
        for code in self._among:
            probability = evidence.get(languages.base(code), 0.0)
            if probability > highest:
                found, highest = code, probability
        return found, highest


def combined(spoken: str | None, guessed: Mapping[str, float], words: int) -> dict[str, float]:
    """The evidence of one utterance. spoken: the language that the engine heard; guessed: from the words.

    An engine tells its best guess and not how sure it is. Where the words agree both together are strong, where they
    disagree neither is; of very few words only the voice can tell.
    """
    if spoken is None:
        return dict(guessed)
    heard = languages.base(spoken)
    share = 0.4 if words >= FIRM_WORDS and guessed else 0.1
    evidence = {code: p * share for code, p in guessed.items()}
    evidence[heard] = min(1.0, evidence.get(heard, 0.0) + (1 - share) * (0.97 if words >= FIRM_WORDS else 0.8))
    return evidence


class TextDetector:
    """Guesses the language of a text among those of the table. Loads its model with the first text: half a second.

    Safe in several threads, as `asyncio.to_thread` uses it.
    """

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._model: LanguageIdentifier | None = None

    def guess(self, text: str, among: Collection[str]) -> dict[str, float]:
        """Probability per language without region, of the languages in question; they add up to 1 at most."""
        wanted = {languages.base(code) for code in among}
        evidence = {code: p for code, p in self._ranked(text) if code in wanted}
        words = [word.strip(".,;:!?¡¿«»\"'…。、！？").casefold() for word in text.split()]
        if 0 < len(words) <= _OPENING_WORDS:
            openings = [_OPENINGS[word] for word in words if _OPENINGS.get(word) in wanted]
            if openings:
                share = _OPENING_WEIGHT / len(openings)
                evidence = {code: p * (1 - _OPENING_WEIGHT) for code, p in evidence.items()}
                for code in openings:
                    evidence[code] = evidence.get(code, 0.0) + share
        total = sum(evidence.values())
        # What remains for languages that can not be served counts as doubt, up to a point: an engine that hears
        # English only in whatever is said must not turn every caller into somebody who speaks Tagalog.
        doubt = min(0.25, max(0.0, 1.0 - total)) if total else 1.0
        return {code: p / total * (1 - doubt) for code, p in evidence.items()} if total else {}

    def _ranked(self, text: str) -> list[tuple[str, float]]:
        return [(code, float(p)) for code, p in self._loaded().rank(text)]

    def _loaded(self) -> LanguageIdentifier:
        with self._loading:
            if self._model is None:
                from py3langid.langid import MODEL_FILE, LanguageIdentifier

                model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
                model.set_languages(sorted({language.code for language in languages.TABLE}))
                self._model = model
            return self._model
