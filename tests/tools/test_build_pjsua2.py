"""tools/build-pjsua2: what it accepts, what it refuses, and that the second run is quick."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "build-pjsua2"
#: The files of pjproject that it mends.
PATCHED = (
    "pjlib/src/pj/addr_resolv_sock.c",
    "pjmedia/src/pjmedia/sdp_neg.c",
    "pjsip/src/pjsip/sip_transport.c",
    "pjsip/src/pjsua-lib/pjsua_call.c",
)


def run(*arguments: str, tool: Path = TOOL, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tool), *arguments],
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


def test_what_is_edited_during_a_build_does_not_get_into_it(tmp_path: Path) -> None:
    tools = Path(shutil.copytree(TOOL.parent, tmp_path / "tools", ignore=shutil.ignore_patterns("rig")))
    source, seen, programs = tmp_path / "pjproject", tmp_path / "seen", tmp_path / "bin"
    for name in PATCHED:
        (source / name).parent.mkdir(parents=True)
        (source / name).touch()
    for name in ("pjlib/include/pj", "pjmedia/src/pjmedia-audiodev", "pjsip-apps/src/swig/python", "../bin"):
        (source / name).mkdir(parents=True)
    edit = f"echo edited | tee -a {tools}/build-pjsua2 {tools}/lib/pjsua2_gate.i >{tools}/lib/check_pjsua2.py\n"
    for program, script in ((source / "aconfigure", edit), (programs / "swig", f'cat "${{@: -1}}" >{seen}\nexit 1\n')):
        program.write_text(f"#!/bin/bash\n{script}")
        program.chmod(0o755)
    tarball = tmp_path / "pjproject.tar"
    subprocess.run(["tar", "-C", str(tmp_path), "-cf", str(tarball), "pjproject"], check=True)
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    result = run(
        *["--source", str(tarball), "--sha256", digest, "--python", sys.executable, "--no-fallback"],
        tool=tools / "build-pjsua2",
        XDG_CACHE_HOME=str(tmp_path),
        PATH=f"{programs}:{os.environ['PATH']}",
    )
    assert "it does not compile" in result.stderr
    assert (tools / "lib" / "check_pjsua2.py").read_text() == "edited\n"
    assert seen.read_bytes() == (TOOL.parent / "lib" / "pjsua2_gate.i").read_bytes()
