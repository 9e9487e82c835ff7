"""The sound of the engine on bad networks, as a table and a picture.

Owns which conditions are printed and how. The networks, the speech and the scoring are those of the tests
(`tests/support`), so a figure here and a test that holds it mean the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rtp.plane import FRAME
from tests.support import pesqs
from tests.support.impairments import Schedule, gamma_jitter, schedule, sending_times, spike, stall
from tests.support.listening import Heard, listen
from tests.support.playing import companded, concealed
from tests.support.speech import VOICES, speech, with_noise, without_pauses

SECOND = 50  # packets
TAIL = 21  # frames made up behind the last packet of a schedule
#: How each way to fill a hole is called in the table and drawn in the picture.
WAYS = {
    "silence": "#b0b0b0",
    "repeat with fade": "#d08770",
    "glotgate, no look-ahead": "#81a1c1",
    "glotgate": "#2e5e8c",
}


@dataclass
class Scores:
    """PESQ by condition and way: (rows,) each, one entry per voice and seed."""

    by: dict[str, dict[str, npt.NDArray[np.float64]]]

    def mean(self, condition: str, way: str) -> float:
        return float(self.by[condition][way].mean())


def score_losses(seeds: int) -> Scores:
    """Every condition of `pesqs.CONDITIONS`, on the same speech and the same losses for every way."""
    frames, lengths = pesqs.framed(VOICES, seeds)
    received = companded(frames)
    by = {}
    for condition in pesqs.CONDITIONS:
        lost = pesqs.losses(condition, lengths, frames.shape[1])
        played = {
            "silence": pesqs.silence(received, lost),
            "repeat with fade": pesqs.repeat_with_fade(received, lost),
            "glotgate, no look-ahead": concealed(received, lost, look_ahead=False),
            "glotgate": _through_the_engine(frames, lost, lengths),
        }
        by[condition] = {way: pesqs.scores(frames, theirs, lengths) for way, theirs in played.items()}
        progress(f"{condition}: " + ", ".join(f"{way} {by[condition][way].mean():.2f}" for way in WAYS))
    return Scores(by)


def _through_the_engine(frames: pesqs.Frames, lost: npt.NDArray[np.bool_], lengths: list[int]) -> pesqs.Frames:
    networks = [schedule(n, lost=row[:n]) for row, n in zip(lost, lengths, strict=True)]
    calls = listen(networks, [row[:n].ravel() for row, n in zip(frames, lengths, strict=True)])
    played = np.zeros_like(frames)
    for row, call, n in zip(played, calls, lengths, strict=True):
        heard = call.samples[: n * FRAME].reshape(-1, FRAME)
        row[: len(heard)] = heard
    return played


def jitter_rows(calls: int) -> Iterator[tuple[str, str, str, str]]:
    """(network, late packets, mean time in the buffer, the same of the best constant delay that has 0.5 % late)."""
    packets = 120 * SECOND
    for shape in (2.0, 4.0, 8.0):
        for in_order in (False, True):
            jitter = [gamma_jitter(packets, 30, np.random.default_rng(seed), shape) for seed in range(calls)]
            networks = [schedule(packets, delay_ns=one, in_order=in_order) for one in jitter]
            heard = _spoken(networks, 0.5)
            late = np.mean([call.stats["packets_late"] for call in heard]) / packets
            waited = np.mean([call.waited_ms[2:-2].mean() for call in heard])
            name = f"gamma, σ 30 ms, shape {shape:g}, {'in order' if in_order else 'overtaking'}"
            yield name, f"{late:.2%}", f"{waited:.0f} ms", f"{np.mean([_constant(one) for one in networks]):.0f} ms"


def _constant(network: Schedule, late: float = 0.005) -> float:
    """ms that packets wait on average where all are played after one delay, known beforehand, that few exceed."""
    delay_ms = (network.arrival_ns - network.sent_ns[network.number]) / 1e6
    return float(np.quantile(delay_ms, 1 - late) - delay_ms.mean())


def drift_rows(seconds: int) -> Iterator[tuple[str, str, str, str]]:
    """(sender, worst error after 5 minutes, longest delay, corrections a minute)."""
    packets = seconds * SECOND
    cases = [(breath, sigma, ppm) for breath in (True, False) for sigma in (0.0, 5.0) for ppm in (200.0, -200.0)]
    networks: list[Schedule] = []
    said: list[npt.NDArray[np.int16]] = []
    for breath, sigma_ms, ppm in cases:
        jitter = gamma_jitter(packets, sigma_ms, np.random.default_rng(1))
        networks.append(schedule(packets, sent_ns=sending_times(packets, 20, ppm), delay_ns=jitter))
        words = speech(VOICES[len(said) % len(VOICES)])
        said.append(with_noise(words if breath else without_pauses(words), -65, len(said)))
    for (breath, sigma_ms, ppm), call in zip(cases, listen(networks, said, every_s=1.0), strict=True):
        error = np.abs(call.ppm[call.after(300)] - ppm).max()
        # The last second is that of the stream's end, where the engine waits for more.
        longest = call.present_ms[call.after(60)][:-5].max()
        name = f"{ppm:+.0f} ppm, jitter σ {sigma_ms:g} ms{'' if breath else ', speech without a pause'}"
        yield name, f"{error:.1f} ppm", f"{longest:.0f} ms", f"{call.corrections / seconds * 60:.2f}"


def burst_calls() -> dict[str, Heard]:
    """Trouble from second 20 on, in a call of 30 s on a clean path."""
    packets = 30 * SECOND
    lost = np.zeros(packets, dtype=bool)
    lost[1000:1100] = True
    networks = {
        "the link stands still for 2 s": schedule(packets, delay_ns=stall(packets, 1000, 100)),
        "every packet 150 ms late for 2 s": schedule(packets, delay_ns=spike(packets, 1000, 100, 150), in_order=True),
        "the link stands still for 160 ms": schedule(packets, delay_ns=stall(packets, 1000, 8)),
        "2 s of packets lost": schedule(packets, lost=lost),
    }
    return dict(zip(networks, _spoken(list(networks.values()), 0.02), strict=True))


def _spoken(networks: list[Schedule], every_s: float) -> list[Heard]:
    said = [with_noise(speech(VOICES[row % len(VOICES)]), -65, row) for row in range(len(networks))]
    return listen(networks, said, every_s=every_s)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Markdown, columns as wide as they need to be."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in [head, *rows]
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def loss_table(scores: Scores) -> str:
    rows = []
    for condition in scores.by:
        gain = scores.mean(condition, "glotgate") - scores.mean(condition, "repeat with fade")
        figures = [f"{scores.mean(condition, way):.2f}" for way in WAYS]
        rows.append((condition, *figures, "" if condition == "no loss" else f"{gain:+.2f}"))
    return table(("loss", *WAYS, "against repeat"), rows)


def voice_table(scores: Scores, seeds: int) -> str:
    rows = []
    for i, voice in enumerate(VOICES):
        own = slice(i * seeds, (i + 1) * seeds)
        rows.append((voice, *(f"{scores.by[condition]['glotgate'][own].mean():.2f}" for condition in scores.by)))
    return table(("voice", *scores.by), rows)


def draw(scores: Scores, bursts: dict[str, Heard], path: Path) -> None:
    """Left: PESQ per condition and way. Right: the delay through each burst."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 4.8), width_ratios=(1.25, 1))
    conditions = list(scores.by)
    width = 0.8 / len(WAYS)
    for i, (way, colour) in enumerate(WAYS.items()):
        means = [scores.mean(condition, way) for condition in conditions]
        errors = [scores.by[c][way].std() / np.sqrt(len(scores.by[c][way])) * 1.96 for c in conditions]
        at = np.arange(len(conditions)) + (i - (len(WAYS) - 1) / 2) * width
        left.bar(at, means, width, yerr=errors, label=way, color=colour, error_kw={"lw": 0.8, "ecolor": "#444444"})
    left.set_xticks(np.arange(len(conditions)), [c.replace(", ", ",\n").replace(" ", "\n", 1) for c in conditions])
    left.set_ylim(1.5, 4.7)
    left.set_ylabel("PESQ narrow band (MOS-LQO)")
    left.set_title(f"Lost packets of 20 ms: {len(VOICES)} voices, mean and 95 % interval", fontsize=10)
    left.legend(fontsize=8, ncols=2, loc="upper right")
    for (name, call), colour in zip(bursts.items(), ("#bf616a", "#2e5e8c", "#d0a05a", "#5e8c5a"), strict=True):
        right.plot(call.time_s, call.present_ms, label=name, color=colour, lw=1.4)
    right.axvspan(20, 22, color="#eeeeee", zorder=0)
    right.set_xlim(19, 27)
    right.set_ylim(0, 240)
    right.set_xlabel("seconds of the call; the trouble is in the grey ones")
    right.set_ylabel("play-out delay, ms")
    right.set_title("The delay comes back", fontsize=10)
    right.legend(fontsize=8, loc="upper right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3, lw=0.6)
        axes.set_axisbelow(True)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def page(scores: Scores, seeds: int, jitter: list[tuple[str, ...]], drift: list[tuple[str, ...]], drift_s: int) -> str:
    return f"""# How it sounds on a bad network

Made by `tools/sound-report`. All on a virtual clock, through the engine that takes the calls, without sockets. Speech:
{len(VOICES)} voices of espeak-ng, flite and festival, in a quiet room (-65 dBov of noise).

![PESQ under loss, and the delay through bursts](img/sound.png)

## Lost packets

PESQ narrow band, means over {len(VOICES)} voices × {seeds} seeds, the same losses in every column. "Bursts of 3,
5 %" is the Gilbert–Elliott model with 5 % loss in runs of 3 packets on average. *Repeat with fade* is the last good
frame again, fading out over 60 ms. *No look-ahead*: only the past is known, as with a delay of 20 ms; *glotgate* is
the engine at its start delay of 40 ms, where the packet behind a single hole has arrived when the hole is played.

{loss_table(scores)}

The engine, voice by voice:

{voice_table(scores, seeds)}

## Jitter

Calls of two minutes; the time in the buffer is from a packet's arrival to its play, on average. *In order*: no packet
overtakes another. The bounds of the delay are 20 and 200 ms. For comparison, the time in a buffer whose delay never
changes and that knows the network beforehand, with 0.5 % of the packets late: less than that takes foresight.

{table(("network", "late packets", "time in the buffer", "constant delay, 0.5 % late"), jitter)}

## Clock drift

{drift_s // 60} simulated minutes. A correction leaves out, or says twice, up to 20 ms: of a pause, or of speech when
there is none for long; then 12 ms at least, where the two sides of the seam are very much alike. Corrections are
counted with those in pauses, which nobody hears.

{table(("sender's clock", "worst error of the estimate", "longest delay", "corrections a minute"), drift)}
"""


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/sound-report", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where sound.md and img/sound.png go (default: docs)")
    parser.add_argument("--quick", action="store_true", help="few seeds and a short drift, into sound-out/")
    options = parser.parse_args(arguments)
    folder: Path = options.folder or Path("sound-out" if options.quick else "docs")
    seeds, calls, drift_s = (2, 2, 600) if options.quick else (8, 8, 3600)
    began = time.monotonic()
    (folder / "img").mkdir(parents=True, exist_ok=True)
    scores = score_losses(seeds)
    jitter = collect("jitter", lambda: jitter_rows(calls))
    bursts = burst_calls()
    drift = collect("drift", lambda: drift_rows(drift_s))
    draw(scores, bursts, folder / "img" / "sound.png")
    (folder / "sound.md").write_text(page(scores, seeds, jitter, drift, drift_s))
    progress(f"{folder}/sound.md, {folder}/img/sound.png ({time.monotonic() - began:.0f} s)")
    print(loss_table(scores))
    worst = min(
        scores.mean(condition, "glotgate") - scores.mean(condition, baseline) - margin
        for condition in scores.by
        if condition != "no loss"
        for baseline, margin in (("repeat with fade", 0.10), ("silence", 0.0))
    )
    return 0 if worst >= 0 else 1


def collect(what: str, make: Callable[[], Iterator[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    rows = []
    for row in make():
        progress(f"{what}: " + ", ".join(row))
        rows.append(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
