"""The bench: N real SIP calls through the real daemon to a WebSocket echo, measured from outside.

Owns the course of a run. The generator and the echo are C (`native/`), the limits are `limits.py`; what is
measured is read from /proc, from the packets themselves, and, for the loop's own lateness, from /metrics.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rig import native, processes
from rig.daemon import Daemon, histogram_delta, histogram_quantile, media_range

#: Session ids of the run: `sess_` and a ULID whose last five digits are the call's index.
PREFIX = "sess_01HZBENCH" + "0" * 12
Figures = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to run. seconds: the measured window. rate: calls placed per second. hold: each call ends after
    so many seconds and only set-up is measured (0: calls stay, media is measured). jitter_ms: a fixed
    play-out delay (0: adaptive, as shipped). srtp: media is sealed, with keys by SDES."""

    calls: int
    seconds: float
    rate: float = 50.0
    hold: float = 0.0
    settle: float = 5.0
    jitter_ms: int = 40
    srtp: bool = False

    @property
    def generator(self) -> str:
        """The program that places the calls."""
        return "load-sealed" if self.srtp else "load"

    @property
    def concurrent(self) -> int:
        """Calls up at a time, with some room: the legs that the daemon is configured for."""
        return self.calls if not self.hold else min(self.calls, int(self.rate * (self.hold + 2)) + 10)


class Program:
    """One of the C programs: a line of JSON from it is an event."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [str(native.build(name)), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output, self._partial = self._process.stdin, self._process.stdout, b""
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def tell(self, line: str) -> None:
        self._input.write(line.encode() + b"\n")
        self._input.flush()

    def event(self, kind: str, timeout_s: float) -> Figures:
        """The next event of that kind. Raises SystemExit when it does not come in time."""
        until = time.monotonic() + timeout_s
        while True:
            line, newline, rest = self._partial.partition(b"\n")
            if newline:
                self._partial = rest
                event: Figures = json.loads(line)
                if event["event"] == kind:
                    return event
                continue
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._output], [], [], left)[0]:
                raise SystemExit(f"{self._name}: no {kind!r} in {timeout_s:.0f} s")
            data = os.read(self._output.fileno(), 65536)
            if not data:
                raise SystemExit(f"{self._name} ended before {kind!r}")
            self._partial += data


def raise_file_limit(wanted: int = 40000) -> None:
    """The daemon inherits it: sockets for RTP, RTCP and a stream for each call."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def idle(seconds: float, settle: float = 5.0) -> Figures:
    """A daemon with its embedded session service and no call: CPU in percent of one core, and memory."""
    with Daemon(capacity=1000) as daemon:
        time.sleep(settle)
        pids = processes.roles(daemon.pid)
        began, before = time.monotonic(), processes.sample(pids)
        time.sleep(seconds)
        after, took = processes.sample(pids), time.monotonic() - began
        shares = {role: round(100 * (after[role] - before[role]) / took, 2) for role in pids}
        memory = {role: round(processes.rss_mb(pid), 1) for role, pid in pids.items()}
    return {
        "idle_cpu_percent": round(sum(shares.values()), 2),
        "idle_cpu_percent_by_process": shares,
        "idle_rss_mb": memory,
        "faults": _missing(pids, ("sip", "controller", "rtp", "sessions")),
    }


def run(plan: Plan) -> Figures:
    """One run of the bench: every figure, not yet judged."""
    raise_file_limit()
    native.build(plan.generator)
    with Program("echo") as echo:
        port = echo.event("listening", 5)["port"]
        with Daemon(capacity=plan.concurrent, changes=_changes(plan, port)) as daemon:
            arguments = ["--target", daemon.sip_address, "--calls", str(plan.calls), "--rate", str(plan.rate)]
            arguments += ["--seconds", str(plan.seconds), "--settle", str(plan.settle), "--hold", str(plan.hold)]
            with Program(plan.generator, *arguments, "--prefix", PREFIX) as load:
                return _measure(plan, daemon, load, echo)


def _changes(plan: Plan, port: int) -> Figures:
    jitter = {"min_ms": plan.jitter_ms, "start_ms": plan.jitter_ms, "max_ms": plan.jitter_ms}
    media: Figures = {"jitter": jitter} if plan.jitter_ms else {}
    if plan.hold:  # ports rest for half a minute after each call
        media["ports"] = media_range(plan.concurrent + min(plan.calls, int(plan.rate * 31)))
    return {
        "media": media,
        "sessions": {"mode": "remote", "url": f"http://127.0.0.1:{port}", "api_key": "sk_test_bench"},
        "logging": {"level": "warning"},
        "sip": {"srtp": "mandatory"} if plan.srtp else {},
    }


def _measure(plan: Plan, daemon: Daemon, load: Program, echo: Program) -> Figures:
    pids = processes.roles(daemon.pid)
    tools = {"generator": load.pid, "echo": echo.pid}
    faults = _missing(pids, ("sip", "controller", "rtp"))
    began, cpu_began = time.monotonic(), processes.sample(pids)
    placed = plan.calls / plan.rate
    up = load.event("up", placed + 40)["up"]
    media: Figures = {}
    if not plan.hold:
        window = load.event("window", 5)
        echo.tell(f"window {window['from']} {window['to']}")
        media = _window(max(up, 1), daemon, pids | tools, window)
    heard = load.event("report", plan.seconds + plan.settle + plan.hold + placed + 60)
    echo.tell("report")
    reached = echo.event("report", 5)
    if heard["failed"]:
        faults.append(f"{heard['failed']} calls failed: {heard['refused']}")
    if heard["ended_early"]:
        faults.append(f"{heard['ended_early']} calls were ended by the gateway")
    if plan.hold:
        spent = processes.sample(pids)
        total = sum(spent[role] - cpu_began[role] for role in pids)
        media["setup_cpu_ms_per_call"] = round(1000 * total / plan.calls, 3)
    else:
        media |= _audio(plan, heard, reached, media, faults)
    return {
        "calls": plan.calls,
        "seconds": plan.seconds,
        "hold": plan.hold,
        "srtp": plan.srtp,
        "took_s": round(time.monotonic() - began, 1),
        **media,
        "setup": _setup(heard),
        "faults": faults,
    }


def _window(calls: int, daemon: Daemon, pids: dict[str, int], window: Figures) -> Figures:
    """CPU and lateness between the window's edges, while so many calls are up."""
    _sleep_until(window["start_ns"] - 300_000_000)  # a scrape is work: not inside the window
    metrics = daemon.metrics()
    _sleep_until(window["start_ns"])
    cpu = processes.sample(pids)
    _sleep_until(window["end_ns"])
    cpu_end, took = processes.sample(pids), (window["end_ns"] - window["start_ns"]) / 1e9
    memory = {role: round(processes.rss_mb(pid), 1) for role, pid in pids.items()}
    metrics_end = daemon.metrics()
    each = {role: round(1e6 * (cpu_end[role] - cpu[role]) / (calls * took), 1) for role in pids}
    late = histogram_delta(metrics, metrics_end, "glotgate_rtp_slot_lateness_seconds")
    quantiles = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    counted = ("rtp_slots_missed_total", "rtp_packets_late_total")
    return {
        "cpu_us_per_call_second": {
            "total": round(sum(each.get(role, 0.0) for role in ("sip", "controller", "rtp")), 1),
            **{role: each[role] for role in pids if role not in ("generator", "echo")},
        },
        "tools_cpu_us_per_call_second": {role: each[role] for role in ("generator", "echo")},
        "rss_mb": memory,
        "slot_lateness_ms": {name: 1000 * histogram_quantile(late, q) for name, q in quantiles.items()},
        "gateway": {
            name: metrics_end.get(f"glotgate_{name}", 0) - metrics.get(f"glotgate_{name}", 0) for name in counted
        }
        | _frames(metrics, metrics_end),
    }


def _frames(before: dict[str, float], after: dict[str, float]) -> Figures:
    """What the gateway itself says of the frames of the window."""

    def kinds(name: str) -> Iterator[tuple[str, float]]:
        for sample, value in after.items():
            if sample.startswith(f"glotgate_{name}{{"):
                yield sample.split('="', 1)[1].split('"', 1)[0], value - before.get(sample, 0.0)

    return {kind: value for name in ("rtp_frames_total", "rtp_delay_moves_total") for kind, value in kinds(name)}


def _audio(plan: Plan, heard: Figures, reached: Figures, media: Figures, faults: list[str]) -> Figures:
    """Loss, latency and pacing, as the packets themselves tell them."""
    if heard["sent"] == 0 or heard["returned"] == 0:
        faults.append("no audio came back")
    crossed = heard["foreign"] + reached["foreign"]
    if crossed:
        faults.append(f"{crossed} packets came out in another call")
    late = heard["lateness"]
    if late["p99"] > 1.0:
        faults.append(f"generator_late: its own packets left {late['p99']:.1f} ms late (p99); the figures say little")
    to_stream, delay = reached["rtp_to_stream"], plan.jitter_ms
    return {
        "frames": {
            "sent": heard["sent"],
            "reached": reached["reached"],
            "returned": heard["returned"],
            "lost": heard["sent"] - heard["returned"],
            "altered_up": reached["reached"] - reached["whole"],
            "altered_back": heard["returned"] - heard["whole"],
            "repeated": heard["repeated"] + reached["repeated"],
            "stream_sequence_gaps": reached["sequence_gaps"],
        },
        "latency_ms": {
            "rtp_to_stream": _quantiles(to_stream),
            "jitter_delay": delay,
            "beyond_jitter_delay": {key: round(value - delay, 3) for key, value in _quantiles(to_stream).items()},
            "round_trip": _quantiles(heard["round_trip"]),
        },
        "tx_interval_error_ms": _quantiles(heard["interval_error"]),
        "tx_discontinuities": {"sequence": heard["sequence_gaps"], "timestamp": heard["timestamp_jumps"]},
        "generator_late": late["p99"] > 1.0,
        "generator_lateness_ms": _quantiles(late),
    }


def _setup(heard: Figures) -> Figures:
    return {
        "offered_rate": heard["offered_rate"],
        "rate": heard["rate"],
        "failed": heard["failed"],
        "retransmissions": heard["resent"] + heard["answered_again"],
        "p50_ms": heard["setup"]["p50"],
        "p99_ms": heard["setup"]["p99"],
        "refused": heard["refused"],
    }


def _quantiles(histogram: Figures) -> dict[str, float]:
    return {key: histogram[key] for key in ("p50", "p99", "p999", "max")}


def _missing(pids: dict[str, int], wanted: tuple[str, ...]) -> list[str]:
    return [f"no {role} process was found below the daemon" for role in wanted if role not in pids]


def _sleep_until(at_ns: int) -> None:
    time.sleep(max(0.0, (at_ns - time.monotonic_ns()) / 1e9))
