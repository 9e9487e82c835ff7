"""Synthesized speech at 8 kHz: several voices of three synthesizers, made once and cached.

Owns the voices and their sentences. Deterministic: the synthesizers draw nothing at random, and the cache is
keyed by all that goes in. Needs the Debian packages of `PACKAGES`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import wave
from collections.abc import Callable
from functools import cache
from math import gcd
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, resample_poly, sosfiltfilt

PACKAGES = ("espeak-ng", "flite", "festival", "festvox-kallpc16k")
RATE = 8000
LEVEL_DBOV = -26.0  # the active speech level that ITU-T P.830 asks for
_VERSION = 1  # part of the cache key: raise it when this module makes other samples from the same text

#: Harvard-like sentences of our own, two a voice so that no voice says what another says; each 6–9 s.
_SENTENCES = (
    "The ferry leaves at seven, so bring the blue tickets. Nobody saw the old dog cross the bridge.",
    "My account shows a charge from last Monday. Could you tell me which shop that was, please?",
    "A thin red line runs along the wall. We measured the garden twice before the rain began.",
    "Your parcel should arrive on Thursday morning. If it does not, call this number again.",
    "They sold the small house near the river. She always keeps five good books on the shelf.",
    "Turn left behind the station and walk uphill. The office with the green door is ours.",
)


def _espeak(voice: str, text: str, path: Path) -> None:
    subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), text], check=True, capture_output=True)


def _flite(voice: str, text: str, path: Path) -> None:
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, capture_output=True)


def _festival(voice: str, text: str, path: Path) -> None:
    command = ["text2wave", "-eval", f"(voice_{voice})", "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True, input=text.encode())


_VOICES: dict[str, tuple[Callable[[str, str, Path], None], str, str]] = {
    "espeak-male": (_espeak, "en-us", _SENTENCES[0]),
    "espeak-female": (_espeak, "en-us+f3", _SENTENCES[1]),
    "flite-slt": (_flite, "slt", _SENTENCES[2]),
    "flite-rms": (_flite, "rms", _SENTENCES[3]),
    "flite-awb": (_flite, "awb", _SENTENCES[4]),
    "festival-kal": (_festival, "kal_diphone", _SENTENCES[5]),
}
VOICES = tuple(_VOICES)


@cache
def speech(voice: str) -> npt.NDArray[np.int16]:
    """One voice saying its sentences: (n,) int16 at 8 kHz, telephone band, -26 dBov, n a multiple of 160.

    Raises FileNotFoundError, naming the Debian packages, when the synthesizer is not installed.
    """
    synthesize, name, text = _VOICES[voice]
    key = hashlib.sha256(f"{_VERSION}|{voice}|{name}|{text}".encode()).hexdigest()[:16]
    cached = _cache_folder() / f"{voice}-{key}.npy"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "raw.wav"
            try:
                synthesize(name, text, raw)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{error.filename} is missing: apt install {' '.join(PACKAGES)}") from error
            partial = Path(folder) / "speech.npy"
            np.save(partial, _prepared(raw))
            # Two test processes may make the same voice at once: each moves a whole file into place.
            staged = cached.with_suffix(f".{os.getpid()}.npy")
            staged.write_bytes(partial.read_bytes())
            staged.replace(cached)
    samples: npt.NDArray[np.int16] = np.load(cached)
    samples.setflags(write=False)  # shared by every test that asks for this voice
    return samples


def with_noise(samples: npt.NDArray[np.int16], level_dbov: float, seed: int) -> npt.NDArray[np.int16]:
    """The same speech in a quiet room: white noise of that level added. A synthesizer's pauses are digital zero."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(len(samples)) * 32768 * 10 ** (level_dbov / 20)
    return np.clip(np.rint(samples + noise), -32768, 32767).astype(np.int16)


def without_pauses(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """The same speech of somebody who never takes breath: its 20 ms frames within 35 dB of the loudest."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    energy = (frames.astype(np.float64) ** 2).mean(axis=1)
    return frames[energy > energy.max() * 10**-3.5].ravel()


def active_level_dbov(samples: npt.NDArray[np.int16]) -> float:
    """Mean level of the 20 ms frames within 30 dB of the loudest: P.56 in spirit, enough to put voices on a par."""
    frames = samples[: len(samples) // 160 * 160].astype(np.float64).reshape(-1, 160) / 32768
    energy = (frames**2).mean(axis=1)
    return float(10 * np.log10(energy[energy > energy.max() * 1e-3].mean()))


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path(tempfile.gettempdir()) / "glotgate-cache"
    return Path(base) / "glotgate" / "speech"


def _prepared(path: Path) -> npt.NDArray[np.int16]:
    with wave.open(str(path), "rb") as recording:
        rate, channels = recording.getframerate(), recording.getnchannels()
        if recording.getsampwidth() != 2:
            raise ValueError(f"{path.name}: 16-bit samples expected")
        samples = np.frombuffer(recording.readframes(recording.getnframes()), dtype="<i2").astype(np.float64)
    samples = samples.reshape(-1, channels).mean(axis=1)
    if rate != RATE:
        step = gcd(rate, RATE)
        samples = resample_poly(samples, RATE // step, rate // step)  # with its anti-alias filter
    samples = sosfiltfilt(butter(2, 200, "highpass", fs=RATE, output="sos"), samples)  # a telephone's low end
    quarter = np.zeros(RATE // 4)
    samples = np.concatenate([quarter, samples, quarter])
    samples = samples[: len(samples) // 160 * 160]
    peak_free = samples / np.abs(samples).max() * 16384
    gain = 10 ** ((LEVEL_DBOV - active_level_dbov(peak_free.astype(np.int16))) / 20)
    return np.clip(np.rint(peak_free * gain), -32768, 32767).astype(np.int16)
