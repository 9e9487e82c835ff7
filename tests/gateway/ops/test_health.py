from __future__ import annotations

import pytest

from gateway.ops.health import Health


def _ready() -> Health:
    health = Health(embedded_sessions=True)
    health.sip_ready(["udp 127.0.0.1:5060"], "2.17", 4096, True)
    health.rtp_ready([])
    health.sessions("")
    return health


def test_a_fresh_daemon_is_not_ready_and_says_of_each_part_why() -> None:
    health = Health(embedded_sessions=True)
    checks = {check["name"]: check["reason"] for check in health.report()["checks"]}
    assert checks == {"sip": "starting", "rtp": "starting", "sessions": "not asked yet", "draining": ""}
    assert not health.ready
    assert "sip: starting" in health.line()


def test_ready_when_every_part_is() -> None:
    health = _ready()
    assert health.ready
    assert health.line() == "ready"
    assert health.report()["listening"] == ["udp 127.0.0.1:5060"]


@pytest.mark.parametrize("part", ["sip", "rtp", "sessions"])
def test_a_part_that_ends_makes_it_unready_until_it_is_back(part: str) -> None:
    health = _ready()
    health.started(part, 12)
    assert health.report()["processes"] == {part: 12}
    health.ended(part, "killed by SIGKILL")
    assert not health.ready
    assert f"{part}: the process ended (killed by SIGKILL)" in health.line()
    assert health.report()["processes"] == {}
    health.sip_ready(["x"], "2.17", 4096, True)
    health.rtp_ready([])
    health.sessions("")
    assert health.ready


def test_an_unfit_stack_and_a_poor_host_are_noted_and_calls_are_taken() -> None:
    health = _ready()
    health.sip_ready(["x"], "2.15.1", 4, False)
    health.rtp_ready(["no real-time scheduling"])
    assert health.ready
    notes = health.report()["notes"]
    assert any("takes 4 calls and is not fit for a network" in note for note in notes)
    assert "no real-time scheduling" in notes
    assert health.line() == "ready, 2 notes (see /readyz)"


def test_draining_is_not_ready() -> None:
    health = _ready()
    health.draining("3 calls left")
    assert not health.ready
    assert health.line() == "draining: 3 calls left"


def test_a_user_agent_that_listens_nowhere_is_not_ready() -> None:
    health = _ready()
    health.sip_ready([], "2.17", 4096, True)
    assert not health.ready
