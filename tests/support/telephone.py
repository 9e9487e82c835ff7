"""A sentence as a telephone call brings it: spoken by flite, at 8 kHz, at the usual level, in mu-law."""

from __future__ import annotations

import subprocess
import wave
from math import gcd
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from gateway.speech import mulaw


def flite_telephone(text: str, folder: Path, voice: str = "rms") -> bytes:
    """0.2 s of silence, the sentence, 0.2 s of silence."""
    path = folder / "spoken.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, capture_output=True)
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(float)
    samples = resample_poly(samples, 8000 // gcd(rate, 8000), rate // gcd(rate, 8000))
    samples *= 12_000 / np.abs(samples).max()
    return mulaw.encode(np.concatenate((np.zeros(1600), samples, np.zeros(1600)))).tobytes()
