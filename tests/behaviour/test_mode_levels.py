"""Who hears whom in each mode, by level: two legs on the real loop with real sockets, a tone for every voice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.calls.mixing import Member, gains
from rtp import g711
from rtp.plane import FRAME
from tests.support.stepped import Stepped

FRAMES = 100
#: On bins of the analysis window, so that none leaks into another, and no sum or difference of two is the third.
HERTZ = {"customer": 443.0, "agent": 1021.0, "translation": 1787.0}
AMPLITUDE = 3000.0


def tone(voice: str) -> bytes:
    at = np.arange(FRAMES * FRAME)
    samples = (AMPLITUDE * np.sin(2 * np.pi * HERTZ[voice] * at / 8000)).astype(np.int16)
    return g711.LINEAR_TO_MU[samples.view(np.uint16)].tobytes()


def levels(packets: list[bytes]) -> dict[str, float]:
    """Of each voice in dB against how it was said, over the last second."""
    octets = b"".join(packet[12:] for packet in packets)[-8000:]
    samples = g711.MU_TO_LINEAR[np.frombuffer(octets, np.uint8)]
    spectrum = np.abs(np.fft.rfft(samples)) / (len(samples) / 2)
    found = {voice: float(spectrum[round(hertz * len(samples) / 8000)]) for voice, hertz in HERTZ.items()}
    return {voice: 20 * math.log10(max(level, 1e-3) / AMPLITUDE) for voice, level in found.items()}


FULL, DUCKED, NOTHING = 0.0, -18.0, None


@pytest.mark.parametrize(
    ("mode", "customer_hears", "agent_hears"),
    [
        ("bidirectional_translation", DUCKED, DUCKED),
        ("assistive_translation", NOTHING, FULL),
        ("ai_agent", FULL, FULL),
        ("help_chat_voice", FULL, FULL),
    ],
)
def test_levels(loop: Stepped, mode: str, customer_hears: float | None, agent_hears: float | None) -> None:
    legs = {name: loop.open() for name in ("customer", "agent")}
    peers = {name: loop.peer(ssrc=number) for number, name in enumerate(legs, 1)}
    for name, leg in legs.items():
        loop.configure(leg, peers[name])
    for command in gains(mode, [Member(name, leg.row, leg.generation) for name, leg in legs.items()], -18.0):
        loop.command(command)
    said, translation = {name: tone(name) for name in legs}, tone("translation")
    received: dict[str, list[bytes]] = {name: [] for name in legs}
    for n in range(FRAMES):
        frame = slice(n * FRAME, (n + 1) * FRAME)
        for name, leg in legs.items():
            peers[name].say(leg, said[name][frame])
            loop.say(leg, translation[frame])
        loop.frames()
        for name, heard in received.items():
            heard += peers[name].received()
    for name, other, expected in (("customer", "agent", customer_hears), ("agent", "customer", agent_hears)):
        found = levels(received[name])
        assert found["translation"] == pytest.approx(0.0, abs=0.5), (name, found)
        assert found[name] < -45, f"{name} hears itself: {found}"
        if expected is None:
            assert found[other] < -45, (name, found)
        else:
            assert found[other] == pytest.approx(expected, abs=0.7), (name, found)
