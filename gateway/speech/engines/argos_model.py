"""Packages of Argos Translate, unpacked in a folder, by the libraries that they are made for. Only here those are used.

A package is a folder with `metadata.json`, a CTranslate2 `model/` and a `sentencepiece.model`. Argos Translate itself
is not needed: what it adds is a downloader and a sentence splitter of several gigabytes, and clauses are short. Where
no package leads from one language to another, two in a row do. Owns the packages and the ways. Nothing is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.speech.engines.model_worker import Job, ModelFault, Text, Translate
from gateway.speech.stages import primary

LIBRARIES: Final = ("ctranslate2", "sentencepiece")
FILES: Final = ("model/model.bin", "sentencepiece.model")
_SENTENCES: Final = re.compile(r"(?<=[.?!。！？।])\s+")

Pair = tuple[str, str]


def packages(folder: Path) -> tuple[dict[Pair, Path], dict[str, str]]:
    """The packages of a folder by (from, to), and what is wrong with others, by name."""
    found: dict[Pair, Path] = {}
    wrong: dict[str, str] = {}
    for path in sorted(folder.glob("**/metadata.json")):
        package = path.parent
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            pair = (str(about["from_code"]), str(about["to_code"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            wrong[package.name] = f"metadata.json: {type(error).__name__}: {error}"
            continue
        absent = [name for name in FILES if not (package / name).is_file()]
        if absent:
            wrong[package.name] = f"no {', no '.join(absent)}"
        else:
            found[pair] = package
    return found, wrong


def lacks(folder: Path) -> str:
    """What a folder needs to have a package; empty when nothing."""
    found, wrong = packages(folder)
    if found:
        return ""
    told = "; ".join(f"{name}: {why}" for name, why in wrong.items())
    return f"{folder} has no unpacked package of Argos Translate" + (f": {told}" if told else "")


def ways(pairs: set[Pair]) -> dict[Pair, list[Pair]]:
    """How to get from one language to another: by one package, else by two, over English where that leads there."""
    found = {pair: [pair] for pair in pairs}
    for begin, between in sorted(pairs, key=lambda pair: (pair[1] != "en", pair)):
        for other, end in sorted(pairs):
            if other == between and end != begin:
                found.setdefault((begin, end), [(begin, between), (between, end)])
    return found


class Argos:
    """A `Model`: all packages of a folder, loaded."""

    def __init__(self, settings: dict[str, Any]) -> None:
        folder = Path(settings["folder"])
        if wrong := lacks(folder):
            raise ModelFault(wrong)
        import ctranslate2
        import sentencepiece

        self._beam_size = settings["beam_size"]
        self._loaded: dict[Pair, tuple[Any, Any, list[str]]] = {}
        for pair, package in packages(folder)[0].items():
            try:
                translator = ctranslate2.Translator(
                    str(package / "model"),
                    device=settings["device"],
                    compute_type=settings["compute_type"],
                    intra_threads=settings["threads"],
                )
                pieces = sentencepiece.SentencePieceProcessor(model_file=str(package / "sentencepiece.model"))
            except (RuntimeError, ValueError, OSError) as error:
                raise ModelFault(f"{package}: {error}") from None
            prefix = json.loads((package / "metadata.json").read_text(encoding="utf-8")).get("target_prefix", "")
            self._loaded[pair] = (translator, pieces, [prefix] if prefix else [])
        self._ways = ways(set(self._loaded))
        self.about: dict[str, Any] = {"pairs": sorted(self._ways)}

    def work(self, job: Job, octets: bytes) -> Iterator[Text]:
        if not isinstance(job, Translate):
            raise ModelFault(f"Argos translates, it is no model for {type(job).__name__}")
        way = self._ways.get((primary(job.source), primary(job.target)))
        if way is None:
            raise ModelFault(f"no package leads from {job.source} to {job.target}")
        space = ""
        for sentence in _SENTENCES.split(job.text.strip()):
            text = sentence
            for pair in way:
                text = self._translate(pair, text)
            yield Text(job.number, space + text)
            space = " "

    def _translate(self, pair: Pair, text: str) -> str:
        translator, pieces, prefix = self._loaded[pair]
        (answer,) = translator.translate_batch(
            [pieces.encode(text, out_type=str)],
            target_prefix=[prefix] if prefix else None,
            beam_size=self._beam_size,
            length_penalty=0.2,
            replace_unknowns=True,
        )
        tokens = answer.hypotheses[0][len(prefix) :]
        return "".join(tokens).replace("▁", " ").strip()


load = Argos
