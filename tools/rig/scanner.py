"""A scanner beside real calls: INVITEs without a password from one address, while others talk and call.

Owns the flood and the course of the run. Calls and echo are the bench's own (`native/`); the flood begins before the
calls are placed, so that every set-up has it beside it, and goes on until the measured window is over.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rig import bench, native, processes
from rig.daemon import Daemon, end_in_order, histogram_delta

SCANNER = "127.0.0.9"
CALLER = "127.0.0.1"
#: A slot that begins so late has cost part of the next one; a bucket of the loop's histogram.
LATE_S = 0.012
#: Who the scanner is to the daemon: what its trunks say of it.
TRUNKS: dict[str, list[dict[str, Any]]] = {
    # an address that no trunk names
    "unknown": [{"name": "pbx", "allow": [CALLER]}],
    # one that anybody may call from who has the password
    "stranger": [
        {"name": "pbx", "allow": [CALLER]},
        {"name": "roaming", "credentials": [{"username": "pbx", "password": "not-this-one"}]},
    ],
    # one on a private network, where no trunk is configured
    "open": [],
    # one that is allowed, which is never dropped, and has not got the password
    "allowed": [
        {"name": "pbx", "allow": [CALLER]},
        {"name": "other", "allow": [SCANNER], "credentials": [{"username": "pbx", "password": "not-this-one"}]},
    ],
}
_STATUS = re.compile(rb"SIP/2\.0 (\d{3}) ")
_SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


@dataclass
class Flood:
    """INVITEs at an even rate from one address, until it is left. Use as a context manager."""

    target: str
    per_s: float
    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    lasted_s: float = 0.0

    def __post_init__(self) -> None:
        host, _, port = self.target.rpartition(":")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((SCANNER, 0))
        self._socket.connect((host, int(port)))
        self._socket.setblocking(False)
        self._here = "{}:{}".format(*self._socket.getsockname())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def invite(self, number: int) -> bytes:
        """An INVITE to another number each time, as scanners send them."""
        sdp = _SDP.format(SCANNER)
        tag = f"{number:x}x{random.getrandbits(32):x}"
        return (
            f"INVITE sip:{number % 10000}@{self.target} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self._here};branch=z9hG4bK{tag}\r\n"
            f"From: <sip:100@{self._here}>;tag={tag}\r\nTo: <sip:{number % 10000}@{self.target}>\r\n"
            f"Call-ID: {tag}@scanner\r\nCSeq: 1 INVITE\r\nContact: <sip:100@{self._here}>\r\nMax-Forwards: 70\r\n"
            f"User-Agent: friendly-scanner\r\nContent-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}"
        ).encode()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.is_set():
            time.sleep(max(0.0, began + self.sent / self.per_s - time.monotonic()))
            try:
                self._socket.send(self.invite(self.sent))
                self.sent += 1
                while True:
                    if status := _STATUS.match(self._socket.recv(65536)):
                        self.answers[status[1].decode()] += 1
            except (BlockingIOError, ConnectionRefusedError):
                continue
        self.lasted_s = time.monotonic() - began

    def figures(self) -> dict[str, Any]:
        rate = round(self.sent / self.lasted_s, 1) if self.lasted_s else 0.0
        return {"sent": self.sent, "seconds": round(self.lasted_s, 1), "rate": rate, "answers": dict(self.answers)}


@dataclass(frozen=True)
class Plan:
    """calls: placed at `rate` a second under the flood; then `seconds` of their audio are measured, still under it."""

    calls: int = 50
    seconds: float = 30.0
    rate: float = 5.0
    per_s: float = 500.0
    scanner: str = "stranger"
    settle: float = 2.0


def run(plan: Plan) -> dict[str, Any]:
    """Every figure of one run, and the verdict."""
    bench.raise_file_limit()
    native.build("load")
    with bench.Program("echo") as echo:
        port = echo.event("listening", 5)["port"]
        changes = {
            "sessions": {"mode": "remote", "url": f"http://127.0.0.1:{port}", "api_key": "sk_test_bench"},
            "logging": {"level": "warning"},
            "trunks": TRUNKS[plan.scanner],
            "media": {"jitter": {"min_ms": 40, "start_ms": 40, "max_ms": 40}},
        }
        with Daemon(capacity=4 * plan.calls, changes=changes) as daemon:
            flood = Flood(daemon.sip_address, plan.per_s)
            with flood:
                time.sleep(1.0)  # it is found out before anybody else calls
                heard, cpu, late = _calls(plan, daemon, echo)
            counted = {
                name.partition('event="')[2].partition('"')[0]: value
                for name, value in daemon.metrics().items()
                if name.startswith("glotgate_sip_agent_events_total") and value
            }
    return _judged(plan, heard, cpu, late, flood, counted)


def _calls(plan: Plan, daemon: Daemon, echo: bench.Program) -> tuple[dict[str, Any], float, int]:
    """Place the calls and let them talk. (the generator's report, CPU of the sip process in cores, late slots)."""
    words = ["--target", daemon.sip_address, "--calls", str(plan.calls), "--rate", str(plan.rate), "--hold", "0"]
    words += ["--seconds", str(plan.seconds), "--settle", str(plan.settle), "--prefix", bench.PREFIX]
    placed = plan.calls / plan.rate
    pids = processes.roles(daemon.pid)
    with bench.Program("load", *words) as load:
        load.event("up", placed + 40)
        window = load.event("window", 5)
        echo.tell(f"window {window['from']} {window['to']}")
        before, began, metrics = processes.sample(pids), time.monotonic(), daemon.metrics()
        heard = load.event("report", plan.seconds + plan.settle + placed + 60)
        spent = processes.sample(pids)["sip"] - before["sip"]
        return heard, spent / (time.monotonic() - began), late_slots(metrics, daemon.metrics())


def late_slots(before: dict[str, float], after: dict[str, float]) -> int:
    """Slots of the media loop between two scrapes that were left out, or begun later than `LATE_S`."""
    rows = histogram_delta(before, after, "glotgate_rtp_slot_lateness_seconds")
    missed = after["glotgate_rtp_slots_missed_total"] - before["glotgate_rtp_slots_missed_total"]
    return round(missed + rows[-1][1] - sum(count for bound, count in rows if bound == LATE_S))


def _judged(
    plan: Plan, heard: dict[str, Any], cpu: float, late: int, flood: Flood, counted: dict[str, float]
) -> dict[str, Any]:
    lost = heard["sent"] - heard["returned"]
    setup = {"p50_ms": heard["setup"]["p50"], "p99_ms": heard["setup"]["p99"], "failed": heard["failed"]}
    setup["retransmissions"] = heard["resent"] + heard["answered_again"]
    limits = [
        ("frames lost by running calls", lost, 0),
        ("frames that came back altered", heard["returned"] - heard["whole"], 0),
        (f"slots of the media loop more than {1000 * LATE_S:g} ms late", late, 0),
        ("legitimate set-up, p99, ms", setup["p99_ms"], 200),
        ("legitimate set-up, the longest, ms", heard["setup"]["max"], 2000),
        ("legitimate set-ups that failed", heard["failed"], 0),
        ("calls that the gateway ended", heard["ended_early"], 0),
    ]
    rows = [{"name": name, "figure": figure, "limit": most, "kept": figure <= most} for name, figure, most in limits]
    measured = heard["sent"] > 0 and flood.sent >= 0.9 * plan.per_s * flood.lasted_s
    return {
        "scanner": plan.scanner,
        "flood": flood.figures(),
        "frames": {"sent": heard["sent"], "returned": heard["returned"], "lost": lost},
        "setup": setup,
        "sip_cpu_percent": round(100 * cpu, 1),
        "counted": counted,
        "limits": rows,
        "passed": measured and all(row["kept"] for row in rows),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/bench-scanner", description=__doc__)
    parser.add_argument("--calls", type=int, default=50, help="calls beside the flood (default 50)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of audio that are measured (default 30)")
    parser.add_argument("--rate", type=float, default=5.0, help="calls placed per second (default 5)")
    parser.add_argument("--invites", type=float, default=500.0, help="INVITEs per second of the scanner (default 500)")
    parser.add_argument("--scanner", choices=TRUNKS, default="stranger", help="who it is to the daemon")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(argv)
    end_in_order()
    result = run(Plan(given.calls, given.seconds, given.rate, given.invites, given.scanner))
    print(json.dumps(result) if given.json else text(result))
    return 0 if result["passed"] else 1


def text(result: dict[str, Any]) -> str:
    """For people."""
    flood, frames = result["flood"], result["frames"]
    answers = ", ".join(f"{code} × {count}" for code, count in sorted(flood["answers"].items())) or "none"
    sent, came = frames["sent"], frames["returned"]
    lines = [
        f"scanner ({result['scanner']}): {flood['sent']} INVITEs in {flood['seconds']} s, {flood['rate']}/s",
        f"  answers: {answers}; sip process {result['sip_cpu_percent']} % of a core",
        f"calls: {came} of {sent} frames came back",
    ]
    for row in result["limits"]:
        lines.append(f"  {'ok ' if row['kept'] else 'BAD'} {row['name']}: {row['figure']} (at most {row['limit']})")
    return "\n".join([*lines, "passed" if result["passed"] else "NOT passed"])


if __name__ == "__main__":
    sys.exit(main())
