"""Signalling alone: calls without media, set up at a rate, held and ended, and what they leave behind.

Owns two runs of the bench's generator against the real daemon and their verdicts: `setup`, to many dialogs at once,
and `churn`, many short calls one after the other.
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
MEASURED: Final = ("sip", "controller", "rtp")


@dataclass(frozen=True)
class Plan:
    """calls, in all; rate a second; each held so many seconds."""

    calls: int
    rate: float
    hold: float

    @property
    def concurrent(self) -> int:
        return min(self.calls, int(self.rate * self.hold) + 1)


@dataclass(frozen=True)
class Sample:
    """What a process holds at a moment. over: calls that have been up until then, as the gateway counts."""

    over: float
    rss_mb: dict[str, float]
    descriptors: dict[str, int]


def run(plan: Plan) -> Figures:
    """One run; `faults` is empty when it passed."""
    raise_file_limit()
    native.build("load")
    with Program("echo") as echo:
        port = echo.event("listening", 5)["port"]
        capacity = plan.concurrent + int(2 * plan.rate) + 20
        changes = {
            "sessions": {"mode": "remote", "url": f"http://127.0.0.1:{port}", "api_key": "sk_test_bench"},
            "logging": {"level": "error"},
            "media": {"no_rtp_timeout_s": 0, "ports": {"quarantine_s": 1}},
        }
        with Daemon(capacity=capacity, changes=changes) as daemon:
            arguments = ["--target", daemon.sip_address, "--calls", str(plan.calls), "--rate", str(plan.rate)]
            arguments += ["--hold", str(plan.hold), "--seconds", "0", "--settle", "0", "--inactive", "--prefix", PREFIX]
            with Program("load", *arguments) as load:
                return _measure(plan, daemon, load)


def _measure(plan: Plan, daemon: Daemon, load: Program) -> Figures:
    pids = processes.roles(daemon.pid)
    first = _sample(daemon, pids)
    began, cpu = time.monotonic(), processes.sample(pids)
    samples = [first]
    until = began + plan.calls / plan.rate + plan.hold
    most = 0.0
    while time.monotonic() < until:
        time.sleep(SAMPLE_S)
        samples.append(_sample(daemon, pids))
        most = max(most, daemon.metrics()["glotgate_sip_dialogs"])
    heard = load.event("report", 90)
    spent = processes.sample(pids)
    time.sleep(REST_S)
    samples.append(_sample(daemon, pids))
    metrics = daemon.metrics()
    each = {role: round(1000 * (spent[role] - cpu[role]) / plan.calls, 3) for role in pids}
    result = {
        "plan": {"calls": plan.calls, "rate": plan.rate, "hold_s": plan.hold},
        "most_dialogs": most,
        "setup": {"rate": heard["rate"], "p50_ms": heard["setup"]["p50"], "p99_ms": heard["setup"]["p99"]},
        "failed": heard["failed"],
        "refused": heard["refused"],
        "retransmissions": heard["resent"] + heard["answered_again"],
        "cpu_ms_per_call": {"total": round(sum(each[role] for role in MEASURED), 3), **each},
        "rss_mb": {role: round(samples[-1].rss_mb[role], 1) for role in pids},
        "left": {
            "dialogs": metrics["glotgate_sip_dialogs"],
            "calls": metrics["glotgate_calls_active"],
            "legs": metrics["glotgate_rtp_legs"],
            "descriptors": {role: samples[-1].descriptors[role] - first.descriptors[role] for role in pids},
        },
        "rss_growth_mb": growth(samples),
    }
    return result | {"faults": judge(result, same=processes.roles(daemon.pid) == pids)}


def _sample(daemon: Daemon, pids: dict[str, int]) -> Sample:
    counted = sum(value for name, value in daemon.metrics().items() if name.startswith("glotgate_calls_ended_total"))
    descriptors = {role: len(list(Path(f"/proc/{pid}/fd").iterdir())) for role, pid in pids.items()}
    return Sample(counted, {role: processes.rss_mb(pid) for role, pid in pids.items()}, descriptors)


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
    left = result["left"]
    faults += [f"{left[name]:.0f} {name} left behind" for name in ("dialogs", "calls", "legs") if left[name]]
    # A connection kept alive to the session service is no leak; one for each call is
    faults += [f"{n} descriptors of {role} left behind" for role, n in left["descriptors"].items() if n > 16]
    if (grown := sum(result["rss_growth_mb"].values())) > GROWTH_MB:
        faults.append(f"{grown:.1f} MB more memory than after {WARM} calls: {result['rss_growth_mb']}")
    return faults
