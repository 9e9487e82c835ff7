"""Concealment: what a leg hears where packets are missing.

In the spirit of G.711 Appendix I (the last pitch period again, fading to nothing by 60 ms), but on the residual of
a short-term predictor instead of on the waveform: the vocal tract's filter rings on through the hole, so there is
no seam where it begins. When the packet behind the hole is already in the jitter ring (it is, whenever the delay
exceeds 20 ms) the hole is filled from both sides: the past played forward, stretched to meet the future in phase,
and the future played backward, cross-faded.

Owns the waveform of a hole. Refuses to know rings, packets and clocks, and what the background noise sounds
like: that is handed in. Every row is computed from its own data alone, in the same order of operations whatever
rows stand beside it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

FRAME: Final = 160
HALF: Final = 80  # what is missing is known by halves of a frame, 10 ms
HISTORY: Final = 320  # samples played before the hole that `process` wants to see

ORDER: Final = 16  # of the short-term predictor
PITCH_MIN: Final = 32  # 250 Hz; a higher voice is found at a multiple of its period
PITCH_MAX: Final = 140  # 57 Hz
_LAGS: Final = np.arange(PITCH_MIN, PITCH_MAX + 1)
_TEMPLATE: Final = 160
# A multiple of the period fits about as well as the period: prefer the shorter one.
_LAG_COST: Final = 0.1 * (_LAGS - PITCH_MIN) / (PITCH_MAX - PITCH_MIN)

HOLD: Final = 160  # samples at full level, then
FADED: Final = 480  # straight down to the background noise, reached here (60 ms)
RECOVERY: Final = 20  # samples of cross-fade into speech that comes back unannounced
_REACH: Final = FADED + HALF  # the forward extension is made once, for all of the hole that is heard
_GAIN: Final = np.clip((FADED - np.arange(_REACH)) / (FADED - HOLD), 0.0, 1.0)
_NOISE_GAIN: Final = np.sqrt(1 - _GAIN**2)
_RISE: Final = np.arange(1, FRAME + 1) / (FRAME + 1)

SHIFT_MAX: Final = 10  # samples by which the past is stretched or squeezed to meet the future
_SHIFTS: Final = np.arange(-SHIFT_MAX, SHIFT_MAX + 1)
_SHIFTED: Final = _SHIFTS[:, None] + np.arange(HALF - SHIFT_MAX)  # (shifts, 70)
_SHIFT_COST: Final = 0.002 * np.abs(_SHIFTS)
_ALIGNED: Final = 0.3  # correlation below which there is no phase to meet

_WINDOW: Final = 240  # samples that the predictor is made from: a slow rise, and a quick fall at the hole's edge
_FALL: Final = 40
_FLOOR: Final = 100.0  # energy per sample that keeps silence from being divided by


class Concealer:
    """Columns over `capacity` rows.

    active: (capacity,) bool. The row ended its last frame inside a hole; it must be passed again with its next
    frame, whole or not, for the cross-fade back.
    """

    def __init__(self, capacity: int) -> None:
        self.active: Bool = np.zeros(capacity, dtype=bool)
        self._age: I64 = np.zeros(capacity, dtype=np.int64)  # samples of the hole so far
        self._forward: F64 = np.zeros((capacity, _REACH))  # the past played on, faded
        self._period: I64 = np.full(capacity, PITCH_MIN, dtype=np.int64)

    def reset(self, rows: I64) -> None:
        """Forget what the rows were doing: new leg, or a cursor that jumped."""
        self.active[rows] = False
        self._age[rows] = 0

    def faded(self, rows: I64) -> Bool:
        """(k,) bool: the row is in a hole and nothing of the speech before it is audible any more."""
        return self.active[rows] & (self._age[rows] >= FADED)

    def process(
        self,
        rows: I64,  # (k,) unique
        frame: I16,  # (k, 160) linear; halves that are missing may hold anything
        missing: Bool,  # (k, 2) by half
        history: I16,  # (k, 320) played before this frame
        future: I16,  # (k, 160) what follows this frame in the ring
        future_valid: Bool,  # (k, 2) by half; all False when there is no look-ahead
        noise: F64 | npt.NDArray[np.float32],  # (k, 160) the row's background noise at its level
    ) -> I16:
        """The frames without holes, (k, 160) int16. For rows with something missing and for active rows."""
        out = frame.astype(np.float64)
        landing = self._landings(missing, future_valid)
        for half in (0, 1):
            at = slice(half * HALF, half * HALF + HALF)
            gone = missing[:, half] & (landing >= half)  # what landed in the first half is filled
            was_active = self.active[rows]
            back = np.flatnonzero(was_active & ~gone)
            if back.size:
                self._recover(rows[back], out, back, at, noise)
            if not gone.any():
                continue
            fresh = np.flatnonzero(gone & ~was_active)
            if fresh.size:
                before = np.concatenate([history[fresh], out[fresh, : at.start]], axis=1)[:, -HISTORY:]
                self._begin(rows[fresh], before)
            land = np.flatnonzero(gone & (landing == half))
            if land.size:
                self._land(rows[land], out, land, half, missing, future, noise)
            go_on = np.flatnonzero(gone & self.active[rows])
            if go_on.size:
                self._continue(rows[go_on], out, go_on, at, noise)
        return np.clip(np.rint(out), -32768, 32767).astype(np.int16)

    @staticmethod
    def _landings(missing: Bool, future_valid: Bool) -> I64:
        """(k,) the half in which the rest of the hole can be filled from both sides; 2 where it can not.

        That needs the hole's end and 20 ms of speech behind it in sight.
        """
        first, second = missing[:, 0], missing[:, 1]
        near, far = future_valid[:, 0], future_valid[:, 1]
        at_first = first & np.where(second, near & far, near)
        at_second = ~first & second & near & far
        landing: I64 = np.where(at_first, 0, np.where(at_second, 1, 2))
        return landing

    def _begin(self, rows: I64, before: F64) -> None:
        """A hole opens: make all that will be heard of the past in it."""
        period = _pitch(before)
        self._period[rows] = period
        self._forward[rows] = _extended(before, period, _REACH) * _GAIN
        self._age[rows] = 0
        self.active[rows] = True

    def _continue(self, rows: I64, out: F64, k: I64, at: slice, noise: npt.NDArray[np.floating]) -> None:
        """One more half, and no end of the hole in sight."""
        age = self._age[rows]
        index = np.minimum(age[:, None] + np.arange(HALF), _REACH - 1)
        out[k, at] = self._forward[rows[:, None], index] + _NOISE_GAIN[index] * noise[k, at]
        self._age[rows] = age + HALF

    def _recover(self, rows: I64, out: F64, k: I64, at: slice, noise: npt.NDArray[np.floating]) -> None:
        """Speech is back, and nobody saw it coming: a short cross-fade."""
        index = np.minimum(self._age[rows][:, None] + np.arange(RECOVERY), _REACH - 1)
        old = self._forward[rows[:, None], index] + _NOISE_GAIN[index] * noise[k, at.start : at.start + RECOVERY]
        rise = np.arange(1, RECOVERY + 1) / (RECOVERY + 1)
        blend = slice(at.start, at.start + RECOVERY)
        out[k, blend] = out[k, blend] * rise + old * (1 - rise)
        self.active[rows] = False

    def _land(
        self, rows: I64, out: F64, k: I64, half: int, missing: Bool, future: I16, noise: npt.NDArray[np.floating]
    ) -> None:
        """Fill the rest of the hole, which ends in this frame or with it, from both sides."""
        start = half * HALF
        whole = missing[k, 1]  # else the hole ends in the middle of the frame
        for ends in (HALF, FRAME):
            some = np.flatnonzero(whole == (ends == FRAME))
            if not some.size:
                continue
            r, j, length = rows[some], k[some], ends - start
            behind = np.concatenate([out[j, ends:], future[j].astype(np.float64)], axis=1)[:, :FRAME]
            age = self._age[r]
            index = np.minimum(age[:, None] + np.arange(length + HALF + SHIFT_MAX), _REACH - 1)
            past = self._forward[r[:, None], index]
            past = _met(past, behind, length)
            period = _pitch_near(behind, self._period[r])
            backward = _extended(behind[:, ::-1], period, length)[:, ::-1]
            rise = np.arange(1, length + 1) / (length + 1)
            noisy = _NOISE_GAIN[index[:, :length]] * noise[j, start:ends]
            out[j, start:ends] = (past + noisy) * (1 - rise) + backward * rise
            self.active[r] = False


def _pitch(past: F64) -> I64:
    """(k, HISTORY) → (k,) the lag at which the last 20 ms best resemble what was before them."""
    n = past.shape[1]
    spectrum = np.fft.rfft(past, 512)
    template = np.fft.rfft(past[:, -_TEMPLATE:], 512)
    products = np.fft.irfft(spectrum * template.conj(), 512)
    starts = n - _TEMPLATE - _LAGS
    energy = np.zeros((len(past), n + 1))
    np.cumsum(past * past, axis=1, out=energy[:, 1:])
    there = energy[:, starts + _TEMPLATE] - energy[:, starts]
    here = energy[:, n] - energy[:, n - _TEMPLATE]
    alike = products[:, starts] / np.sqrt(there * here[:, None] + (_FLOOR * _TEMPLATE) ** 2)
    best: I64 = _LAGS[np.argmax(alike - _LAG_COST, axis=1)]
    return best


def _pitch_near(behind: F64, period: I64) -> I64:
    """(k, 160), (k,) → (k,) the period of the speech behind the hole, looked for near that before it."""
    products = np.fft.irfft(np.abs(np.fft.rfft(behind, 512)) ** 2, 512)
    energy = np.zeros((len(behind), FRAME + 1))
    np.cumsum(behind * behind, axis=1, out=energy[:, 1:])
    head = energy[:, FRAME - _LAGS]  # of behind[: 160 − lag]
    rest = energy[:, FRAME, None] - energy[:, _LAGS]  # of behind[lag:]
    alike = products[:, _LAGS] / np.sqrt(head * rest + (_FLOOR * FRAME) ** 2)
    near = np.abs(_LAGS - period[:, None]) * 5 <= period[:, None]
    best: I64 = _LAGS[np.argmax(np.where(near, alike, -2.0), axis=1)]
    return best


_TOEPLITZ: Final = np.abs(np.arange(ORDER)[:, None] - np.arange(ORDER))


#: Resonances are made a little broader, so that the filter rings shorter than the guard in `_extended`.
_BROADEN: Final = -(0.99 ** np.arange(1, ORDER + 1))
_WINDOWS: Final = {n: np.hamming(2 * (n - _FALL))[: n - _FALL] for n in (FRAME, _WINDOW)}
for _n, _w in _WINDOWS.items():
    _WINDOWS[_n] = np.concatenate([_w, np.hamming(2 * _FALL)[_FALL:]])


def _predictor(past: F64) -> F64:
    """(k, n) → (k, ORDER + 1) prediction error filter of the end of the signal, autocorrelation method."""
    n = min(past.shape[1], _WINDOW)
    spectrum = np.fft.rfft(past[:, -n:] * _WINDOWS[n], 512)
    r = np.fft.irfft((spectrum * spectrum.conj()).real, 512)[:, : ORDER + 1]
    r[:, 0] = r[:, 0] * 1.0001 + _FLOOR * 10
    weights = np.linalg.solve(r[:, _TOEPLITZ], r[:, 1:, None])[:, :, 0]
    filters = np.empty((len(past), ORDER + 1))
    filters[:, 0] = 1.0
    np.multiply(weights, _BROADEN, out=filters[:, 1:])
    return filters


def _extended(past: F64, period: I64, length: int) -> F64:
    """(k, n) and (k,) → (k, length): the signal as it goes on when its last period's excitation repeats.

    The prediction filter is undone by dividing spectra: circular, but the guard of zeros between the end and
    the beginning is longer than a vocal tract rings.
    """
    k, n = past.shape
    size = 1024 if n + length > 400 else 512
    filters = np.fft.rfft(_predictor(past), size)
    residual = np.fft.irfft(np.fft.rfft(past, size) * filters, size)
    residual[:, n:] = 0.0
    index = n - period[:, None] + np.arange(length) % period[:, None]
    residual[:, n : n + length] = residual[np.arange(k)[:, None], index]
    extended: F64 = np.fft.irfft(np.fft.rfft(residual, size) / filters, size)[:, n : n + length]
    return extended


def _met(past: F64, behind: F64, length: int) -> F64:
    """Stretch or squeeze (k, length + 80 + SHIFT_MAX) to (k, length) so that it meets `behind` in phase.

    The shift is the one at which the past, played on, best resembles what really comes.
    """
    windows = past.take(length + _SHIFTED, axis=1)  # (k, shifts, 70)
    real = behind[:, None, : HALF - SHIFT_MAX]
    products = (windows * real).sum(axis=2)
    energies = (windows * windows).sum(axis=2) * (real * real).sum(axis=2)
    alike = products / np.sqrt(energies + (_FLOOR * HALF) ** 2)
    best = np.argmax(alike - _SHIFT_COST, axis=1)
    row = np.arange(len(past))
    shift = np.where(alike[row, best] >= _ALIGNED, _SHIFTS[best], 0)
    position = np.arange(length) * (1 + shift[:, None] / length)
    whole = position.astype(np.int64)
    part = position - whole
    left = past[row[:, None], whole]
    met: F64 = left + (past[row[:, None], whole + 1] - left) * part
    return met
