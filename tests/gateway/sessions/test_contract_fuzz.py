"""The OpenAPI document against the running service: schemathesis, all checks.

The long run is the same with FUZZ_EXAMPLES=200 (some 3,000 cases and more).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from gateway.sessions import keys
from gateway.sessions.database import Database
from gateway.sessions.models import connections
from tests.support import schemathesis_hooks
from tests.support.session_process import ServiceProcess


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The service as a process of its own: its address and an API key."""
    url = f"sqlite:///{tmp_path}/s.db"
    database = Database(url)
    database.upgrade()
    database.call(keys.ensure_organization, 1.0, rate_limit=10_000_000)
    key, _ = database.call(keys.create, 1.0, name="fuzz")
    connection: dict[str, Any] = {
        "id": schemathesis_hooks.CONNECTION_ID, "organization_id": "org_default", "provider": "sip",
        "phone_number": None, "is_default": False,
    }  # fmt: skip
    database.call(lambda c: c.execute(insert(connections).values(connection)))
    database.close()
    everywhere = {"allow_networks": ["0.0.0.0/0", "::/0"]}
    service = ServiceProcess(url, tmp_path, webhooks=everywhere)
    try:
        yield service.rest, key
    finally:
        assert service.stop() == 0


def test_the_service_is_what_its_document_says(running: tuple[str, str], tmp_path: Path) -> None:
    rest, key = running
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{rest}/openapi.json",
            "-H", f"Authorization: Bearer {key}", "--checks", "all", "--seed", "1",
            "--max-examples", os.environ.get("FUZZ_EXAMPLES", "10"), "--no-color",
        ],
        capture_output=True, text=True, check=False, timeout=1800, cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
                          "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "generated" in done.stdout
