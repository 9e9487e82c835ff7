"""The `speech` section of the configuration: which engines there are, and which of them serves each stage.

Owns keys, types, defaults and bounds. Knows no engine's code: that is found by `engines/registry.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from gateway.section import KeyFault, KeyFaults, Section
from gateway.speech.engine_settings import ArgosEngine, OpenAiEngine, PiperEngine, WhisperEngine

#: The engine that is always there, under this name.
OFFLINE: Final = "offline"

EngineName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class OfflineEngine(Section):
    """What Debian and PyPI carry: pocketsphinx, apertium, espeak-ng. No network, no key, no download."""

    kind: Literal["offline"] = "offline"
    max_speakers: Annotated[int, Field(ge=1, le=1000)] | None = None


#: Every engine that there is, told apart by its `kind`.
EngineSection = Annotated[
    OfflineEngine | OpenAiEngine | WhisperEngine | ArgosEngine | PiperEngine, Field(discriminator="kind")
]


class Endpointing(Section):
    """When a turn, and a clause within it, ends."""

    hangover_ms: Annotated[int, Field(ge=100, le=3000)] = 500
    clause_ms: Annotated[int, Field(ge=60, le=3000)] = 260
    longest_s: Annotated[int, Field(ge=2, le=120)] = 20

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.clause_ms > self.hangover_ms:
            raise KeyFaults(
                KeyFault(("clause_ms",), f"{self.clause_ms} must not be above hangover_ms", ("hangover_ms",))
            )
        return self


class Rest(Section):
    """When an engine that fails is left alone, and for how long: the first time, and at most."""

    failures: Annotated[int, Field(ge=1, le=100)] = 3
    first_s: Annotated[float, Field(ge=0.5, le=600)] = 5.0
    longest_s: Annotated[float, Field(ge=0.5, le=3600)] = 60.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.first_s > self.longest_s:
            raise KeyFaults(KeyFault(("first_s",), f"{self.first_s:g} must not be above longest_s", ("longest_s",)))
        return self


class HelpChat(Section):
    """What `help_chat_voice` answers from, and how."""

    documents: Path | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")] | None = None
    greeting: Annotated[str, Field(max_length=2000)] | None = None
    instructions: Annotated[str, Field(max_length=20_000)] = ""


class Speech(Section):
    """engines: by name; `offline` is there without being named. The stages: engines in order of preference, each the
    fallback of the one before it; an engine that can not do the language is passed over."""

    engines: dict[EngineName, EngineSection] = Field(default={OFFLINE: OfflineEngine()})
    recognition: tuple[EngineName, ...] = (OFFLINE,)
    translation: tuple[EngineName, ...] = (OFFLINE,)
    synthesis: tuple[EngineName, ...] = (OFFLINE,)
    thinking: tuple[EngineName, ...] = ()
    endpointing: Endpointing = Endpointing()
    rest: Rest = Rest()
    help_chat: HelpChat = HelpChat()

    @field_validator("engines", mode="before")
    @classmethod
    def _with_offline(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        given = value.get(OFFLINE, {})
        return {**value, OFFLINE: {"kind": OFFLINE, **given} if isinstance(given, dict) else given}

    @model_validator(mode="after")
    def _known(self) -> Self:
        faults = [
            KeyFault((stage, place), f"there is no engine {name!r}; speech.engines has {', '.join(self.engines)}")
            for stage in ("recognition", "translation", "synthesis", "thinking")
            for place, name in enumerate(getattr(self, stage))
            if name not in self.engines
        ]
        if faults:
            raise KeyFaults(*faults)
        return self
