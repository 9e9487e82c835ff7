"""Sound as numpy arrays: files, synthesis, levels, and whether two recordings hold the same speech.

Samples are float32 in -1…1 at 8000 Hz. Pure but for the two functions that read and write WAV files and the
one that runs the speech synthesizer.
"""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import correlate, resample_poly  # type: ignore[import-untyped]

RATE = 8000
Samples = npt.NDArray[np.float32]


def read_wav(path: Path) -> Samples:
    """A 16-bit PCM file, its first channel, brought to 8000 Hz."""
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path} is not 16-bit PCM")
        data = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        samples: Samples = data.reshape(-1, file.getnchannels())[:, 0].astype(np.float32) / np.float32(32768)
        rate = file.getframerate()
    if rate == RATE or samples.size == 0:
        return samples
    common = int(np.gcd(rate, RATE))
    return np.asarray(resample_poly(samples, RATE // common, rate // common), dtype=np.float32)


def write_wav(path: Path, samples: Samples) -> None:
    """16-bit PCM, one channel, 8000 Hz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())


def speak(text: str, scratch: Path, voice: str = "en-us", words_per_minute: int = 150) -> Samples:
    """The text as espeak-ng speaks it, without the silence around it, at -3 dB of full scale."""
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-w", str(scratch), text]
    return _spoken(command, scratch, text)


def speak_english(text: str, scratch: Path, voice: str = "rms") -> Samples:
    """The same by flite, whose recorded voices a recognizer understands better than espeak-ng's made one."""
    return _spoken(["flite", "-voice", voice, "-t", text, "-o", str(scratch)], scratch, text)


def _spoken(command: list[str], scratch: Path, text: str) -> Samples:
    subprocess.run(command, check=True, capture_output=True)
    samples = read_wav(scratch)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    if loud.size == 0:
        raise ValueError(f"the synthesizer said nothing for {text!r}")
    samples = samples[loud[0] : loud[-1] + 1]
    return np.asarray(samples * (0.7 / np.abs(samples).max()), dtype=np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), np.float32)


@dataclass(frozen=True)
class Placed:
    """An utterance within a recording. start_s: where it begins; likeness: 1 is the same signal, 0 has nothing
    to do with it (normalized cross-correlation); snr_db: of what was found against the utterance itself."""

    start_s: float
    likeness: float
    snr_db: float


def find(utterance: Samples, recording: Samples, after_s: float = 0.0) -> Placed:
    """Where in the recording, from `after_s` on, the utterance is found best."""
    start = int(after_s * RATE)
    part = recording[start:].astype(np.float64)
    wanted = utterance.astype(np.float64)
    if part.size < wanted.size:
        part = np.pad(part, (0, wanted.size - part.size))
    products = correlate(part, wanted, mode="valid", method="fft")
    sums = np.concatenate(([0.0], np.cumsum(part**2)))
    energy = sums[wanted.size :] - sums[: -wanted.size]
    # Where there is next to nothing, chance would be divided by nothing.
    floor = 1e-4 * float(wanted @ wanted)
    scores = products / np.sqrt(np.maximum(energy, floor) * float(wanted @ wanted))
    at = int(np.argmax(scores))
    found = part[at : at + wanted.size]
    gain = float(found @ wanted) / float(wanted @ wanted)
    noise = found - gain * wanted
    ratio = gain * gain * float(wanted @ wanted) / max(float(noise @ noise), 1e-12)
    return Placed((start + at) / RATE, float(scores[at]), float(10 * np.log10(max(ratio, 1e-12))))


def find_words(utterance: Samples, recording: Samples, after_s: float = 0.0) -> Placed:
    """Where the same words are spoken by the same voice, though not sample by sample: by the shape of the spectrum
    over time. Other words of the same voice come to 0.5 at most; there is no SNR."""
    wanted, held = _spectrum(utterance), _spectrum(recording[int(after_s * RATE) :])
    if held.shape[0] < wanted.shape[0]:
        held = np.pad(held, ((0, wanted.shape[0] - held.shape[0]), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(held, wanted.shape[0], axis=0)  # (places, bands, frames)
    shape = wanted.T - wanted.mean()
    parts = windows - windows.mean(axis=(1, 2), keepdims=True)
    norms = np.sqrt((parts**2).sum(axis=(1, 2)) * (shape**2).sum())
    scores = (parts * shape).sum(axis=(1, 2)) / np.maximum(norms, 1e-9)
    at = int(np.argmax(scores))
    return Placed(after_s + at * 0.01, float(scores[at]), 0.0)


def _spectrum(samples: Samples) -> npt.NDArray[np.float64]:
    """Log power in 20 bands from 200 to 3400 Hz, every 10 ms. (frames, 20)"""
    step, size = RATE // 100, 256
    if samples.size < size:
        samples = np.pad(samples, (0, size - samples.size))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::step] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.linspace(200, 3400, 21) * size / RATE
    bands = [power[:, int(low) : max(int(high), int(low) + 1)].sum(axis=1) for low, high in pairwise(edges)]
    return np.asarray(np.log10(np.stack(bands, axis=1) + 1e-3))


def join(parts: Sequence[Samples]) -> Samples:
    return np.concatenate(parts) if parts else silence(0)
