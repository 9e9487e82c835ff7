"""A pretended model for worker processes: does as the text of a job says."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from gateway.speech.engines.model_worker import Hear, Job, ModelFault, Sound, Speak, Text

LIBRARIES = ("json",)


class PretendModel:
    """`slow 0.5 …`: takes so long. `die`: the process does. `bad`: a fault. `stuck`: never comes back."""

    def __init__(self, settings: dict[str, Any]) -> None:
        if settings.get("broken"):
            raise ModelFault("the folder is empty")
        if settings.get("crashes"):
            os._exit(3)
        self.about: dict[str, Any] = {"languages": ["en", "es"], "detects": True, "pairs": [["en", "es"]]}

    def work(self, job: Job, octets: bytes) -> Iterator[Text | Sound]:
        if isinstance(job, Hear):
            yield Text(job.number, f"{len(octets)} octets after {job.before!r}", job.language or "es", 0.5)
            return
        words = job.text.split()
        if words[0] == "die":
            os._exit(3)
        if words[0] == "bad":
            raise ModelFault("no such word")
        if words[0] == "stuck":
            time.sleep(1000)
        for word in words:
            if words[0] == "slow":
                time.sleep(float(words[1]))
            if isinstance(job, Speak):
                yield Sound(job.number, word.encode())
            else:
                yield Text(job.number, word.upper())


load = PretendModel
