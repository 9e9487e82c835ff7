"""From one sampling rate to another, as audio comes: a band-limited polyphase filter.

Owns the filter. What would fold back below half the lower rate is taken out (Kaiser-windowed sinc, more than 70 dB
down from half the lower rate on, flat to 0.88 of it); nothing is delayed: the first sample out is the first one in.
Between 8 kHz telephony and the 16, 22.05 and 24 kHz of engines; any two rates do whose ratio is of small numbers.
"""

from __future__ import annotations

from functools import cache
from math import ceil, gcd
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gateway.speech import mulaw

RATE_HZ: Final = 8000
#: Zero crossings of the sinc on each side, at the lower rate.
_CROSSINGS: Final = 40
_CUTOFF: Final = 0.94
_BETA: Final = 7.9


@cache
def _bank(up: int, down: int) -> npt.NDArray[np.float32]:
    """The filter cut in phases. (up, taps) float32: row p makes the outputs that lie p/up after an input sample."""
    widest = max(up, down)
    half = ceil(_CROSSINGS * widest / _CUTOFF / up)  # input samples on each side
    at = np.arange(-half, half + 1)[None, :] - np.arange(up)[:, None] / up  # input samples from the output's place
    cut = _CUTOFF * min(1.0, up / down)
    window = np.kaiser(2 * half * up + 1, _BETA)
    places = np.clip(np.rint((at + half) * up).astype(int), 0, len(window) - 1)
    bank = cut * np.sinc(cut * at) * window[places]
    bank[np.abs(at) > half] = 0.0
    filters: npt.NDArray[np.float32] = (bank / bank.sum(axis=1, keepdims=True)).astype(np.float32)
    return filters


class Resampler:
    """One channel. Feed it, and finish at the end: altogether ceil(n · to / from) samples come out."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        self._bank = _bank(self._up, self._down)
        self._half = self._bank.shape[1] // 2
        self._kept = np.zeros(self._half, np.float32)  # input from `_first` − half on
        self._first = 0  # input sample that `_kept` would begin with, were it not for the half before it
        self._out = 0  # samples that came out
        self._in = 0

    def feed(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
        """(n,) of any kind at full scale 32768 → (m,) int16, as far as it can be told."""
        if self._up == self._down:
            return _limited(np.asarray(samples, np.float32))
        self._in += len(samples)
        self._kept = np.concatenate([self._kept, np.asarray(samples, np.float32)])
        return self._make(self._in - self._half)

    def finish(self) -> npt.NDArray[np.int16]:
        """What is left. The audio ends here."""
        if self._up == self._down:
            return np.zeros(0, np.int16)
        self._kept = np.concatenate([self._kept, np.zeros(self._half, np.float32)])
        return self._make(self._in)

    def _make(self, known: int) -> npt.NDArray[np.int16]:
        """The outputs that lie before input sample `known`."""
        until = max(self._out, -(-known * self._up // self._down))
        places = np.arange(self._out, until) * self._down
        self._out = until
        at, phase = places // self._up, places % self._up
        made = np.zeros(0, np.float32)
        if len(at):
            windows = np.lib.stride_tricks.sliding_window_view(self._kept, self._bank.shape[1])
            made = np.einsum("ij,ij->i", windows[at - self._first], self._bank[phase])
        forget = min(self._out * self._down // self._up - self._first, len(self._kept))
        if forget > 0:
            self._kept = self._kept[forget:]
            self._first += forget
        return _limited(made)


def _limited(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def resample(samples: npt.NDArray[Any], from_hz: int, to_hz: int) -> npt.NDArray[np.int16]:
    """(n,) at full scale 32768 → (ceil(n · to / from),) int16."""
    resampler = Resampler(from_hz, to_hz)
    return np.concatenate([resampler.feed(samples), resampler.finish()])


class ToTelephone:
    """An engine's samples as they come, as mu-law at 8000 Hz."""

    def __init__(self, from_hz: int) -> None:
        self._resampler = Resampler(from_hz, RATE_HZ)

    def feed(self, samples: npt.NDArray[Any]) -> bytes:
        return mulaw.encode(self._resampler.feed(samples)).tobytes()

    def finish(self) -> bytes:
        return mulaw.encode(self._resampler.finish()).tobytes()
