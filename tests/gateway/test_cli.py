from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway import __version__, cli
from gateway.cli import app

run = CliRunner()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(f"sessions: {{database: 'sqlite:///{tmp_path}/state/s.db'}}\nadmin: {{bind: '127.0.0.1:1'}}\n")
    return path


def _call(*words: str) -> Result:
    result = run.invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_bad_file_is_told_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("media:\n  capacity: many\nadmn: {}\n")
    for command in ("check", "serve", "status"):
        result = _call(command, "-c", str(path))
        assert result.exit_code == 2
        assert result.stderr.splitlines() == [
            f"{path}:2: media.capacity: must be a whole number (it is 'many')",
            f"{path}:3: admn: unknown key; did you mean admin?",
        ]


def test_a_missing_file_is_told() -> None:
    result = _call("check", "-c", "/nowhere/c.yaml")
    assert result.exit_code == 2
    assert result.stderr == "/nowhere/c.yaml: can not be read: No such file or directory\n"


def test_a_good_file_is_fine(config: Path) -> None:
    result = _call("check", "-c", str(config))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{config}: fine\n")
    assert "engine offline (offline)\n  recognition: " in result.stdout


def test_a_file_without_a_trunk_is_told_who_may_call(config: Path) -> None:
    checked = _call("check", "-c", str(config))
    assert "note: no trunk is configured: whoever has a private address may call" in checked.stdout


def test_a_route_is_tried_without_a_call(config: Path) -> None:
    with config.open("a") as file:
        file.write("routes: [{name: sales, user: '47', headers: {X-Queue: s.*}, mode: help_chat_voice}]\n")
    taken = _call("route-test", "47", "-c", str(config), "--header", "X-Queue: sales", "--from", "anna")
    assert taken.exit_code == 0
    assert "route 1 'sales' matches" in taken.stdout
    refused = _call("route-test", "47", "-c", str(config), "--source", "127.0.0.2")
    assert refused.exit_code == 1
    assert "route 1 'sales' does not match: there is no header X-Queue" in refused.stdout
    assert _call("route-test", "sip:a@", "-c", str(config)).stderr.startswith("that is no INVITE: ")


def test_version() -> None:
    assert _call("version").stdout.startswith(f"glotgate {__version__} ")


def test_keys_are_made_shown_once_listed_and_revoked(config: Path) -> None:
    made = _call("keys", "create", "-c", str(config), "--name", "backend", "--expires-days", "2")
    assert made.exit_code == 0
    key = made.stdout.strip()
    assert re.fullmatch(r"sk_live_\w{32}", key)
    listed = _call("keys", "list", "-c", str(config)).stdout
    assert key not in listed
    assert "backend" in listed
    assert "until 20" in listed
    key_id = listed.split()[0]
    assert _call("keys", "revoke", key_id, "-c", str(config)).stdout == f"{key_id} is revoked\n"
    assert "revoked" in _call("keys", "list", "-c", str(config)).stdout
    again = _call("keys", "revoke", key_id, "-c", str(config))
    assert (again.exit_code, again.stderr.startswith(f"there is no key {key_id}")) == (1, True)
    test = _call("keys", "create", "-c", str(config), "--test", "--read-only")
    assert test.stdout.startswith("sk_test_")
    assert ", read, " in test.stderr


def test_a_key_for_nobody_is_refused(config: Path) -> None:
    result = _call("keys", "create", "-c", str(config), "--organization", "org_none")
    assert (result.exit_code, result.stderr) == (1, "sessions.database: there is no organization org_none\n")


def test_a_database_that_can_not_be_had_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("sessions: {database: 'sqlite:////proc/nothing/s.db'}")
    result = _call("keys", "list", "-c", str(path))
    assert result.exit_code == 1
    assert result.stderr.startswith("sessions.database: ")
    assert "Traceback" not in result.stderr


def test_a_hosted_service_makes_its_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("sessions: {mode: remote, url: 'https://h', api_key: x}")
    result = _call("keys", "list", "-c", str(path))
    assert (result.exit_code, "hosted" in result.stderr) == (1, True)


def test_status_without_a_daemon(config: Path) -> None:
    result = _call("status", "-c", str(config))
    assert result.exit_code == 1
    assert result.stderr.startswith("no gateway answers at 127.0.0.1:1 (admin.bind): ")


@pytest.mark.parametrize("ready", [True, False])
def test_status_of_a_daemon(config: Path, monkeypatch: pytest.MonkeyPatch, ready: bool) -> None:
    call = {"call_id": "call_1", "state": "talking", "seconds": 61.2, "session_id": "sess_1", "from": "sip:a@b"}
    registered = {"state": "registered", "code": 200, "reason": "OK", "expires_s": 300}
    answers = {
        "/readyz": {
            "ready": ready,
            "reasons": [] if ready else ["draining"],
            "notes": ["no real-time scheduling"],
            "processes": {"sip": 5},
        },
        "/calls": {"capacity": 9, "calls": [call | {"held": False}, call | {"call_id": "call_2", "held": True}]},
        "/trunks": {
            "trunks": [
                {"name": "office", "registration": registered},
                {"name": "far", "registration": registered | {"state": "off", "code": 0}},
                {"name": "in", "registration": None},
            ]
        },
    }
    monkeypatch.setattr(cli, "_ask", lambda address, path: answers[path])
    result = _call("status", "-c", str(config))
    assert result.exit_code == (0 if ready else 1)
    assert result.stdout.startswith("ready, 2 of 9 calls" if ready else "NOT READY, 2 of 9 calls\n  because draining")
    assert "call_1  talking  61 s  sess_1  sip:a@b" in result.stdout
    assert "call_2  held  61 s" in result.stdout
    assert "  trunk office: registered (200 OK)\n  trunk far: off\n" in result.stdout
    assert "trunk in" not in result.stdout


def test_serve_becomes_the_supervisor(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: became.append([program, *words]))
    assert _call("serve", "-c", str(config)).exit_code == 0
    assert became == [[sys.executable, sys.executable, "-P", "-m", "gateway.supervisor", str(config)]]


def test_root_leaves_no_files_that_the_service_can_not_write(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda file, uid, gid, follow_symlinks: given.append((file.name, uid)))
    assert _call("keys", "list", "-c", str(config)).exit_code == 0
    assert ("s.db", (tmp_path / "state").stat().st_uid) in given


def test_reload_and_drain_are_steered(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway import steering

    done: list[object] = []
    monkeypatch.setattr(steering.Steering, "reload", lambda self: done.append("reload"))
    monkeypatch.setattr(steering.Steering, "drain", lambda self, now, wait: done.append((now, wait)))
    for words in (["reload"], ["drain"], ["drain", "--now", "--no-wait"]):
        assert _call(*words, "-c", str(config)).exit_code == 0
    assert done == ["reload", (False, True), (True, False)]

    def refuse(self: steering.Steering) -> None:
        raise steering.SteeringError("f:1: bad\nnothing was changed")

    monkeypatch.setattr(steering.Steering, "reload", refuse)
    result = _call("reload", "-c", str(config))
    assert (result.exit_code, result.stderr) == (1, "f:1: bad\nnothing was changed\n")


def test_a_bad_certificate_is_found_before_anybody_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "sip:\n  bind: [{transport: tls}]\n  tls: {certificate: /nowhere/c.pem, key: /nowhere/k.pem}\n"
        "admin: {bind: '127.0.0.1:1'}\n"
    )
    for command in ("check", "reload"):
        result = _call(command, "-c", str(path))
        assert result.exit_code == 2
        assert "sip.tls.certificate: /nowhere/c.pem can not be read" in result.stderr


def test_a_trace_is_printed(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"/calls/call_1/trace": {"text": "--- 10:00\nINVITE\n"}, "/calls/call_2/trace": {"error": "no such call"}}
    monkeypatch.setattr(cli, "_ask", lambda address, path: answers[path])
    assert _call("trace", "call_1", "-c", str(config)).stdout == "--- 10:00\nINVITE\n"
    missing = _call("trace", "call_2", "-c", str(config))
    assert missing.exit_code == 1
    assert "there is no call call_2" in missing.stderr
