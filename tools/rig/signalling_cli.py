"""The command line of the signalling bench. See tools/bench-signalling."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import replace
from typing import Any

from rig import signalling
from rig.daemon import end_in_order

PLANS = {
    "dialogs": signalling.Plan(calls=2000, rate=100.0, hold=10.5),
    "churn": signalling.Plan(calls=20_000, rate=100.0, hold=0.5, media=True),
}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench-signalling", description=__doc__)
    parser.add_argument(
        "run", nargs="?", choices=PLANS, help="a thousand dialogs at once, or 20,000 short calls (both)"
    )
    parser.add_argument("--calls", type=int, help="calls in all")
    parser.add_argument("--rate", type=float, help="calls a second")
    parser.add_argument("--hold", type=float, help="seconds that each stays up")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(argv)
    if any(value is not None and value <= 0 for value in (given.calls, given.rate, given.hold)):
        parser.error("--calls, --rate and --hold must be above 0")
    return given


def text(name: str, result: dict[str, Any]) -> str:
    """The result as a table for people."""
    plan, setup, left = result["plan"], result["setup"], result["left"]
    sound = "with media" if plan["media"] else "without media"
    cpu = "  ".join(f"{role} {value}" for role, value in result["cpu_ms_per_call"].items())
    rows = [
        ("calls", f"{plan['calls']} at {plan['rate']:g}/s, each {plan['hold_s']:g} s, {sound}"),
        ("most dialogs at once", f"{result['most_dialogs']:.0f}"),
        ("set-up", f"{setup['rate']:.1f}/s, p50 {setup['p50_ms']} ms, p99 {setup['p99_ms']} ms"),
        ("failed, retransmissions", f"{result['failed']}, {result['retransmissions']}"),
        ("CPU a call, ms", cpu),
        ("left", "  ".join(f"{count:.0f} {name}" for name, count in left.items() if name != "descriptors")),
        ("left: descriptors", "  ".join(f"{role} {n:+d}" for role, n in left["descriptors"].items())),
        ("memory", "  ".join(f"{role} {held} MB" for role, held in result["rss_mb"].items())),
        (f"memory since {signalling.WARM} calls", str(result["rss_growth_mb"] or "not so many calls")),
    ]
    width = max(len(label) for label, _ in rows)
    lines = [f"{name} ({platform.machine()}, {platform.release()})"]
    lines += [f"  {label:<{width}}  {value}" for label, value in rows]
    lines += [f"  FAULT: {fault}" for fault in result["faults"]] or ["  passed"]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run, print, and say by the exit status whether it passed."""
    given = arguments(argv)
    end_in_order()
    results = {}
    for name in [given.run] if given.run else PLANS:
        usual = PLANS[name]
        chosen = {name: value for name in ("calls", "rate", "hold") if (value := getattr(given, name)) is not None}
        plan = replace(usual, **chosen)
        results[name] = signalling.run(plan)
        if not given.json:
            print(text(name, results[name]), flush=True)
    if given.json:
        print(json.dumps(results))
    return 1 if any(result["faults"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
