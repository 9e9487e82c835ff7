"""A scanner beside real calls, in short: the real daemon, the bench's calls, and the verdict on made-up figures."""

from __future__ import annotations

import json
import socket

import pytest
from rig import scanner
from rig.scanner import Flood, Plan, run, text


@pytest.mark.parametrize("kind", ["unknown", "stranger", "allowed"])
def test_calls_go_on_beside_a_scanner(kind: str) -> None:
    result = run(Plan(calls=4, seconds=2.0, rate=10.0, per_s=300.0, scanner=kind, settle=0.5))
    assert result["flood"]["sent"] > 500
    assert result["setup"]["failed"] == 0
    assert result["frames"]["returned"] > 0
    answers, counted = result["flood"]["answers"], result["counted"]
    assert "200" not in answers
    if kind == "allowed":  # it is asked for its password each time, and no more
        assert set(answers) == {"401"}
        assert "source_dropped" not in counted
    else:
        assert sum(answers.values()) < 100
        assert counted["source_dropped"] > 400
        assert counted["scanners_found"] == 1
    assert counted["invites"] == 4, "the scanner's never became calls"


def test_each_invite_is_another() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        target.settimeout(5)
        with Flood(f"127.0.0.1:{target.getsockname()[1]}", 500.0) as flood:
            seen = {target.recv(65536) for _ in range(10)}
    assert len(seen) == 10
    assert all(message.startswith(b"INVITE sip:") and b"Authorization" not in message for message in seen)
    assert flood.sent >= 10


@pytest.mark.parametrize(
    ("lost", "p99", "late", "altered", "passed"),
    [
        (0, 20.0, 0, 0, True),
        (1, 20.0, 0, 0, False),
        (0, 300.0, 0, 0, False),
        (0, 2100.0, 0, 0, False),
        (0, 20.0, 1, 0, False),
        (0, 20.0, 0, 1, False),
    ],
)
def test_the_verdict(lost: int, p99: float, late: int, altered: int, passed: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        flood = Flood(f"127.0.0.1:{target.getsockname()[1]}", 500.0)
    flood.sent, flood.lasted_s = 500, 1.0
    heard = {"sent": 100, "returned": 100 - lost, "failed": 0, "resent": 0, "answered_again": 0, "ended_early": 0}
    heard |= {"whole": 100 - lost - altered, "setup": {"p50": 1.0, "p99": p99, "max": p99}}
    result = scanner._judged(Plan(), heard, 0.05, late, flood, {})
    assert result["passed"] is passed
    assert ("NOT passed" in text(result)) is not passed
    json.dumps(result)


def test_late_slots_are_those_beyond_the_bound_and_those_left_out() -> None:
    def metrics(early: int, late: int, missed: int) -> dict[str, float]:
        name = "glotgate_rtp_slot_lateness_seconds_bucket"
        counted = {f'{name}{{le="0.012"}}': early, f'{name}{{le="+Inf"}}': early + late}
        return counted | {"glotgate_rtp_slots_missed_total": missed}

    assert scanner.late_slots(metrics(10, 1, 2), metrics(500, 1, 2)) == 0
    assert scanner.late_slots(metrics(10, 1, 2), metrics(500, 4, 7)) == 8
