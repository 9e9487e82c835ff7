"""What a leg hears and sends hangs on nobody else: the same bytes alone and among others, and no crosstalk."""

import struct
from dataclasses import dataclass, field

import numpy as np
import pytest

from rtp import g711
from rtp.plane import FRAME
from tests.support.engine import Engine, rtp_packet

FRAMES = 200


@dataclass
class Network:
    """One leg's troubles and what is said on it, all from one seed."""

    seed: int
    arrivals: dict[int, list[bytes]] = field(default_factory=dict)  # frame of time → datagrams

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        phase = 0.0
        for n in range(FRAMES):
            phase += rng.normal(0, 0.2)
            samples = np.sin(np.arange(FRAME) * (0.1 + 0.02 * np.sin(phase))) * 9000 * (n // 25 % 3 != 2)
            payload = g711.LINEAR_TO_MU[samples.astype(np.int16).view(np.uint16)].tobytes()
            if rng.random() < 0.08:
                continue
            late = int(rng.gamma(1.0, 0.6))
            self.arrivals.setdefault(n + late, []).append(rtp_packet(n, n * FRAME, payload, ssrc=self.seed))
            if n % 60 == 50:
                press = struct.pack(">BBH", n % 10, 0x8A, 800)
                self.arrivals.setdefault(n, []).append(rtp_packet(n, n * FRAME, press, 101, ssrc=self.seed))
        self.downlink = rng.integers(0, 256, FRAMES * FRAME, dtype=np.uint8).tobytes()


def run(networks: dict[int, Network], legs: int) -> Engine:
    """networks: by row. All legs in one slot, where they meet."""
    engine = Engine(capacity=legs, vad_events=True)
    rows = [engine.open() for _ in range(legs)]
    for n in range(FRAMES + 20):
        for row in rows:
            if row in networks:
                for datagram in networks[row].arrivals.get(n, []):
                    engine.deliver(row, datagram)
                if n < FRAMES:
                    engine.say(row, networks[row].downlink[n * FRAME : (n + 1) * FRAME])
        engine.frames(1)
    return engine


@pytest.mark.parametrize("row", [0, 7, 15])
def test_the_same_bytes_alone_and_among_others(row: int) -> None:
    mine = Network(99)
    others = {other: Network(other + 1) for other in range(16)} | {row: mine}
    among, alone = run(others, 16), run({0: mine}, 1)
    assert among.heard[row] == alone.heard[0]
    assert among.sent[row] == alone.sent[0]
    told = [(e.digit, e.timestamp_ms) for e in among.events if hasattr(e, "digit") and e.row == row]
    assert told == [(e.digit, e.timestamp_ms) for e in alone.events if hasattr(e, "digit")]
    for field_ in among.plane.stats.dtype.names or ():
        if field_ not in ("generation", "opened_ns"):
            assert among.plane.stats[field_][row] == alone.plane.stats[field_][0], field_
    among.close()
    alone.close()


def test_a_tone_of_its_own_for_each_leg_and_no_other_in_it() -> None:
    legs, size = 16, 2048
    engine = Engine(capacity=legs)
    rows = [engine.open(slot=n % 2) for n in range(legs)]
    bins = [32 * (n + 1) + n for n in range(legs)]
    time = np.arange(40 * FRAME)
    coded = [
        g711.LINEAR_TO_MU[(np.sin(2 * np.pi * b / size * time) * 8000).astype(np.int16).view(np.uint16)] for b in bins
    ]
    for n in range(40):
        for row in rows:
            frame = coded[row][n * FRAME : (n + 1) * FRAME].tobytes()
            engine.deliver(row, rtp_packet(n, n * FRAME, frame, ssrc=row + 1))
            engine.say(row, frame)
        engine.frames(1)
    engine.frames(3)
    for row in rows:
        heard = b"".join(engine.heard[row])
        sent = b"".join(packet[12:] for packet in engine.sent[row][6:36])
        for sound in (heard, sent):
            linear = g711.MU_TO_LINEAR[np.frombuffer(sound, np.uint8)[: 2 * size]].astype(np.float64)
            power = np.abs(np.fft.rfft(linear[:size])) ** 2
            assert int(power.argmax()) == bins[row]
            foreign = [power[other] for other in bins if other != bins[row]]
            assert max(foreign) < power[bins[row]] * 1e-5  # what the code's own noise leaves there
    engine.close()
