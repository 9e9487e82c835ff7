"""Whisper by faster-whisper, from a folder of the CTranslate2 format. Only here the library is used.

Owns what is asked of the model and which of its words count. Nothing is fetched from anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import exp
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.speech import mulaw
from gateway.speech.engines.model_worker import Hear, Job, ModelFault, Text
from gateway.speech.resampling import resample
from gateway.speech.stages import primary

LIBRARIES: Final = ("faster_whisper",)
FILES: Final = ("model.bin", "config.json", "tokenizer.json")
RATE: Final = 16_000
#: Segments that are unlikely to be speech at all: silence makes Whisper invent sentences.
_NO_SPEECH: Final = 0.6
_UNLIKELY: Final = -1.0


def lacks(folder: Path) -> str:
    """What a folder needs to be a model; empty when nothing."""
    absent = [name for name in FILES if not (folder / name).is_file()]
    return f"{folder} has no {', no '.join(absent)}: is it a Whisper model for CTranslate2?" if absent else ""


class Whisper:
    """A `Model`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        folder = Path(settings["folder"])
        if wrong := lacks(folder):
            raise ModelFault(wrong)
        os.environ["HF_HUB_OFFLINE"] = "1"
        from faster_whisper import WhisperModel

        try:
            self._model = WhisperModel(
                str(folder),
                device=settings["device"],
                compute_type=settings["compute_type"],
                cpu_threads=settings["threads"],
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:  # what CTranslate2 says of a folder that it can not read
            raise ModelFault(f"{folder}: {error}") from None
        self._beam_size = settings["beam_size"]
        self._codes = frozenset(self._model.supported_languages)
        self._many = self._model.model.is_multilingual
        self.about: dict[str, Any] = {"languages": sorted(self._codes), "detects": self._many}
        self._hear(np.zeros(RATE, np.float32), "en", "")  # what is made at first use is made now

    def work(self, job: Job, octets: bytes) -> Iterator[Text]:
        if not isinstance(job, Hear):
            raise ModelFault(f"Whisper hears, it is no model for {type(job).__name__}")
        language = None if job.language is None and self._many else primary(job.language or "en")
        if language is not None and language not in self._codes:
            raise ModelFault(f"the model does not hear {language}")
        samples = resample(mulaw.decode(octets), 8000, RATE).astype(np.float32) / 32768.0
        text, spoken, confidence = self._hear(samples, language, job.before)
        yield Text(job.number, text, job.language or spoken, confidence)

    def _hear(
        self, samples: np.ndarray[Any, np.dtype[np.float32]], language: str | None, before: str
    ) -> tuple[str, str, float]:
        segments, info = self._model.transcribe(
            samples,
            language=language,
            beam_size=self._beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            initial_prompt=before or None,
        )
        kept = [one for one in segments if one.no_speech_prob <= _NO_SPEECH or one.avg_logprob >= _UNLIKELY]
        text = "".join(one.text for one in kept).strip()
        length = sum(len(one.text) for one in kept)
        sure = sum(exp(min(0.0, one.avg_logprob)) * len(one.text) for one in kept) / length if length else 0.0
        return text, info.language, sure


load = Whisper
