"""The process in which espeak-ng speaks, by its library: a clause takes milliseconds, a fresh program would take tens.

Owns the messages with `espeak.py` and the library's calls. One clause at a time, in pieces as the library makes them; a
clause that nobody wants any more is given up between two pieces. The library speaks at 22050 Hz: resampled here.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from typing import Any, Final

import msgspec
import numpy as np

from gateway.speech import mulaw
from gateway.speech.engines.orders import Done, Forget, Orders, Sound
from gateway.speech.engines.worker import Ready, enter, say
from gateway.speech.resampling import Resampler

LIBRARY: Final = "libespeak-ng.so.1"
#: Words a minute; espeak-ng's own 175 is fast for a telephone.
WORDS_PER_MINUTE: Final = 160
#: Milliseconds of audio that the library hands over at once.
BUFFER_MS: Final = 60
#: Samples at the front below this are its silence before the first sound.
SILENT: Final = 40
_SYNCHRONOUS, _CHARACTERS, _UTF8, _RATE = 2, 1, 1, 1  # from speak_lib.h


class Say(msgspec.Struct, tag="say"):
    """voice: one of those that `Ready` named, or a variant of one (`es+f3`)."""

    number: int
    text: str
    voice: str


Order = Say | Forget


Word = Ready | Sound | Done


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),  # a priority octet before each name; the first is its own
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The library. Raises OSError when there is none."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        self.rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, BUFFER_MS, None, 0))
        if self.rate <= 0:
            raise OSError(f"{LIBRARY} could not be initialized: is espeak-ng-data installed?")
        self._library.espeak_SetParameter(_RATE, WORDS_PER_MINUTE, 0)
        self._take: Any = None
        self._callback = _Callback(self._on_sound)  # kept: the library has only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def languages(self) -> list[str]:
        """The first language of each voice: `es`, `es-419`, `en-us`."""
        voices = self._library.espeak_ListVoices(None)
        found, at = [], 0
        while voices[at]:
            languages = voices[at].contents.languages
            if languages:
                found.append(languages[1:].decode())
            at += 1
        return sorted(set(found))

    def speak(self, text: str, voice: str, take: Any) -> str:
        """take: gets (n,) int16, answers whether it wants more. Returns what went wrong, or nothing."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            return f"espeak-ng has no voice {voice}"
        self._take = take
        octets = text.replace("\0", " ").encode()
        status = self._library.espeak_Synth(octets, len(octets) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
        return "" if status == 0 else f"espeak-ng answered {status}"

    def _on_sound(self, samples: Any, count: int, _events: Any) -> int:
        if not samples or count <= 0:
            return 0
        return 0 if self._take(np.ctypeslib.as_array(samples, (count,)).copy()) else 1


class Speaker:
    """The clauses of one channel, in turn."""

    def __init__(self, sock: socket.socket, espeak: Espeak) -> None:
        self._espeak = espeak
        self._orders = Orders(sock, Order)

    def run(self) -> None:
        """Until the channel closes."""
        while (order := self._orders.next()) is not None:
            if not self._orders.done(self._speak(order)):
                return

    def _speak(self, order: Say) -> str:
        downward = Resampler(self._espeak.rate, 8000)
        begun = False

        def take(samples: np.ndarray[Any, np.dtype[np.int16]]) -> bool:
            nonlocal begun
            if not begun:
                loud = np.flatnonzero(np.abs(samples) > SILENT)
                if not loud.size:
                    return True
                samples, begun = samples[max(0, int(loud[0]) - self._espeak.rate // 200) :], True
            return self._say(order.number, downward.feed(samples)) and self._orders.wanted()

        error = self._espeak.speak(order.text, order.voice, take)
        if not error and self._orders.wanted():
            self._say(order.number, downward.finish())
        return error

    def _say(self, number: int, samples: np.ndarray[Any, np.dtype[np.int16]]) -> bool:
        return not samples.size or self._orders.answer(Sound(number, mulaw.encode(samples).tobytes()))


def main(argument: str) -> None:
    sock = enter(argument)
    espeak = Espeak()
    espeak.speak("1", "en", lambda samples: True)  # loads what is loaded at first use
    say(sock, Ready({"languages": espeak.languages()}))
    Speaker(sock, espeak).run()


if __name__ == "__main__":
    main(sys.argv[1])
