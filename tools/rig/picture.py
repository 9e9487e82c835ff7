"""The picture of a demo call: what was said and what was heard on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch

from rig.sound import RATE, Samples

_INK, _FAINT, _PAPER = "#1f2933", "#9aa5b1", "#ffffff"
_COLOURS = ("#2563eb", "#db2777", "#059669", "#d97706")


@dataclass(frozen=True)
class Utterance:
    """text as it was said, translation as it was heard; when each began (heard_s None: never), and how long it is."""

    text: str
    translation: str
    said_s: float
    heard_s: float | None
    length_s: float
    heard_length_s: float


def _waveform(axes: Axes, samples: Samples, colour_of: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    """Peaks of each 10 ms as one vertical line: what a sound editor shows."""
    step = RATE // 100
    whole = samples[: samples.size // step * step].reshape(-1, step)
    times = np.arange(whole.shape[0]) * 0.01 + 0.005
    low, high = whole.min(axis=1), whole.max(axis=1)
    colours = [_FAINT if index < 0 else _COLOURS[index % len(_COLOURS)] for index in colour_of[: times.size]]
    axes.vlines(times, np.minimum(low, -0.004), np.maximum(high, 0.004), colors=colours, linewidth=1.1)


def _owners(count: int, spans: Sequence[tuple[float, float] | None]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    owner = np.full(count, -1, dtype=np.int64)
    for index, span in enumerate(spans):
        if span is not None:
            owner[int(span[0] * 100) : int(span[1] * 100) + 1] = index
    return owner


def draw(path: Path, said: Samples, heard: Samples, utterances: Sequence[Utterance], caption: str) -> None:
    """Write the PNG."""
    length = max(said.size, heard.size) / RATE
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 10, "text.color": _INK})
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(11, 5.2), dpi=150, facecolor=_PAPER)
    figure.subplots_adjust(left=0.075, right=0.985, top=0.845, bottom=0.11, hspace=0.34)
    said_spans = [(u.said_s, u.said_s + u.length_s) for u in utterances]
    heard_spans = [None if u.heard_s is None else (u.heard_s, u.heard_s + u.heard_length_s) for u in utterances]
    for axes, samples, spans, name in ((top, said, said_spans, "said"), (bottom, heard, heard_spans, "heard")):
        _waveform(axes, samples, _owners(int(length * 100) + 2, spans))
        axes.set_ylim(-0.85 if axes is top else -1.22, 0.85)  # below the lower one stands what was heard
        axes.set_yticks([])
        axes.set_ylabel(name, fontsize=12, fontweight="bold", rotation=0, ha="right", va="center", labelpad=12)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(_FAINT)
        axes.tick_params(axis="x", colors=_INK, labelbottom=axes is bottom)
        axes.set_xlim(0, length)
    for index, (utterance, span) in enumerate(zip(utterances, heard_spans, strict=True)):
        colour = _COLOURS[index % len(_COLOURS)]
        middle = utterance.said_s + utterance.length_s / 2
        top.text(middle, 0.86, f"“{utterance.text}”", ha="center", va="bottom", color=colour, fontsize=9.5)
        if span is None:
            continue
        middle = sum(span) / 2
        bottom.text(middle, -1.2, f"“{utterance.translation}”", ha="center", va="bottom", color=colour, fontsize=9.5)
        for edge_said, edge_heard in zip(said_spans[index], span, strict=True):
            line = ConnectionPatch(
                xyA=(edge_said, -0.8), coordsA=top.transData, xyB=(edge_heard, 0.8), coordsB=bottom.transData,
                color=colour, alpha=0.45, linewidth=1, linestyle=(0, (4, 3)),
            )  # fmt: skip
            figure.add_artist(line)
    bottom.set_xlabel("seconds since the answer")
    figure.text(0.075, 0.945, "A call through the gateway", fontsize=15, fontweight="bold")
    figure.text(0.075, 0.905, caption, fontsize=9.5, color="#52606d")
    figure.savefig(path, facecolor=_PAPER)
    plt.close(figure)
