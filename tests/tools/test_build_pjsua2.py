"""tools/build-pjsua2: what it accepts, what it refuses, and that the second run is quick."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "build-pjsua2"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TOOL), *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_a_cached_wheel_is_found_at_once() -> None:
    first = run("--python", sys.executable)
    assert first.returncode == 0, first.stderr
    began = time.monotonic()
    second = run("--python", sys.executable)
    assert second.stdout == first.stdout
    wheel = Path(second.stdout.splitlines()[-1])
    assert wheel.is_file()
    assert f"cp{sys.version_info.major}{sys.version_info.minor}" in wheel.name
    assert not wheel.is_relative_to(TOOL.parents[1]), "a wheel in the checkout would be built again by each clone"
    if "pjsua2_glotgate" in wheel.name:
        # Half a second on an idle machine; the fallback asks PyPI and may take longer.
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--source", "pjproject.tar.gz"], "--source needs --sha256"),
        (["--source", "pjproject.tar.gz", "--sha256", "1234"], "64 hexadecimal digits"),
        (["--python"], "--python needs a value"),
        (["--frobnicate"], "unknown argument: --frobnicate"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], complaint: str) -> None:
    result = run(*arguments)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert result.stdout == ""


def test_a_tarball_that_is_not_the_named_one_is_refused_and_not_kept(tmp_path: Path) -> None:
    tarball = tmp_path / "pjproject.tar.gz"
    tarball.write_bytes(b"not what was promised")
    result = run(
        "--source", str(tarball), "--sha256", "0" * 64, "--python", sys.executable, XDG_CACHE_HOME=str(tmp_path)
    )
    assert result.returncode == 1, "another source in its place would not be what the user named"
    assert "did NOT match" in result.stderr
    assert result.stdout == ""
    assert not list((tmp_path / "glotgate" / "sources").iterdir())


def test_a_source_that_does_not_build_fails_where_no_fallback_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "pjproject" / "pjlib").mkdir(parents=True)
    tarball = tmp_path / "pjproject.tar"
    subprocess.run(["tar", "-C", str(tmp_path), "-cf", str(tarball), "pjproject"], check=True)
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    result = run(
        *["--source", str(tarball), "--sha256", digest, "--python", sys.executable, "--no-fallback"],
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert result.returncode == 1
    assert "its configure script failed" in result.stderr
    assert result.stdout == ""
