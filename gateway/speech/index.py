"""Finds passages by words: Okapi BM25 with words that begin alike, in memory, documents put in and out one at a time.

Owns postings and ranking. Language-blind: accents and case are ignored, a word also finds those that only add or
change an ending (`refund`, `refunded`), scripts without spaces are taken in pairs of characters. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from math import log
from typing import Final, NamedTuple

from gateway.speech.passages import Passage

_K1: Final = 1.4
_B: Final = 0.6
#: What a word of the same beginning counts, how much of it must be alike, and how many letters may differ.
_ALIKE: Final = 0.6
_ALIKE_LETTERS: Final = 4
_ENDING: Final = 3
#: A heading's words count so often.
_HEADING: Final = 2
#: Words that people put around what they ask for, without accents. They count little: they are everywhere or nowhere.
_AROUND_TEXT: Final = """
about and any are but can could did does for from get give had has have hello help her here him his how into know
like may much need not one our out please should tell than thank thanks that the their them then there these they
this those want was were what when where which who why will with would you your
algo como con cual cuando cuanto del donde ella ellos eso esta este estoy gracias hay las los mas muy nos para pero
por porque puedo puede pueden que quien quiero quisiera saber ser sin sobre son tengo tiene una usted vosotros
aber auch bitte das den der die ein eine einen fur haben hatte ich ist kann konnen man mein meine mit nicht oder
sehr sich sie sind und was wann warum welche wenn wer wie wir wird wissen wo zum zur
avec avez bonjour ce ces cette comment dans des est etes etre faire je les leur mais merci mon nous ou par pas peux
plus pour pourquoi puis quand quel quelle qui quoi sont sur une veux voudrais votre vous
anche avete che chi come con cosa dei del della dove hanno il mia mio nel non perche piu posso quale quando questo
sono una vorrei
como com das dos ela ele em estou meu minha mas nao onde para pode porque posso qual quando quero sao seu tem uma
"""
_AROUND: Final = frozenset(_AROUND_TEXT.split())
_LITTLE: Final = 0.1
#: Words of a question that are looked at.
_LONGEST_QUERY: Final = 64

_WORD: Final = re.compile(r"[^\W_]+")
#: CJK ideographs, kana, Hangul, Thai, Lao: written without spaces, or with words glued together.
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


def words(text: str) -> Iterator[str]:
    """What is compared."""
    folded = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    for run in _WORD.findall(unicodedata.normalize("NFC", folded)):
        if _UNSPACED.match(run):
            yield from (run[i : i + 2] for i in range(max(1, len(run) - 1)))
        else:
            yield run


def about(question: str) -> bool:
    """Whether a question has a word that asks for something: `hello` and `thank you` have none."""
    return any(_worth(word) > _LITTLE for word in words(question))


class Hit(NamedTuple):
    """score: higher is better; only comparable within one search. coverage: share of the question that the passage
    has, 0 … 1."""

    score: float
    coverage: float
    passage: Passage


class Index:
    """Passages by document. Not for several threads at once."""

    def __init__(self) -> None:
        self._passages: dict[int, tuple[Passage, int]] = {}  # by number: the passage and its length in words
        self._of: dict[str, list[tuple[int, Counter[str]]]] = {}
        self._postings: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._next = 0
        self._length = 0
        self._vocabulary: list[str] | None = []

    def __len__(self) -> int:
        return len(self._passages)

    @property
    def documents(self) -> set[str]:
        return set(self._of)

    def put(self, document: str, found: Iterable[Passage]) -> None:
        """These are the document's passages now."""
        self.remove(document)
        entries: list[tuple[int, Counter[str]]] = []
        for passage in found:
            counts = Counter(words(passage.text))
            for word in words(passage.heading):
                counts[word] += _HEADING
            number, self._next = self._next, self._next + 1
            length = sum(counts.values())
            self._passages[number] = (passage, length)
            self._length += length
            for word, count in counts.items():
                self._postings[word][number] = count
            entries.append((number, counts))
        self._of[document] = entries
        self._vocabulary = None

    def remove(self, document: str) -> None:
        for number, counts in self._of.pop(document, ()):
            self._length -= self._passages.pop(number)[1]
            for word in counts:
                postings = self._postings[word]
                del postings[number]
                if not postings:
                    del self._postings[word]
        self._vocabulary = None

    def sample(self) -> str:
        """Some of the text, for who wants to know its language."""
        return " ".join(passage.text for passage, _ in islice(self._passages.values(), 12))

    def search(self, query: str, limit: int = 4) -> list[Hit]:
        """The best passages, the best one first."""
        asked = list(dict.fromkeys(words(query)))[:_LONGEST_QUERY]
        if not asked or not self._passages:
            return []
        average = self._length / len(self._passages)
        scores: defaultdict[int, float] = defaultdict(float)
        covered: defaultdict[int, float] = defaultdict(float)
        total = 0.0
        for word in asked:
            # A word's best match in each passage; what is rare among all passages counts more.
            matches: dict[int, float] = {}
            for known, likeness in self._alike(word):
                for number, count in self._postings[known].items():
                    matches[number] = max(matches.get(number, 0.0), count * likeness)
            worth = _worth(word)
            weight = log(1 + (len(self._passages) - len(matches) + 0.5) / (len(matches) + 0.5)) * worth
            total += worth
            for number, matched in matches.items():
                length = self._passages[number][1]
                dampened = matched * (_K1 + 1) / (matched + _K1 * (1 - _B + _B * length / average))
                scores[number] += weight * dampened
                covered[number] += worth * min(1.0, matched)
        best = sorted(scores, key=lambda number: (-scores[number], number))[:limit]
        return [Hit(scores[n], covered[n] / total, self._passages[n][0]) for n in best]

    def _alike(self, word: str) -> Iterator[tuple[str, float]]:
        """Known words that match this one, and how well."""
        if word in self._postings:
            yield word, 1.0
        stem = word[: max(_ALIKE_LETTERS, len(word) - _ENDING)]
        if len(stem) < _ALIKE_LETTERS:
            return
        if self._vocabulary is None:
            self._vocabulary = sorted(self._postings)
        at = bisect_left(self._vocabulary, stem)
        while at < len(self._vocabulary) and (known := self._vocabulary[at]).startswith(stem):
            common = next((i for i, (a, b) in enumerate(zip(known, word, strict=False)) if a != b), None)
            shared = min(len(known), len(word)) if common is None else common
            if known != word and max(len(known), len(word)) - shared <= _ENDING:
                yield known, _ALIKE
            at += 1


def _worth(word: str) -> float:
    """How much of a question a word is."""
    short = len(word) < 3 and not word.isdecimal() and not _UNSPACED.match(word)
    return _LITTLE if short or word in _AROUND else 1.0
