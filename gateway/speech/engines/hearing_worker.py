"""The processes in which pocketsphinx hears: one that has loaded the model, and a fork of it for each speaker.

Theory of operation. The first process loads the acoustic model, the dictionary and the language model (a third of a
second, 100 MB) and then does nothing but fork: for each socket that it is handed, a child that shares those pages and
hears one speaker until the socket closes. A crash costs one speaker one turn; the kernel spreads speakers over cores;
what the decoder learns of a line (the cepstral mean) stays with its speaker. A pause commits: the utterance ends there
for the decoder, which searches it a second time while the endpointing still waits for the turn's end.

Owns the messages with `sphinx.py`, and the turn. Imported by both sides, so pocketsphinx only where it is used.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import sys
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.speech import mulaw
from gateway.speech.engines.worker import Ready, enter, messages, say
from gateway.speech.interpreter import OCTETS_PER_MS
from gateway.speech.resampling import Resampler

#: What the model was trained with.
RATE: Final = 16_000
#: Audio between two guesses.
GUESS_MS: Final = 400
#: A dither below a telephone's noise, where the upsampled band is empty: the logarithm of nothing is no feature.
_DITHER: Final = 8.0
#: Where a telephone's cepstral mean lies at LEVEL_DB: the decoder begins with that of a studio, and would mishear the
#: first words of every speaker until it has learnt the line.
_MEAN: Final = "45.07,9.85,-11.43,32.46,-7.13,2.69,-2.57,-19.47,-0.49,-5.61,8.24,-0.10,-3.87"
#: Chosen, like the mean, on sentences that the benches do not use. By default the language model weighs 6.5, and a
#: frame may have 30,000 states.
OPTIONS: Final[dict[str, Any]] = {"lw": 5.0, "maxhmmpf": 10_000, "cmninit": _MEAN, "loglevel": "ERROR"}
#: The level, in dB below full scale, that speech is brought to, and by how much at most.
LEVEL_DB: Final = -26.0
_GAINS: Final = (0.25, 16.0)


Samples = npt.NDArray[np.int16]


class Audio(msgspec.Struct, tag="audio"):
    mulaw: bytes


class Pause(msgspec.Struct, tag="pause"):
    pass


class End(msgspec.Struct, tag="end"):
    """turn: counted by the speaker's ear."""

    turn: int


class Drop(msgspec.Struct, tag="drop"):
    pass


Order = Audio | Pause | End | Drop


class Guess(msgspec.Struct, tag="guess"):
    """covered_ms: so much of the turn's audio the stable characters stand for."""

    turn: int
    text: str
    stable: int
    covered_ms: int


class Answer(msgspec.Struct, tag="answer"):
    turn: int
    text: str
    confidence: float


Word = Guess | Answer


class Decoder(Protocol):
    """What is used of pocketsphinx's."""

    def start_utt(self) -> None: ...
    def process_raw(self, data: bytes, no_search: bool = False, full_utt: bool = False) -> int: ...
    def end_utt(self) -> None: ...
    def hyp(self) -> Any: ...


class Gain:
    """Brings a speaker to a level, whatever his telephone does: follows the loud half of what is heard."""

    def __init__(self) -> None:
        self._power = 0.0  # of loud windows, full scale 1
        self._windows = 0  # that it was learnt from

    def apply(self, samples: Samples) -> npt.NDArray[np.float32]:
        """(n,) int16 → (n,) float32 of the same scale."""
        size = RATE // 50
        whole = samples[: len(samples) // size * size].astype(np.float32).reshape(-1, size) / 32768
        if len(whole):
            powers = np.sort((whole**2).mean(axis=1))
            self._learn(powers[len(powers) // 2 :])
        gain = float(np.clip(10 ** (LEVEL_DB / 20) / np.sqrt(self._power + 1e-9), *_GAINS))
        return samples.astype(np.float32) * np.float32(gain)

    def _learn(self, loud: npt.NDArray[np.float32]) -> None:
        # A window far below what is known is a pause.
        for power in loud[loud > 0.03 * self._power].tolist():
            self._windows = min(self._windows + 1, 200)
            self._power += (power - self._power) / self._windows


class Listener:
    """One speaker's turns. Feed orders, get words."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._noise = np.random.default_rng(1)
        self._gain = Gain()
        self._turn = 0
        self._begin()

    def take(self, order: Order) -> list[Word]:
        """An order, and what is to be said to it."""
        if isinstance(order, Audio):
            return self._hear(order.mulaw)
        if isinstance(order, Pause):
            self._commit()
            return self._guess(commit=True)
        if isinstance(order, End):
            self._commit()
            answer = Answer(order.turn, polished(" ".join(self._done)), self._confidence())
            self._turn = order.turn + 1
            self._begin()
            return [answer]
        self._close()
        self._begin()
        return []

    def _begin(self) -> None:
        self._done: list[str] = []  # the texts of what was committed
        self._scores: list[tuple[int, float]] = []  # of each: words, confidence
        self._covered_ms = self._length_ms = self._since_guess_ms = 0
        self._upward: Resampler | None = None  # None: no utterance of the decoder's is open
        self._said = ""

    def _hear(self, octets: bytes) -> list[Word]:
        if self._upward is None:
            self._upward = Resampler(8000, RATE)
            self._decoder.start_utt()
        self._process(self._upward.feed(mulaw.decode(octets)))
        self._length_ms += len(octets) // OCTETS_PER_MS
        self._since_guess_ms += len(octets) // OCTETS_PER_MS
        return self._guess() if self._since_guess_ms >= GUESS_MS else []

    def _process(self, samples: Samples) -> None:
        noisy = self._gain.apply(samples) + self._noise.normal(0, _DITHER, len(samples))
        self._decoder.process_raw(np.clip(noisy, -32768, 32767).astype("<i2").tobytes(), False, False)

    def _guess(self, *, commit: bool = False) -> list[Word]:
        self._since_guess_ms = 0
        going = self._decoder.hyp() if self._upward is not None else None
        text = polished(" ".join([*self._done, going.hypstr if going is not None else ""]))
        if not text or (text == self._said and not commit):
            return []
        self._said = text
        stable = len(polished(" ".join(self._done)))
        return [Guess(self._turn, text, stable, self._covered_ms)]

    def _commit(self) -> None:
        if not self._close():
            return
        found = self._decoder.hyp()
        self._covered_ms = self._length_ms
        if found is not None and found.hypstr:
            self._done.append(found.hypstr)
            # The posterior is the whole utterance's: its mean for a word can be compared.
            words = len(found.hypstr.split())
            self._scores.append((words, min(1.0, max(0.0, float(found.prob))) ** (1 / words)))

    def _close(self) -> bool:
        if self._upward is None:
            return False
        self._process(self._upward.finish())
        self._upward = None
        self._decoder.end_utt()
        return True

    def _confidence(self) -> float:
        words = sum(count for count, _ in self._scores)
        return sum(count * score for count, score in self._scores) / words if words else 0.0


def polished(text: str) -> str:
    """As people write it, as far as lower-case words without marks allow: a capital at the front, and `I`."""
    text = re.sub(r"\bi\b", "I", " ".join(text.split()))
    return text[:1].upper() + text[1:]


def hear(sock: socket.socket, decoder: Decoder) -> None:
    """A child's life: one speaker."""
    listener = Listener(decoder)
    for order in messages(sock, Order):
        for word in listener.take(order):
            if not say(sock, word):
                return


def main(argument: str) -> None:
    """The first process: load, then fork for each socket that comes. Children are nobody's: the kernel reaps them."""
    from pocketsphinx import Decoder as Sphinx

    sock = enter(argument)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    decoder = Sphinx(**OPTIONS)
    listener = Listener(decoder)  # one turn, so that what is made at first use is made once for all
    for order in (Audio(mulaw.SILENCE * 4000), End(0)):
        listener.take(order)
    gc.freeze()  # collecting would copy the pages that the children share
    say(sock, Ready({"languages": ["en"]}))
    while True:
        data, descriptors, _, _ = socket.recv_fds(sock, 16, 4)
        if not data:
            return
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as speaker:
                if os.fork() == 0:
                    sock.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    hear(speaker, decoder)
                    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
