"""The sections of `speech.engines`: one class for each kind of engine, with its keys, defaults and bounds.

Owns no engine's code; `settings.py` puts the kinds together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from gateway.section import Section, WebAddress


def _header_value(key: SecretStr) -> SecretStr:
    value = key.get_secret_value()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("a key has printable ASCII characters only, and no space")
    return key


ApiKey = Annotated[SecretStr, AfterValidator(_header_value)]
#: Below the 8 s after which the pipeline gives up: the engine is to be found late, and the next to have time.
Patience = Annotated[float, Field(ge=0.5, le=7.5)]
Places = Annotated[int, Field(ge=1, le=256)]
Languages = Annotated[tuple[str, ...], Field(min_length=1)]


class OpenAiStage(Section):
    """What every stage of an endpoint has. timeout_s: to the first piece of an answer, and from piece to piece."""

    model: str
    languages: Languages = ("*",)
    timeout_s: Patience = 5.0
    concurrency: Places = 16
    extra: dict[str, Any] = Field(default_factory=dict)


class OpenAiRecognition(OpenAiStage):
    format: Literal["auto", "verbose_json", "json"] = "auto"
    stream: bool = False
    early_ms: Annotated[int, Field(ge=0, le=3000)] = 120


class OpenAiTranslation(OpenAiStage):
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    instructions: str | None = None


class OpenAiSynthesis(OpenAiStage):
    voice: str
    voices: dict[str, str] = Field(default_factory=dict)
    format: Literal["wav", "pcm"] = "wav"
    pcm_rate_hz: Annotated[int, Field(ge=8000, le=48_000)] = 24_000


class OpenAiThinking(OpenAiStage):
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None


class OpenAiEngine(Section):
    """An endpoint with OpenAI's HTTP interface: hosted, or speaches, vLLM, LocalAI on the premises."""

    kind: Literal["openai"] = "openai"
    base_url: WebAddress = "https://api.openai.com/v1"
    api_key: ApiKey | None = None
    ca_file: Path | None = None
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    recognition: OpenAiRecognition | None = None
    translation: OpenAiTranslation | None = None
    synthesis: OpenAiSynthesis | None = None
    thinking: OpenAiThinking | None = None


class LocalEngine(Section):
    """Models in a folder, in processes of their own. waiting: jobs; timeout_s: from piece to piece of an answer."""

    folder: Path
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    waiting: Annotated[int, Field(ge=1, le=256)] = 8
    timeout_s: Patience = 5.0


class WhisperEngine(LocalEngine):
    """faster-whisper."""

    kind: Literal["whisper"] = "whisper"
    languages: Languages = ("*",)
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    compute_type: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] = "int8"
    beam_size: Annotated[int, Field(ge=1, le=10)] = 1


class ArgosEngine(LocalEngine):
    """Packages of Argos Translate."""

    kind: Literal["argos"] = "argos"
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    compute_type: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] = "default"
    beam_size: Annotated[int, Field(ge=1, le=10)] = 2


class PiperEngine(LocalEngine):
    """Voices of piper."""

    kind: Literal["piper"] = "piper"
