"""A worker process that has loaded a model from a folder and does one job after the other with it.

Owns the messages with `models.py`, and the loop. Which model is a module's business that has `load(settings) -> Model`;
only there the library is imported. Run as `python -m gateway.speech.engines.model_worker FD MODULE SETTINGS`.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final, Protocol

import msgspec

from gateway.speech.engines.worker import Ready, enter, say

#: Audio of a job is sent in pieces of this: a message of the channel has a bound.
PIECE: Final = 64 * 1024
_LARGEST: Final = 256 * 1024


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


class Forget(msgspec.Struct, tag="forget"):
    """Nobody waits for this job any more."""

    number: int


Job = Hear | Translate | Speak
Order = Audio | Hear | Translate | Speak | Forget


class Text(msgspec.Struct, tag="text"):
    """language, confidence: of what was heard."""

    number: int
    text: str
    language: str = ""
    confidence: float = 1.0


class Sound(msgspec.Struct, tag="sound"):
    number: int
    mulaw: bytes


class Done(msgspec.Struct, tag="done"):
    """error: empty when all of it was done."""

    number: int
    error: str = ""


Word = Ready | Text | Sound | Done


class ModelFault(Exception):
    """A job that can not be done, or a model that can not be had; told to whoever asked."""


class Model(Protocol):
    """about: what it can do, for `Ready`."""

    about: dict[str, Any]

    def work(self, job: Job, mulaw: bytes) -> Iterator[Text | Sound]:
        """The job's answers as they come; between two of them it may be given up. Raises ModelFault."""


class Loop:
    """The orders of one channel, in turn."""

    def __init__(self, sock: socket.socket, model: Model) -> None:
        self._sock = sock
        self._model = model
        self._jobs: deque[Job] = deque()
        self._audio: dict[int, bytearray] = {}
        self._forgotten: set[int] = set()
        self._current = 0
        self._decoder = msgspec.msgpack.Decoder(Order)

    def run(self) -> None:
        """Until the channel closes."""
        while self._read(wait=not self._jobs):
            if self._jobs:
                job = self._jobs.popleft()
                self._current = job.number
                audio = bytes(self._audio.pop(job.number, b""))
                done = Done(job.number, self._work(job, audio))
                self._forgotten.discard(job.number)
                self._current = 0
                if not say(self._sock, done):
                    return

    def _work(self, job: Job, audio: bytes) -> str:
        if job.number in self._forgotten:
            return "forgotten"
        try:
            for answer in self._model.work(job, audio):
                if not say(self._sock, answer) or not self._read(wait=False) or job.number in self._forgotten:
                    return "forgotten"
        except ModelFault as fault:
            return str(fault)
        return ""

    def _read(self, *, wait: bool) -> bool:
        """Take the orders that are there; wait: for one at least. False: the channel has closed."""
        while True:
            try:
                data = self._sock.recv(_LARGEST, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not data:
                return False
            order = self._decoder.decode(data)
            if isinstance(order, Audio):
                self._audio.setdefault(order.number, bytearray()).extend(order.mulaw)
            elif isinstance(order, Forget):
                self._audio.pop(order.number, None)
                if order.number in (self._current, *(job.number for job in self._jobs)):
                    self._forgotten.add(order.number)
            else:
                self._jobs.append(order)
            wait = False


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
