"""What the installed engines can do with each language: for clients that offer a choice, and for people who ask.

Owns the list's shape and order. Reads what engines declare; asks none of them to do anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.speech import languages
from gateway.speech.engines.registry import Engines
from gateway.speech.stages import ANY, Engine, Stage, serves


def abilities(engines: Engines) -> list[dict[str, Any]]:
    """One entry per language with which something can be done, by code.

    recognition, synthesis, thinking: the engines that do it, in order of preference. translation: into which codes
    (`to`) and out of which (`from`) it is translated, `*` for any. detection: how it is found out when a session does
    not say it: `speech`, `text`, or null where only one language is heard.
    """
    heard = _codes(engine.recognizer.languages for engine in _of(engines, Stage.RECOGNITION) if engine.recognizer)
    found = []
    for code in sorted({language.code for language in languages.TABLE} | _declared(engines)):
        language = languages.find(code)
        entry: dict[str, Any] = {
            "code": code,
            "name": code if language is None else language.name,
            "native_name": code if language is None else language.native,
            "recognition": _serving(engines, Stage.RECOGNITION, code),
            "translation": _translation(engines, code),
            "synthesis": _serving(engines, Stage.SYNTHESIS, code),
            "thinking": _serving(engines, Stage.THINKING, code),
            "detection": _detection(engines, code, several=len(heard) > 1 or ANY in heard),
        }
        can = (entry["recognition"], entry["synthesis"], entry["thinking"], *entry["translation"].values())
        if any(can):
            found.append(entry)
    return found


def lines(entries: Iterable[dict[str, Any]]) -> list[str]:
    """The same, as a table for people."""
    shown = [("code", "language", "heard by", "spoken by", "translated to", "thought in by")]
    for entry in entries:
        who = [", ".join(entry[stage]) or "-" for stage in ("recognition", "synthesis")]
        to = ", ".join(entry["translation"]["to"]) or "-"
        shown.append((entry["code"], entry["name"], *who, to, ", ".join(entry["thinking"]) or "-"))
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def _of(engines: Engines, stage: Stage) -> list[Engine]:
    return [engines.by_name[name] for name in engines.order[stage]]


def _stage(engine: Engine, stage: Stage) -> Any:
    return {
        Stage.RECOGNITION: engine.recognizer,
        Stage.SYNTHESIS: engine.synthesizer,
        Stage.THINKING: engine.thinker,
    }[stage]


def _serving(engines: Engines, stage: Stage, code: str) -> list[str]:
    doing = [(engine.name, _stage(engine, stage)) for engine in _of(engines, stage)]
    return [name for name, one in doing if one is not None and serves(one.languages, code)]


def _translation(engines: Engines, code: str) -> dict[str, list[str]]:
    to: set[str] = set()
    out_of: set[str] = set()
    for engine in _of(engines, Stage.TRANSLATION):
        for source, target in engine.translator.pairs if engine.translator else ():
            if serves((source,), code):
                to.add(target)
            if serves((target,), code):
                out_of.add(source)
    return {"to": _listed(to, code), "from": _listed(out_of, code)}


def _listed(tags: set[str], code: str) -> list[str]:
    return [ANY] if ANY in tags else sorted({languages.base(tag) for tag in tags} - {code})


def _detection(engines: Engines, code: str, *, several: bool) -> str | None:
    hearing = [engine.recognizer for engine in _of(engines, Stage.RECOGNITION) if engine.recognizer]
    serving = [one for one in hearing if serves(one.languages, code)]
    if any(one.detects for one in serving):
        return "speech"
    return "text" if serving and several else None


def _codes(declared: Iterable[Iterable[str]]) -> set[str]:
    return {tag if tag == ANY else languages.base(tag) for tags in declared for tag in tags}


def _declared(engines: Engines) -> set[str]:
    """Languages that engines name, whether the table has them or not."""
    stages = (Stage.RECOGNITION, Stage.SYNTHESIS, Stage.THINKING)
    ones = [_stage(engine, stage) for stage in stages for engine in _of(engines, stage)]
    tags = _codes(one.languages for one in ones if one is not None)
    pairs = [engine.translator.pairs for engine in _of(engines, Stage.TRANSLATION) if engine.translator]
    return (tags | _codes(pair for some in pairs for pair in some)) - {ANY}
