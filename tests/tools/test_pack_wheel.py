"""The hand-made wheel: what pip checks when it installs one."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from lib import pack_wheel


def test_pip_installs_what_was_packed(tmp_path: Path) -> None:
    (tmp_path / "greeting.py").write_text("WORD = 'hello'\n")
    (tmp_path / "COPYING").write_text("do as you like\n")
    packed = subprocess.run(
        [sys.executable, pack_wheel.__file__, "--name", "a-greeting", "--version", "2.17+0abc", "--summary", "s",
         "--license", "MIT", "--license-file", tmp_path / "COPYING", "--into", tmp_path, tmp_path / "greeting.py"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    wheel = Path(packed.stdout.strip())
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", tmp_path / "into", wheel],
        check=True,
    )
    assert (tmp_path / "into" / "greeting.py").read_text() == "WORD = 'hello'\n"
    assert (tmp_path / "into" / "a_greeting-2.17+0abc.dist-info" / "METADATA").is_file()
    with zipfile.ZipFile(wheel) as archive:
        assert "a_greeting-2.17+0abc.dist-info/LICENSE" in archive.namelist()


def test_digest_is_url_safe_and_unpadded() -> None:
    # RFC 4648's alphabet for URLs; the hash of nothing has both characters that differ.
    assert pack_wheel.digest(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
