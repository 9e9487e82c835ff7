"""What the configured engines are fit for on this host, for people: `glotgate check`.

Owns the report. Each engine is started as the daemon would start it, models loaded and endpoints asked, and closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import structlog

from gateway.speech import languages
from gateway.speech.engines.registry import build
from gateway.speech.settings import Speech
from gateway.speech.stages import ANY, Engine, EngineFault, Stage

#: Languages, or pairs, that are named one by one; more are counted.
_NAMED = 12


async def report(settings: Speech) -> list[str]:
    """A line for each engine, and below it one for each stage that names it."""
    order = {stage: getattr(settings, stage) for stage in Stage}
    used = [name for name in settings.engines if any(name in names for names in order.values())]
    # What engines log while they start is in the report, in its place.
    with structlog.testing.capture_logs():
        engines = {name: build(name, settings.engines[name]) for name in used}
        started = await asyncio.gather(*(engine.start() for engine in engines.values()), return_exceptions=True)
        lines = []
        for name, section in settings.engines.items():
            lines.append(f"engine {name} ({section.kind})" + ("" if name in used else ": no stage names it"))
            if name in used:
                outcome = started[used.index(name)]
                if outcome is not None and not isinstance(outcome, EngineFault):
                    raise outcome
                stages = [stage for stage in Stage if name in order[stage]]
                lines += [f"  {line}" for line in _told(engines[name], stages, outcome)]
        await asyncio.gather(*(engine.close() for engine in engines.values()))
    for stage in (Stage.RECOGNITION, Stage.TRANSLATION, Stage.SYNTHESIS):
        if not order[stage]:
            lines.append(f"no engine is named for {stage}")
    return lines


def _told(engine: Engine, stages: list[Stage], fault: EngineFault | None) -> Iterator[str]:
    if fault is not None:
        yield f"DOES NOT START: {fault.message}"
        return
    for stage in stages:
        can, trouble = _can(engine, stage), engine.trouble(stage)
        if not can:
            yield f"{stage}: NOT HAD: {engine.missing(stage) or 'nothing is installed for it'}"
        else:
            yield f"{stage}: {can}" + (f" ({trouble})" if trouble else "")


def _can(engine: Engine, stage: Stage) -> str:
    """The languages of a stage; empty when it is not had."""
    if stage is Stage.TRANSLATION:
        if engine.translator is None or not engine.translator.pairs:
            return ""
        if (ANY, ANY) in engine.translator.pairs:
            return "from any language to any"
        return _list(sorted(f"{source}→{target}" for source, target in engine.translator.pairs), "pairs")
    one = {
        Stage.RECOGNITION: engine.recognizer,
        Stage.SYNTHESIS: engine.synthesizer,
        Stage.THINKING: engine.thinker,
    }[stage]
    if one is None or not one.languages:
        return ""
    if ANY in one.languages:
        return "any language"
    return _list(sorted({languages.base(tag) for tag in one.languages}), "languages")


def _list(names: list[str], what: str) -> str:
    return ", ".join(names) if len(names) <= _NAMED else f"{len(names)} {what}"
