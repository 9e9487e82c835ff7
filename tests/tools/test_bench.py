"""The bench's judgement: which limits apply to a run, and what passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rig import bench, bench_cli, bench_report, daemon, limits, processes


def result(calls: int = 300, **changes: Any) -> dict[str, Any]:
    """A run that keeps every limit."""
    quantiles = {"p50": 0.5, "p99": 0.9, "p999": 2.0, "max": 3.0}
    run: dict[str, Any] = {
        "calls": calls, "seconds": 20.0, "hold": 0.0, "faults": [],
        "cpu_us_per_call_second": {"total": 1000.0, "sip": 1.0, "controller": 600.0, "rtp": 399.0},
        "tools_cpu_us_per_call_second": {"generator": 300.0, "echo": 400.0},
        "rss_mb": {"rtp": 80.0}, "slot_lateness_ms": quantiles,
        "frames": {"sent": 300000, "reached": 300000, "returned": 300000, "lost": 0,
                   "altered_up": 0, "altered_back": 0},
        "latency_ms": {"rtp_to_stream": quantiles, "jitter_delay": 40, "round_trip": quantiles,
                       "beyond_jitter_delay": {"p50": 1.0, "p99": 4.0, "p999": 6.0}},
        "tx_interval_error_ms": quantiles, "generator_lateness_ms": quantiles, "generator_late": False,
        "setup": {"offered_rate": 50.0, "rate": 49.9, "failed": 0, "retransmissions": 0, "p50_ms": 9, "p99_ms": 20},
    }  # fmt: skip
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = run
        for key in parents:
            at = at[key]
        at[last] = value
    return run


def kept(run: dict[str, Any]) -> dict[str, bool | None]:
    return {row["name"]: row["kept"] for row in limits.judge(run)[0]}


def test_a_good_run_passes_and_says_what_did_not_apply() -> None:
    rows, passed = limits.judge(result())
    assert passed
    why = {row["name"]: row["why"] for row in rows if row["kept"] is None}
    assert why["transmit interval error, p99"] == "not applicable at 300 calls, set at 100"
    assert why["idle daemon, all processes"].startswith("the idle daemon was not measured")


@pytest.mark.parametrize(
    ("path", "value", "limit"),
    [
        ("cpu_us_per_call_second__total", 1200.1, "CPU of sip + controller + rtp"),
        ("frames__lost", 1, "frames lost inside the gateway"),
        ("latency_ms__beyond_jitter_delay", {"p50": 3.1, "p99": 4.0}, "RTP→stream beyond the jitter delay, p50"),
        ("latency_ms__beyond_jitter_delay", {"p50": 1.0, "p99": 8.1}, "RTP→stream beyond the jitter delay, p99"),
    ],
)
def test_a_figure_above_its_limit_fails_the_run(path: str, value: object, limit: str) -> None:
    run = result(**{path: value})
    rows, passed = limits.judge(run)
    assert not passed
    assert [row["name"] for row in rows if row["kept"] is False] == [limit]


def test_limits_set_at_300_calls_do_not_judge_100() -> None:
    run = result(100, cpu_us_per_call_second__total=5000.0)
    assert limits.judge(run)[1]
    assert kept(run)["CPU of sip + controller + rtp"] is None
    assert kept(run)["transmit interval error, p99"] is True


def test_set_up_is_judged_only_at_the_rate_and_length_of_its_limit() -> None:
    names = ("set-ups failed at 50 calls/s for 20 s", "retransmissions at 50 calls/s for 20 s")
    assert [kept(result(1000, setup__retransmissions=1))[name] for name in names] == [True, False]
    assert [kept(result(999))[name] for name in names] == [None, None]
    assert [kept(result(1000, setup__offered_rate=49.0))[name] for name in names] == [None, None]


def test_a_run_to_which_no_limit_applies_passes_when_nothing_failed() -> None:
    run = {"calls": 100, "hold": 2.0, "setup": result()["setup"], "faults": []}
    assert not any(kept(run).values())
    assert limits.judge(run)[1]
    assert not limits.judge(run | {"faults": ["1 calls failed: {'503': 1}"]})[1]


def test_a_fault_or_an_empty_run_never_passes() -> None:
    assert not limits.judge(result(faults=["2 calls failed"]))[1]
    assert not limits.judge({"faults": []})[1]


def test_the_printed_table_names_every_limit_and_fault() -> None:
    run = result(faults=["generator_late: its own packets left 3.0 ms late (p99)"])
    rows, passed = limits.judge(run)
    text = bench_report.text(run | {"limits": rows, "passed": passed})
    assert all(limit.name in text for limit in limits.LIMITS)
    assert "FAULT: generator_late" in text
    assert text.endswith("NOT PASSED")


def test_the_json_result_is_plain_data() -> None:
    rows, passed = limits.judge(result())
    assert json.loads(json.dumps(result() | {"limits": rows, "passed": passed}))["passed"] is True


@pytest.mark.parametrize(
    "given", [["--calls", "0"], ["--calls", "5000"], ["--rate", "0"], ["--seconds", "-1"], ["--jitter", "5"]]
)
def test_absurd_arguments_are_refused(given: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        bench_cli.arguments(given)
    assert refused.value.code == 2


def test_a_plan_with_hold_needs_legs_for_the_calls_that_are_up_together() -> None:
    assert bench.Plan(300, 10).concurrent == 300
    assert bench.Plan(1000, 0, 50, hold=2).concurrent == 210


@pytest.mark.parametrize(
    ("line", "role"),
    [
        (["python", "-P", "-m", "gateway.app", "sip", "--parent", "7", "--fd=rtp=5"], "sip"),
        (["/srv/sip/.venv/bin/python", "-m", "gateway.app", "controller"], "controller"),
        (["python", "-m", "http.server"], None),
    ],
)
def test_a_process_is_known_by_the_word_in_its_command_line(line: list[str], role: str | None) -> None:
    assert processes.role_of(line) == role


def test_metrics_are_read_and_histograms_compared() -> None:
    before = daemon.parse_metrics('# HELP x y\nh_bucket{le="0.001"} 5\nh_bucket{le="+Inf"} 6\nplain 3\n')
    after = daemon.parse_metrics('h_bucket{le="0.001"} 95\nh_bucket{le="0.002"} 99\nh_bucket{le="+Inf"} 106\n')
    rows = daemon.histogram_delta(before, after, "h")
    assert rows == [(0.001, 90.0), (0.002, 99.0), (float("inf"), 100.0)]
    assert daemon.histogram_quantile(rows, 0.5) == 0.001
    assert daemon.histogram_quantile(rows, 0.99) == 0.002
    assert daemon.histogram_quantile([], 0.5) == 0.0


def test_the_daemon_listens_on_loopback_only_and_its_ports_stand_apart(tmp_path: Path) -> None:
    made = daemon.configuration(tmp_path, capacity=300, changes={"sessions": {"mode": "remote"}})
    addresses = [made["sip"]["bind"][0]["address"], made["admin"]["bind"], made["sessions"]["bind"]]
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    ports = made["media"]["ports"]
    assert ports["first"] % 2 == 0
    assert (ports["last"] - ports["first"] + 1) // 2 >= 600
    assert not any(ports["first"] <= int(address.split(":")[1]) <= ports["last"] for address in addresses)
    assert made["sessions"]["mode"] == "remote"
