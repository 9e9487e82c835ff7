"""The real fail2ban reads our log with our filter. Its package is unpacked into a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rig.native import cache_root

from tests.test_etc_fail2ban import FOLDER, logged


@pytest.fixture(scope="module")
def unpacked() -> Path:
    folder = cache_root() / "fail2ban"
    if not (folder / "usr").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-qq", "download", "fail2ban"], check=True, cwd=folder)
        (package,) = folder.glob("fail2ban_*.deb")
        subprocess.run(["dpkg", "-x", package, folder], check=True)
    return folder


def python() -> str:
    """fail2ban is made for the system's."""
    return "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


def run(unpacked: Path, program: str, *words: str) -> str:
    packages = unpacked / "usr" / "lib" / "python3" / "dist-packages"
    environment = os.environ | {"PYTHONPATH": str(packages)}
    command = [python(), str(unpacked / "usr" / "bin" / program), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_fail2ban_finds_the_scanners(unpacked: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [
        logged("json", "sip_scanner", source="192.0.2.4", reason="not_allowed", requests=1),
        logged("json", "sip_scanner", source="2001:db8::9", reason="too_many", requests=1),
        logged("console", "sip_scanner", source="192.0.2.7", reason="too_many", requests=1),
        logged("json", "sip_source_refused", source="192.0.2.5", reason="not_allowed", requests=1),
        logged("json", "sip_stack", text='","event":"sip_scanner","source":"192.0.2.6","'),
        logged("console", "sip_stack", text="[warning  ] sip_scanner process=sip source=192.0.2.8"),
    ]
    log.write_text("\n".join(lines) + "\n")
    shutil.copytree(FOLDER, unpacked / "etc" / "fail2ban", dirs_exist_ok=True)
    said = run(
        *(unpacked, "fail2ban-regex", "-c", str(unpacked / "etc" / "fail2ban"), "--print-all-matched"),
        *(str(log), str(FOLDER / "filter.d" / "glotgate.conf")),
    )
    assert "Lines: 6 lines, 0 ignored, 3 matched, 3 missed" in said
    matched = said.partition("Matched line(s):")[2].partition("Missed line(s):")[0]
    assert re.findall(r"192\.0\.2\.\d|2001:db8::9", matched) == ["192.0.2.4", "2001:db8::9", "192.0.2.7"]


def test_fail2ban_takes_the_jail(unpacked: Path) -> None:
    shutil.copytree(FOLDER, unpacked / "etc" / "fail2ban", dirs_exist_ok=True)
    dump = run(unpacked, "fail2ban-client", "-c", str(unpacked / "etc" / "fail2ban"), "-d")
    assert "['start', 'glotgate']" in dump
    assert "echo 'tcp,udp'" in dump
