"""examples/: the clients run against the service, and are short."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.sessions import keys
from gateway.sessions.database import Database
from tests.gateway.speech.test_endpointing import SILENCE, mulaw
from tests.support.session_process import ServiceProcess

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = {"client.py": [sys.executable]}
if node := shutil.which("node"):  # the JavaScript one runs where there is a Node
    COMMANDS["client.mjs"] = [node, "--experimental-websocket"]


@pytest.mark.parametrize("name", ["client.py", "client.mjs"])
def test_examples_are_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) < 80


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_sentence_comes_back(name: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    database = Database(url)
    database.upgrade()
    key, _ = database.call(keys.create, 1.0, name="example")
    database.close()
    speech = mulaw(-20, 600)
    (tmp_path / "in.ulaw").write_bytes(SILENCE * 1600 + speech)
    service = ServiceProcess(url, tmp_path)
    try:
        done = subprocess.run(
            [*COMMANDS[name], str(EXAMPLES / name), service.rest, "in.ulaw", "out.ulaw"],
            cwd=tmp_path, env=os.environ | {"GLOTGATE_API_KEY": key}, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
    finally:
        assert service.stop() == 0
    assert done.returncode == 0, done.stderr
    assert speech in (tmp_path / "out.ulaw").read_bytes()
    assert "came back" in done.stdout
