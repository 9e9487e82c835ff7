"""gateway/speech/engines/speaking_worker.py: its order of things, with a voice that is pretended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from gateway.speech import mulaw
from gateway.speech.engines.orders import Done, Forget, Sound
from gateway.speech.engines.speaking_worker import Espeak, Order, Say, Speaker, Word
from gateway.speech.engines.worker import pair


class FakeEspeak:
    """A tone of 100 ms a word, in pieces of 50 ms, after 100 ms of silence."""

    rate = 16_000

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._before = before
        self.pieces = 0

    def speak(self, text: str, voice: str, take: Any) -> str:
        if voice == "none":
            return "there is no such voice"
        tone = (8000 * np.sin(np.arange(800) / 5)).astype(np.int16)
        for piece in [np.zeros(1600, np.int16), *[tone] * (2 * len(text.split()))]:
            self.pieces += 1
            self._before()
            if not take(piece):
                break
        return ""


def run(espeak: FakeEspeak, *orders: Order, end: socket.socket | None = None) -> list[Any]:
    ours, theirs = pair()
    decoder = msgspec.msgpack.Decoder(Word)
    for order in orders:
        ours.send(msgspec.msgpack.encode(order))
    speaker = threading.Thread(target=Speaker(theirs, espeak).run)  # type: ignore[arg-type]
    speaker.start()
    words = []
    while sum(isinstance(word, Done) for word in words) < sum(isinstance(order, Say) for order in orders):
        words.append(decoder.decode(ours.recv(65536)))
    ours.close()
    speaker.join(20)
    assert not speaker.is_alive()
    return words


def test_a_clause_comes_in_pieces_at_8_khz_without_its_silence() -> None:
    words = run(FakeEspeak(), Say(1, "uno dos tres", "es"))
    sounds = [word for word in words if isinstance(word, Sound)]
    assert len(sounds) > 3
    assert words[-1] == Done(1)
    samples = mulaw.decode(b"".join(sound.mulaw for sound in sounds))
    assert abs(len(samples) - 2400) <= 60
    assert np.abs(samples[:40]).max() > 100


def test_clauses_are_spoken_in_turn() -> None:
    words = run(FakeEspeak(), Say(1, "uno", "es"), Say(2, "dos", "es"))
    assert [word.number for word in words] == sorted(word.number for word in words)


def test_what_is_forgotten_is_given_up() -> None:
    words = run(FakeEspeak(), Say(1, "uno", "es"), Say(2, "dos " * 50, "es"), Forget(2))
    assert Done(1) in words
    assert sum(isinstance(word, Sound) and word.number == 2 for word in words) < 20


def test_a_voice_that_is_not_there_is_an_answer() -> None:
    assert run(FakeEspeak(), Say(7, "uno", "none")) == [Done(7, "there is no such voice")]


def test_the_library_speaks_and_names_its_voices() -> None:
    espeak = Espeak()
    assert {"es", "es-419", "en-us", "de"} <= set(espeak.languages())
    pieces: list[int] = []

    def take(samples: np.ndarray[Any, Any]) -> bool:
        pieces.append(len(samples))
        return True

    assert espeak.speak("Buenos días", "es", take) == ""
    assert sum(pieces) > espeak.rate // 2
    assert "no voice" in espeak.speak("x", "xx-none", take)
    pieces.clear()
    assert espeak.speak("Buenos días a todos", "es", lambda samples: bool(pieces.append(1))) == ""
    assert len(pieces) == 1  # who wants no more gets no more
