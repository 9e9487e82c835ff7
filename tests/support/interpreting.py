"""What interpreters work with, pretended: one engine for every stage, and a speaker who talks in frames."""

from __future__ import annotations

from collections.abc import Callable

from gateway.speech.detection import TextDetector
from gateway.speech.endpointing import Tuning
from gateway.speech.engines.registry import Engines
from gateway.speech.means import Means
from gateway.speech.stages import Stage
from gateway.speech.tongue import Tongue
from tests.support.engines import PretendEngine
from tests.support.sinks import Measured

#: Its model is loaded once.
DETECTOR = TextDetector()


def engines_of(engine: PretendEngine) -> Engines:
    """It serves every stage."""
    return Engines({engine.name: engine}, {stage: [engine.name] for stage in Stage})


def means(engine: PretendEngine, clock: Callable[[], float], measured: Measured | None = None) -> Means:
    return Means(
        engines_of(engine), lambda stage, language: f"no {stage} of {language}", Tuning(hangover_ms=500), 260, clock,
        measured or Measured(),
    )  # fmt: skip


def tongue(given: str | None, *among: str) -> Tongue:
    return Tongue(given, among or ("en", "es"), DETECTOR)
