"""The skip gate: under CI a skip fails the run, elsewhere it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lib import skip_gate

SKIPPED = "import pytest\n\ndef test_it(): pytest.skip('no peer')\n"
MODULE_SKIPPED = "import pytest\n\npytest.skip('no peer', allow_module_level=True)\n"
EXPECTED_TO_FAIL = "import pytest\n\n@pytest.mark.xfail\ndef test_it(): assert False\n"


def run(folder: Path, test: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(test + "\n\ndef test_other(): pass\n")
    here = Path(skip_gate.__file__).parent
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "skip_gate", "-p", "no:cacheprovider", str(folder)],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(here)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("test", [SKIPPED, MODULE_SKIPPED])
def test_ci_refuses_a_skip_and_says_which(tmp_path: Path, test: str) -> None:
    result = run(tmp_path, test, ci="true")
    assert result.returncode != 0  # 5 where pytest found nothing else to run
    assert "skipped, which CI does not allow" in result.stdout
    assert "test_it.py" in result.stdout
    assert "no peer" in result.stdout


def test_elsewhere_a_skip_passes(tmp_path: Path) -> None:
    assert run(tmp_path, SKIPPED, ci="").returncode == 0


def test_an_expected_failure_is_not_a_skip(tmp_path: Path) -> None:
    assert run(tmp_path, EXPECTED_TO_FAIL, ci="true").returncode == 0


def test_a_reason_on_the_list_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skip_gate, "ALLOWED", ("^no real-time clock",))
    gate = skip_gate.SkipGate()
    for reason in ("no real-time clock here", "no peer"):
        gate.pytest_collectreport(
            pytest.CollectReport("test_it.py", "skipped", ("test_it.py", 1, f"Skipped: {reason}"), None)
        )
    assert gate.refused == ["test_it.py: no peer"]
