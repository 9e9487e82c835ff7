"""A worker process that has loaded a model from a folder and does one job after the other with it.

Owns the messages with `models.py`; the order of things is `orders.py`'s. Which model is a module's business that has
`load(settings) -> Model`; only there the library is imported.
Run as `python -m gateway.speech.engines.model_worker FD MODULE SETTINGS`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final, Protocol

import msgspec

from gateway.speech.engines.orders import Done, Forget, Orders, Sound
from gateway.speech.engines.worker import Ready, enter, say

#: Audio of a job is sent in pieces of this: a message of the channel has a bound.
PIECE: Final = 64 * 1024


class Audio(msgspec.Struct, tag="audio"):
    """A part of what a `Hear` that follows is about."""

    number: int
    mulaw: bytes


class Hear(msgspec.Struct, tag="hear"):
    """language None: find out. before: what was said just before."""

    number: int
    language: str | None
    before: str


class Translate(msgspec.Struct, tag="translate"):
    number: int
    text: str
    source: str
    target: str


class Speak(msgspec.Struct, tag="speak"):
    number: int
    text: str
    language: str
    voice: str | None


Job = Hear | Translate | Speak
Order = Audio | Hear | Translate | Speak | Forget


class Text(msgspec.Struct, tag="text"):
    """language, confidence: of what was heard."""

    number: int
    text: str
    language: str = ""
    confidence: float = 1.0


Word = Ready | Text | Sound | Done


class ModelFault(Exception):
    """A job that can not be done, or a model that can not be had; told to whoever asked."""


class Model(Protocol):
    """about: what it can do, for `Ready`."""

    about: dict[str, Any]

    def work(self, job: Job, mulaw: bytes) -> Iterator[Text | Sound]:
        """The job's answers as they come; between two of them it may be given up. Raises ModelFault."""


class Loop:
    """The jobs of one channel, in turn."""

    def __init__(self, sock: socket.socket, model: Model) -> None:
        self._model = model
        self._audio: dict[int, bytearray] = {}
        self._orders = Orders(sock, Order, self._collect, lambda number: self._audio.pop(number, None))

    def run(self) -> None:
        """Until the channel closes."""
        while (job := self._orders.next()) is not None:
            if not self._orders.done(self._work(job)):
                return

    def _work(self, job: Job) -> str:
        try:
            for answer in self._model.work(job, bytes(self._audio.pop(job.number, b""))):
                if not self._orders.answer(answer) or not self._orders.wanted():
                    return "forgotten"
        except ModelFault as fault:
            return str(fault)
        return ""

    def _collect(self, order: Order) -> bool:
        if isinstance(order, Audio):
            self._audio.setdefault(order.number, bytearray()).extend(order.mulaw)
        return isinstance(order, Audio)


def main(argument: str, module: str, settings: str) -> None:
    sock = enter(argument)
    try:
        model: Model = import_module(module).load(msgspec.json.decode(settings))
    except ModelFault as fault:
        say(sock, Ready({"error": str(fault)}))
        return
    say(sock, Ready(model.about))
    Loop(sock, model).run()


if __name__ == "__main__":
    # By its name: what models import from here must be these very classes, not those of `__main__`.
    import_module("gateway.speech.engines.model_worker").main(*sys.argv[1:4])
