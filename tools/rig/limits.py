"""The limits that a bench must keep, and the verdict on a run. Pure functions of figures.

Owns the table. Each limit has the conditions under which it was set; where they do not hold it is shown as
not applicable, with the reason, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Limit:
    """name: for people. unit. most: the figure may not be above it. figure: where it stands in a result.

    applies: None when the limit applies to this run, else why it does not.
    """

    name: str
    unit: str
    most: float
    figure: Callable[[Figures], float]
    applies: Callable[[Figures], str | None]


def _media(at_least: int) -> Callable[[Figures], str | None]:
    """Limits set at a number of calls: they hold for that many, and for runs that carry fewer they say nothing.

    A run with more calls than the limit speaks of is a harder one; it is judged too.
    """

    def applies(run: Figures) -> str | None:
        if "frames" not in run:
            return "no media was measured"
        return None if run["calls"] >= at_least else f"not applicable at {run['calls']} calls, set at {at_least}"

    return applies


def _sealed(at_least: int, sealed: bool) -> Callable[[Figures], str | None]:
    def applies(run: Figures) -> str | None:
        if "frames" in run and bool(run.get("srtp")) != sealed:
            return "measured with SRTP (--srtp)" if sealed else "this run has SRTP"
        return _media(at_least)(run)

    return applies


def _exactly_up_to(most: int) -> Callable[[Figures], str | None]:
    def applies(run: Figures) -> str | None:
        if "frames" not in run:
            return "no media was measured"
        return None if run["calls"] <= most else f"not applicable at {run['calls']} calls, set at {most}"

    return applies


def _setup(rate: float, seconds: float) -> Callable[[Figures], str | None]:
    def applies(run: Figures) -> str | None:
        if "setup" not in run:
            return "no calls were placed"
        if run["setup"]["offered_rate"] < rate:
            return f"not applicable at {run['setup']['offered_rate']:g} calls/s, set at {rate:g}"
        lasted = run["calls"] / run["setup"]["offered_rate"]
        return None if lasted >= seconds else f"not applicable to {lasted:.0f} s of set-up, set at {seconds:g} s"

    return applies


def _idle(run: Figures) -> str | None:
    return None if "idle_cpu_percent" in run else "the idle daemon was not measured (--idle)"


LIMITS = (
    Limit(
        "CPU of sip + controller + rtp",
        "µs per call-second",
        1200,
        lambda run: run["cpu_us_per_call_second"]["total"],
        _sealed(300, False),
    ),
    Limit(
        "CPU of sip + controller + rtp, with SRTP",
        "µs per call-second",
        2000,
        lambda run: run["cpu_us_per_call_second"]["total"],
        _sealed(300, True),
    ),
    Limit("frames lost inside the gateway", "frames", 0, lambda run: run["frames"]["lost"], _media(1)),
    Limit(
        "RTP→stream beyond the jitter delay, p50",
        "ms",
        3,
        lambda run: run["latency_ms"]["beyond_jitter_delay"]["p50"],
        _sealed(300, False),
    ),
    Limit(
        "RTP→stream beyond the jitter delay, p99",
        "ms",
        8,
        lambda run: run["latency_ms"]["beyond_jitter_delay"]["p99"],
        _sealed(300, False),
    ),
    Limit(
        "transmit interval error, p99",
        "ms",
        1,
        lambda run: run["tx_interval_error_ms"]["p99"],
        _exactly_up_to(100),
    ),
    Limit(
        "set-ups failed at 50 calls/s for 20 s",
        "calls",
        0,
        lambda run: run["setup"]["failed"],
        _setup(50, 20),
    ),
    Limit(
        "retransmissions at 50 calls/s for 20 s",
        "messages",
        0,
        lambda run: run["setup"]["retransmissions"],
        _setup(50, 20),
    ),
    Limit("idle daemon, all processes", "% of one core", 3, lambda run: run["idle_cpu_percent"], _idle),
)


def judge(run: Figures) -> tuple[list[dict[str, Any]], bool]:
    """Each limit with its figure, and whether all that apply are kept.

    A run in which calls failed, or which measured nothing at all, has not passed, whatever its figures.
    """
    rows: list[dict[str, Any]] = []
    for limit in LIMITS:
        why = limit.applies(run)
        row: dict[str, Any] = {"name": limit.name, "unit": limit.unit, "limit": limit.most}
        if why is None:
            figure = round(float(limit.figure(run)), 3)
            rows.append(row | {"figure": figure, "kept": figure <= limit.most})
        else:
            rows.append(row | {"figure": None, "kept": None, "why": why})
    kept = all(row["kept"] for row in rows if row["kept"] is not None)
    measured = "setup" in run or "idle_cpu_percent" in run
    return rows, measured and kept and not run.get("faults")
