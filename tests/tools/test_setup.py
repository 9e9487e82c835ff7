"""The shell helpers that set a machine up: what they say and return when something is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"


def bash(script: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script with the helpers loaded; `path` holds programs that stand in for the machine's."""
    environment = dict(os.environ)
    if path:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; . {TOOLS}/lib/common.sh; {script}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_step_tells_the_time_and_keeps_a_success_quiet() -> None:
    result = bash("step 'doing it' echo noise; echo result")
    assert result.stdout == "result\n"
    assert "doing it" in result.stderr
    assert result.stderr.rstrip().endswith(" s")
    assert "noise" not in result.stderr


def test_step_shows_the_end_of_what_failed_and_passes_the_status_on() -> None:
    result = bash("step 'doing it' bash -c 'echo why; exit 7' || echo status $?")
    assert result.stdout == "status 7\n"
    assert "FAILED" in result.stderr
    assert "| why" in result.stderr


def test_seconds_do_not_depend_on_the_locale() -> None:
    result = bash("EPOCHREALTIME=100,500000; unset EPOCHREALTIME; EPOCHREALTIME=102,750000; seconds_since 100.500000")
    assert result.stdout == "2.250"


def test_missing_packages_are_named_where_there_is_no_root(tmp_path: Path) -> None:
    program(tmp_path, "id", "echo 1000")
    program(tmp_path, "sudo", "exit 1")
    program(tmp_path, "apt-get", "echo apt-get was called; exit 1")
    program(tmp_path, "dpkg-query", 'for last; do :; done; [ "$last" = here ] && echo installed')
    result = bash("need_packages here gone also-gone || echo refused", tmp_path)
    assert result.stdout == "refused\n"
    assert "apt-get install gone also-gone" in result.stderr
    assert "was called" not in result.stderr


def test_nothing_is_called_when_nothing_is_missing(tmp_path: Path) -> None:
    program(tmp_path, "apt-get", "echo apt-get was called; exit 1")
    program(tmp_path, "dpkg-query", "echo installed")
    result = bash("need_packages one two; echo fine", tmp_path)
    assert (result.stdout, result.stderr) == ("fine\n", "")


def test_package_lists_are_refreshed_once_before_the_first_install(tmp_path: Path) -> None:
    program(tmp_path, "id", "echo 0")
    program(tmp_path, "apt-get", f'echo "$@" >>{tmp_path}/calls')
    program(tmp_path, "dpkg-query", "exit 1")
    assert bash("need_packages one; need_packages two", tmp_path).returncode == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split("-y ")[1].split()[0] for call in calls] == ["update", "install", "install"]


def test_an_old_python_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path, "python3", "echo")  # what an interpreter older than 3.11 prints for find_python
    program(tmp_path, "python3.14", "exit 127")
    program(tmp_path, "python3.13", f"echo {tmp_path}/python3.13")
    assert bash("unset GLOTGATE_PYTHON; find_python", tmp_path).stdout == f"{tmp_path}/python3.13"


def test_setup_refuses_an_argument_that_it_does_not_know() -> None:
    result = subprocess.run([TOOLS / "setup", "--nonsense"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "unknown argument: --nonsense" in result.stderr
