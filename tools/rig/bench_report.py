"""A bench's result for people: plain text, one line a figure, the limits last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _row(name: str, value: str) -> str:
    return f"  {name:<44}{value}"


def _quantiles(figures: Mapping[str, float]) -> str:
    names = {"p50": "p50", "p99": "p99", "p999": "p99.9", "max": "max"}
    return "   ".join(f"{names[key]} {figures[key]:.2f}" for key in names if key in figures)


def _shares(figures: Mapping[str, float], unit: str) -> str:
    return "   ".join(f"{name} {value:g}" for name, value in figures.items()) + f"   {unit}"


def _set_up(run: Mapping[str, Any]) -> list[str]:
    setup = run["setup"]
    lines = [
        _row(
            "set-up",
            f"{setup['rate']:.1f} calls/s   failed {setup['failed']}   retransmissions {setup['retransmissions']}",
        ),
        _row("set-up time, ms", f"p50 {setup['p50_ms']:.1f}   p99 {setup['p99_ms']:.1f}"),
    ]
    if "setup_cpu_ms_per_call" in run:
        lines.append(_row("CPU per call set up and ended, all", f"{run['setup_cpu_ms_per_call']:.2f} ms"))
    return lines


def _media(run: Mapping[str, Any]) -> list[str]:
    frames, latency = run["frames"], run["latency_ms"]
    return [
        _row("CPU, user + system", _shares(run["cpu_us_per_call_second"], "µs per call-second")),
        _row("CPU of the tools", _shares(run["tools_cpu_us_per_call_second"], "µs per call-second")),
        _row("memory", _shares(run["rss_mb"], "MB")),
        _row("frames", f"sent {frames['sent']}   reached {frames['reached']}   returned {frames['returned']}   "
                       f"lost {frames['lost']}   altered {frames['altered_up']} up, {frames['altered_back']} back"),
        _row("RTP→stream, ms", _quantiles(latency["rtp_to_stream"])),
        _row(f"  beyond the jitter delay of {latency['jitter_delay']} ms", _quantiles(latency["beyond_jitter_delay"])),
        _row("round trip, ms", _quantiles(latency["round_trip"])),
        _row("transmit interval error, ms", _quantiles(run["tx_interval_error_ms"])),
        _row("slot lateness, ms (of /metrics)", _quantiles(run["slot_lateness_ms"])),
        _row("generator's own lateness, ms", _quantiles(run["generator_lateness_ms"])),
    ]  # fmt: skip


def text(run: Mapping[str, Any]) -> str:
    """The whole result."""
    lines: list[str] = []
    if "calls" in run:
        what = f"{run['calls']} calls{' with SRTP' if run.get('srtp') else ''}, " + (
            f"each held {run['hold']:g} s" if run["hold"] else f"{run['seconds']:g} s of media"
        )
        lines += [what, *_set_up(run)]
    if "frames" in run:
        lines += _media(run)
    if "idle_cpu_percent" in run:
        shares = _shares(run["idle_cpu_percent_by_process"], "% of one core")
        lines += ["idle daemon", _row("CPU", shares), _row("memory", _shares(run["idle_rss_mb"], "MB"))]
    lines.append(limits(run))
    lines += [f"  FAULT: {fault}" for fault in run.get("faults", [])]
    lines.append("passed" if run["passed"] else "NOT PASSED")
    return "\n".join(lines)


def limits(run: Mapping[str, Any]) -> str:
    """The table of limits with the figures that were reached."""
    lines = [f"  {'limit':<44}{'most':>9}{'reached':>11}"]
    for row in run["limits"]:
        if row["kept"] is None:
            lines.append(f"  {row['name']:<44}{row['limit']:>9g}{'–':>11}   {row['why']}")
        else:
            verdict = "" if row["kept"] else "   OVER THE LIMIT"
            lines.append(f"  {row['name']:<44}{row['limit']:>9g}{row['figure']:>11g}   {row['unit']}{verdict}")
    return "\n".join(lines)
