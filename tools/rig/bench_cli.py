"""The command line of tools/bench."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rig import bench, bench_report, limits
from rig.daemon import end_in_order

EPILOG = """
Without --calls the runs that the table of limits asks for are made one after the other: 300 calls, 100 calls,
300 calls with SRTP, 1000 set-ups at 50 calls/s, and the idle daemon. With --calls one run is made and judged by
those limits that apply to it. Exit status 0 means that every limit that applies was kept.
"""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/bench", description=bench.__doc__, epilog=EPILOG, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, help="calls that are up at a time")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the measured window (default 20)")
    parser.add_argument("--rate", type=float, default=50.0, help="calls placed per second (default 50)")
    parser.add_argument("--settle", type=float, default=5.0, help="seconds between the last set-up and the window")
    parser.add_argument(
        "--hold", type=float, default=0.0, metavar="S", help="end each call after S seconds: only set-up is measured"
    )
    parser.add_argument(
        "--jitter", type=int, default=40, metavar="MS", help="fixed play-out delay of received audio (default 40)"
    )
    parser.add_argument("--srtp", action="store_true", help="seal the media (SRTP, keys by SDES)")
    parser.add_argument("--idle", action="store_true", help="measure the daemon without a call")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(argv)
    if given.calls is not None and not 1 <= given.calls <= 4096:
        parser.error("--calls must be 1 to 4096")
    if given.rate <= 0 or given.seconds <= 0 or given.settle < 0 or given.hold < 0:
        parser.error("--rate and --seconds must be above 0, --settle and --hold not below it")
    if not 10 <= given.jitter <= 500:
        parser.error("--jitter must be 10 to 500")
    return given


def _judged(run: dict[str, Any]) -> dict[str, Any]:
    rows, passed = limits.judge(run)
    return run | {"limits": rows, "passed": passed}


def _table(given: argparse.Namespace) -> dict[str, Any]:
    """Every run that the table of limits asks for; a limit is taken from the run it was set for."""
    plans = {
        "300 calls": bench.Plan(300, given.seconds, given.rate, settle=given.settle, jitter_ms=given.jitter),
        "100 calls": bench.Plan(100, given.seconds, given.rate, settle=given.settle, jitter_ms=given.jitter),
        "300 calls, SRTP": bench.Plan(300, given.seconds, given.rate, 0, given.settle, given.jitter, srtp=True),
        "1000 set-ups": bench.Plan(1000, 0, 50, hold=2.0, jitter_ms=given.jitter),
    }
    runs: dict[str, Any] = {}
    for name, plan in plans.items():
        runs[name] = _judged(bench.run(plan))
        print(bench_report.text(runs[name]), file=sys.stderr if given.json else sys.stdout, end="\n\n", flush=True)
    runs["idle"] = _judged(bench.idle(given.seconds))
    rows = []
    for position in range(len(limits.LIMITS)):
        each = [run["limits"][position] for run in runs.values()]
        judged = [row for row in each if row["kept"] is not None]
        rows.append(max(judged or each, key=lambda row: row["figure"] or 0.0))
    faults = [f"{name}: {fault}" for name, run in runs.items() for fault in run["faults"]]
    passed = all(run["passed"] for run in runs.values()) and all(row["kept"] for row in rows)
    return {"runs": runs, "limits": rows, "faults": faults, "passed": passed}


def main(argv: list[str] | None = None) -> int:
    """Run, print, and say by the exit status whether it passed."""
    given = arguments(argv)
    end_in_order()
    if given.idle:
        result = _judged(bench.idle(given.seconds))
    elif given.calls is None:
        result = _table(given)
    else:
        plan = bench.Plan(given.calls, given.seconds, given.rate, given.hold, given.settle, given.jitter, given.srtp)
        result = _judged(bench.run(plan))
    print(json.dumps(result) if given.json else bench_report.text(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
