"""Voices of piper, from a folder of `*.onnx` files, each with its `*.onnx.json`. Only here the library is used.

Owns which voice says what. Nothing is fetched from anywhere: voices whose text is prepared by something that piper
would download are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.speech import languages
from gateway.speech.engines.model_worker import Job, ModelFault, Speak
from gateway.speech.engines.orders import Sound
from gateway.speech.resampling import ToTelephone

LIBRARIES: Final = ("piper", "onnxruntime")
#: How a voice's text becomes phonemes: by the espeak-ng that piper brings along, or letter by letter.
_PREPARED_HERE: Final = ("espeak", "text")


class Found(NamedTuple):
    """A voice's files. language: a tag, as its configuration says."""

    name: str
    path: Path
    language: str


def voices(folder: Path) -> tuple[list[Found], dict[str, str]]:
    """The voices of a folder and of those below it, and what is wrong with others, by file."""
    found, wrong = [], {}
    for path in sorted(folder.rglob("*.onnx")):
        try:
            about = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
            prepared = about.get("phoneme_type", "espeak")
            code = (about.get("language") or {}).get("code") or about["espeak"]["voice"]
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            wrong[path.name] = f"its .json: {type(error).__name__}: {error}"
            continue
        if prepared not in _PREPARED_HERE:
            wrong[path.name] = f"its text is prepared by {prepared}, which piper would have to download"
        else:
            found.append(Found(path.stem, path, str(code).replace("_", "-")))
    return found, wrong


def lacks(folder: Path) -> str:
    """What a folder needs to have a voice; empty when nothing."""
    found, wrong = voices(folder)
    if found:
        return ""
    told = "; ".join(f"{name}: {why}" for name, why in wrong.items())
    return f"{folder} has no voice of piper (*.onnx with *.onnx.json)" + (f": {told}" if told else "")


class Piper:
    """A `Model`: all voices of a folder, loaded."""

    def __init__(self, settings: dict[str, Any]) -> None:
        folder = Path(settings["folder"])
        if wrong := lacks(folder):
            raise ModelFault(wrong)
        import onnxruntime
        from piper import PiperVoice
        from piper.config import PiperConfig

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings["threads"]
        self._voices: dict[str, tuple[str, Any]] = {}
        for name, path, language in voices(folder)[0]:
            try:
                session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
                about = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
                voice = PiperVoice(session=session, config=PiperConfig.from_dict(about))
                for _ in voice.synthesize("1"):  # what is made at first use is made now
                    break
            except Exception as error:  # onnxruntime's own exceptions have no common base
                raise ModelFault(f"{path}: {error}") from None
            self._voices[name] = (language, voice)
        self.about: dict[str, Any] = {
            "languages": sorted({language for language, _ in self._voices.values()}),
            "voices": sorted(self._voices),
        }

    def work(self, job: Job, octets: bytes) -> Iterator[Sound]:
        if not isinstance(job, Speak):
            raise ModelFault(f"piper speaks, it is no model for {type(job).__name__}")
        for chunk in self._voice(job).synthesize(job.text):
            telephone = ToTelephone(chunk.sample_rate)
            yield Sound(job.number, telephone.feed(chunk.audio_int16_array) + telephone.finish())

    def _voice(self, job: Speak) -> Any:
        if job.voice in self._voices:
            return self._voices[job.voice][1]
        tag = languages.nearest(job.language, [language for language, _ in self._voices.values()])
        if tag is None:
            raise ModelFault(f"no voice speaks {job.language}")
        return next(voice for language, voice in self._voices.values() if language == tag)


load = Piper
