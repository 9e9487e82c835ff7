"""The command line of the fuzz: plan, run, verdict. See tools/fuzz."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rig import fuzz
from rig.daemon import end_in_order


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="messages in all (default a million)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed sends the same octets (default 1)")
    parser.add_argument("--rate", type=float, default=2000.0, help="the most messages a second (default 2000)")
    parser.add_argument("--calls", type=int, default=20, help="calls that run beside it (default 20)")
    parser.add_argument("--after", type=float, default=60.0, help="seconds of rest before memory is compared (60)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(argv)
    if given.count < 2 or given.rate <= 0 or given.after < 0 or not 1 <= given.calls <= 500:
        parser.error("--count must be 2 or more, --rate above 0, --after not below it, --calls 1 to 500")
    return given


def text(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    plan, frames = result["plan"], result["frames"]
    answers = "  ".join(f"{code}: {count}" for code, count in result["answers"].items())
    rates = ", ".join(f"{rate}/s {name}" for name, rate in result["messages_per_s"].items())
    rows = [
        ("messages, INVITEs with descriptions", f"{plan['datagrams']}, {plan['offers']} (seed {plan['seed']})"),
        ("taken at", rates),
        ("answers", answers),
        ("slowest OPTIONS between them", f"{result['slowest_options_ms']} ms ({result['options_resent']} sent again)"),
        (f"frames of {plan['calls']} calls beside it", f"{frames['sent']} sent, {frames['lost']} lost"),
        ("memory, afterwards", "  ".join(f"{role} {grown:+.1f} MB" for role, grown in result["rss_growth_mb"].items())),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {value}" for name, value in rows]
    lines += [f"  FAULT: {fault}" for fault in result["faults"]] or ["  passed"]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run, print, and say by the exit status whether it passed."""
    given = arguments(argv)
    end_in_order()
    half = given.count // 2
    plan = fuzz.Plan(given.count - half, half, given.seed, given.rate, given.calls, given.after)
    result = fuzz.run(plan)
    print(json.dumps(result) if given.json else text(result))
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
