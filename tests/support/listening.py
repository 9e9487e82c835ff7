"""Speech through the engine over an impaired network, on the engine's virtual clock, without sockets.

Owns the walk along a schedule and what is noted on the way. Every row has its own network and its own speech; all
are served by one engine, as legs of a gateway are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rtp.g711 import LINEAR_TO_MU, MU_TO_LINEAR
from rtp.loop import LOOKS
from rtp.plane import FRAME
from tests.support.engine import SLOT_NS, Engine, rtp_packet
from tests.support.impairments import Schedule

Column = npt.NDArray[np.float64]

LOOK_NS = SLOT_NS // LOOKS


@dataclass
class Heard:
    """One row. samples: (n,) int16, what the uplink got, from the stream's first sample on.

    Columns over time: time_s, present_ms and target_ms of the delay, waited_ms (present − typical lateness), ppm.
    stats: the row of `plane.STATS` at the end.
    """

    samples: npt.NDArray[np.int16]
    time_s: Column
    present_ms: Column
    target_ms: Column
    waited_ms: Column
    ppm: Column
    stats: dict[str, float] = field(repr=False)

    @property
    def concealed(self) -> float:
        """Share of the frames that were made up."""
        return self.stats["frames_concealed"] / self.stats["frames_up"]

    @property
    def corrections(self) -> int:
        """Seams, heard or not."""
        return int(self.stats["frames_trimmed"] + self.stats["frames_stretched"])

    def after(self, seconds: float) -> slice:
        return slice(int(np.searchsorted(self.time_s, seconds)), None)


def listen(
    networks: Sequence[Schedule], speech: Sequence[npt.NDArray[np.int16]], *, every_s: float = 0.1, packet: int = FRAME
) -> list[Heard]:
    """Run until the last packet of each network has been played. Speech is repeated when the network is longer.

    every_s: between two entries of the columns. packet: samples in each.
    """
    engine = Engine(capacity=len(networks))
    try:
        return _listen(engine, networks, speech, every_s, packet)
    finally:
        engine.close()


def _listen(
    engine: Engine, networks: Sequence[Schedule], speech: Sequence[npt.NDArray[np.int16]], every_s: float, packet: int
) -> list[Heard]:
    rows = [engine.open(slot=None) for _ in networks]
    coded = [LINEAR_TO_MU[samples.view(np.uint16)] for samples in speech]
    said = [samples[: len(samples) // packet * packet].reshape(-1, packet) for samples in coded]
    arrivals = [network.arrival_ns.tolist() for network in networks]
    numbers = [network.number.tolist() for network in networks]
    upto = [0] * len(rows)
    engine.table.sending[rows] = False  # nobody listens
    start = engine.now_ns
    end = start + max(times[-1] for times in arrivals) + 400_000_000
    step = round(every_s * 1e9 / SLOT_NS)
    trace: list[Column] = []
    all_rows = np.array(rows, dtype=np.intp)
    while engine.now_ns < end:
        now, arrived = engine.now_ns - start, False
        for i, row in enumerate(rows):
            while upto[i] < len(arrivals[i]) and arrivals[i][upto[i]] <= now:
                number = numbers[i][upto[i]]
                payload = said[i][number % len(said[i])].tobytes()
                seen_ns = start - (-arrivals[i][upto[i]] // LOOK_NS * LOOK_NS)  # by the next look at the sockets
                engine.deliver(row, rtp_packet(number, number * packet, payload, ssrc=i + 1), seen_ns)
                arrived = True
                upto[i] += 1
        if arrived or len(engine.table.rows_of_slot[engine.number % engine.table.slots]):
            engine.step()
        else:
            engine.number += 1  # a slot without work
        if engine.number % step == 0:
            trace.append(_look(engine, all_rows, start))
    columns = np.array(trace)  # (times, 5, rows)
    stats = engine.plane.stats
    return [
        Heard(
            MU_TO_LINEAR[np.frombuffer(b"".join(engine.heard[row]), np.uint8)],
            *columns[:, :, i].T,
            stats={name: float(stats[name][row]) for name in stats.dtype.names or ()},
        )
        for i, row in enumerate(rows)
    ]


def _look(engine: Engine, rows: npt.NDArray[np.intp], start: int) -> Column:
    t = engine.table
    # The cursor stands behind the frame that was read last, in the row's own slot.
    slots_since = (engine.number - 1 - t.slot[rows]) % t.slots + 1
    present = t.delay.present(rows, engine.now_ns, t.ring.cursor[rows] - FRAME) / 8 - slots_since * SLOT_NS / 1e6
    present[~t.ring.started[rows]] = 0
    waited = present - t.delay.typical[rows] / 8
    time_s = np.full(len(rows), (engine.now_ns - start) / 1e9)
    return np.array([time_s, present, t.delay.target[rows] / 8, waited, t.delay.drift.ppm[rows]])
