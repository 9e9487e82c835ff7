"""Calls set up at a rate, held and ended, and what they leave behind.

Owns two runs of the bench's generator against the real daemon and their verdicts: `dialogs`, many at once and without
media, and `churn`, many short calls one after the other that speak and hear.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rig import native, processes
from rig.bench import PREFIX, Program, raise_file_limit
from rig.daemon import Daemon

Figures = dict[str, Any]
#: Of the sip process, for a call set up and ended; what the others spend is for the session and the leg.
CPU_MS: Final = 1.5
#: Calls until everything has been done once; memory is compared with what it was then.
WARM: Final = 2000
GROWTH_MB: Final = 10.0
SAMPLE_S: Final = 1.0
#: An ended call's transactions live on for 32 s (RFC 3261 §17.2.2), and their memory goes back within 20 s more.
REST_S: Final = 60.0
TOLD_S: Final = 10.0
#: What there must be none of, as the daemon tells it.
LEFT: Final = {
    "dialogs": "sip_dialogs",
    "calls": "calls_active",
    "legs": "rtp_legs",
    "sessions": "gateway_sessions_active",
    "streams": "streams_open",
}
MEASURED: Final = ("sip", "controller", "rtp")


@dataclass(frozen=True)
class Plan:
    """calls, in all; rate a second; each held so many seconds. rest_s: until what is left is looked at."""

    calls: int
    rate: float
    hold: float
    media: bool = False
    rest_s: float = REST_S

    @property
    def concurrent(self) -> int:
        return min(self.calls, int(self.rate * self.hold) + 1)


@dataclass(frozen=True)
class Sample:
    """What a process holds at a moment. over: calls that have been up until then, as the gateway counts."""

    over: float
    rss_mb: dict[str, float]


@dataclass(frozen=True)
class Rest:
    """ports: pairs that no leg has, free or at rest after one. descriptors: open ones of each process."""

    ports: float
    descriptors: dict[str, int]


def run(plan: Plan) -> Figures:
    """One run; `faults` is empty when it passed."""
    raise_file_limit()
    native.build("load")
    with Program("echo") as echo:
        port = echo.event("listening", 5)["port"]
        capacity = plan.concurrent + int(5 * plan.rate) + 20
        changes = {
            "sessions": {"mode": "remote", "url": f"http://127.0.0.1:{port}", "api_key": "sk_test_bench"},
            "logging": {"level": "error"},
            "overload": {"enabled": False},  # the generator is on the same machine
            "media": {"no_rtp_timeout_s": 0, "ports": {"quarantine_s": 1}},
        }
        with Daemon(capacity=capacity, changes=changes) as daemon:
            arguments = ["--target", daemon.sip_address, "--calls", str(plan.calls), "--rate", str(plan.rate)]
            arguments += ["--hold", str(plan.hold), "--seconds", "0", "--settle", "0", "--prefix", PREFIX]
            arguments += [] if plan.media else ["--inactive"]
            rest = at_rest(daemon)
            with Program("load", *arguments) as load:
                return _measure(plan, daemon, load, rest)


def _measure(plan: Plan, daemon: Daemon, load: Program, rest: Rest) -> Figures:
    pids = processes.roles(daemon.pid)
    began, cpu = time.monotonic(), processes.sample(pids)
    samples = [_sample(daemon, pids)]
    until = began + plan.calls / plan.rate + plan.hold
    most = 0.0
    while time.monotonic() < until:
        time.sleep(SAMPLE_S)
        samples.append(_sample(daemon, pids))
        most = max(most, daemon.metrics()["glotgate_sip_dialogs"])
    heard = load.event("report", 90)
    spent = processes.sample(pids)
    time.sleep(plan.rest_s)
    samples.append(_sample(daemon, pids))
    metrics = daemon.metrics()
    each = {role: round(1000 * (spent[role] - cpu[role]) / plan.calls, 3) for role in pids}
    result = {
        "plan": {"calls": plan.calls, "rate": plan.rate, "hold_s": plan.hold, "media": plan.media},
        "most_dialogs": most,
        "setup": {"rate": heard["rate"], "p50_ms": heard["setup"]["p50"], "p99_ms": heard["setup"]["p99"]},
        "failed": heard["failed"],
        "refused": heard["refused"],
        "retransmissions": heard["resent"] + heard["answered_again"],
        "cpu_ms_per_call": {"total": round(sum(each[role] for role in MEASURED), 3), **each},
        "rss_mb": {role: round(samples[-1].rss_mb[role], 1) for role in pids},
        "packets": {way: metrics[f'glotgate_rtp_packets_total{{direction="{way}"}}'] for way in ("in", "out")},
        "left": left(daemon, rest),
        "rss_growth_mb": growth(samples),
    }
    return result | {"faults": judge(result, same=processes.roles(daemon.pid) == pids)}


def at_rest(daemon: Daemon) -> Rest:
    """What it holds now, when no call is there. The media loop tells its ports a second after its start."""
    until = time.monotonic() + TOLD_S
    while not (ports := _ports(daemon.metrics())) and time.monotonic() < until:
        time.sleep(0.1)
    return Rest(ports, _descriptors(processes.roles(daemon.pid)))


def left(daemon: Daemon, rest: Rest) -> Figures:
    """What it holds now beyond that; nothing but kept connections, when no call is there."""
    metrics, descriptors = daemon.metrics(), _descriptors(processes.roles(daemon.pid))
    return {
        **{name: metrics[f"glotgate_{metric}"] for name, metric in LEFT.items()},
        "ports": rest.ports - _ports(metrics),
        "descriptors": {role: descriptors.get(role, 0) - count for role, count in rest.descriptors.items()},
    }


def _ports(metrics: dict[str, float]) -> float:
    return sum(metrics[f'glotgate_rtp_port_pairs{{state="{state}"}}'] for state in ("free", "quarantined"))


def _descriptors(pids: dict[str, int]) -> dict[str, int]:
    return {role: len(list(Path(f"/proc/{pid}/fd").iterdir())) for role, pid in pids.items()}


def _sample(daemon: Daemon, pids: dict[str, int]) -> Sample:
    counted = sum(value for name, value in daemon.metrics().items() if name.startswith("glotgate_calls_ended_total"))
    return Sample(counted, {role: processes.rss_mb(pid) for role, pid in pids.items()})


def growth(samples: list[Sample]) -> dict[str, float]:
    """Memory at the end beyond that after the first `WARM` calls, by role; empty when there were not so many."""
    warm = next((sample for sample in samples if sample.over >= WARM), None)
    if warm is None or warm is samples[-1]:
        return {}
    return {role: round(samples[-1].rss_mb[role] - held, 1) for role, held in warm.rss_mb.items()}


def judge(result: Figures, *, same: bool) -> list[str]:
    """What a run fell short of. same: the processes are those of its beginning."""
    faults = [] if same else ["a process ended"]
    if result["failed"]:
        faults.append(f"{result['failed']} calls failed: {result['refused']}")
    if result["retransmissions"]:
        faults.append(f"{result['retransmissions']} retransmissions")
    if (spent := result["cpu_ms_per_call"]["sip"]) > CPU_MS:
        faults.append(f"{spent} ms of CPU a call in the sip process, {CPU_MS} allowed")
    if result["plan"]["media"] and min(result["packets"].values()) == 0:
        faults.append("no packet of sound went in, or none out")
    faults += remains(result["left"])
    if (grown := sum(result["rss_growth_mb"].values())) > GROWTH_MB:
        faults.append(f"{grown:.1f} MB more memory than after {WARM} calls: {result['rss_growth_mb']}")
    return faults


def remains(left: Figures) -> list[str]:
    """What is still held when no call is there."""
    faults = [f"{left[name]:.0f} {name} left behind" for name in (*LEFT, "ports") if left[name]]
    # A connection kept alive to the session service is no leak; one for each call is
    return faults + [f"{n} descriptors of {role} left behind" for role, n in left["descriptors"].items() if n > 16]
