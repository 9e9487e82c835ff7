from __future__ import annotations

from gateway.ops.health import Health, line


def test_ready_without_any_reason() -> None:
    health = Health()
    health.started("rtp", 12)
    health.started("sip", 11)
    report = health.report([], [])
    configuration = {"reloads": 0, "problems": [], "changed": [], "needs_restart": []}
    processes = {"sip": 11, "rtp": 12}
    expected = {"ready": True, "reasons": [], "notes": [], "processes": processes, "configuration": configuration}
    assert report == expected
    assert line(report, 1) == "1 call, ready"


def test_every_reason_is_said() -> None:
    report = Health().report(["draining", "the rtp process is not ready"], [])
    assert not report["ready"]
    assert line(report, 0) == "0 calls, not ready: draining; the rtp process is not ready"


def test_a_process_that_ended_is_a_reason_until_it_is_back() -> None:
    health = Health()
    health.started("sessions", 12)
    health.ended("sessions", "killed by SIGKILL")
    report = health.report([], [])
    assert report["reasons"] == ["the sessions process ended (killed by SIGKILL) and is being replaced"]
    assert report["processes"] == {}
    health.started("sessions", 13)
    assert health.report([], [])["ready"]


def test_notes_do_not_make_it_unready() -> None:
    health = Health()
    health.reloaded(["f:1: sip: bad"], [], [])
    report = health.report([], ["this pjsua2 build is not fit for a network"])
    assert report["ready"]
    assert report["notes"][1] == "the changed configuration was not taken: f:1: sip: bad"
    assert line(report, 2) == "2 calls, ready, 2 notes in /readyz"
    health.reloaded([], ["routes"], ["media.capacity"])
    report = health.report([], [])
    assert report["notes"] == ["a change of media.capacity waits for a restart"]
    assert report["configuration"] == {
        "reloads": 2,
        "problems": [],
        "changed": ["routes"],
        "needs_restart": ["media.capacity"],
    }
