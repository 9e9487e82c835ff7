"""The OpenAPI document against the running service: schemathesis, all checks.

The long run is the same with FUZZ_EXAMPLES=200 (some 3,000 cases and more).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from gateway.sessions import keys
from gateway.sessions.database import Database
from gateway.sessions.models import connections
from tests.support import schemathesis_hooks
from tests.support.session_process import ServiceProcess


class Switchboard(BaseHTTPRequestHandler):
    """A gateway at which every call rings."""

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = {"id": "call_1", "object": "call", "session_id": order["session_id"], "status": "ringing"}
        call |= {"direction": "outbound", "sip_call_id": "a", "speaker": "customer", "to": order["to"]}
        body = json.dumps(call).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def running(database_url: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The service as a process of its own: its address and an API key."""
    database = Database(database_url)
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
    switchboard = ThreadingHTTPServer(("127.0.0.1", 0), Switchboard)
    threading.Thread(target=switchboard.serve_forever, daemon=True).start()
    gateway = f"127.0.0.1:{switchboard.server_port}"
    service = ServiceProcess(database_url, tmp_path, gateway=gateway, webhooks=everywhere)
    try:
        yield service.rest, key
    finally:
        assert service.stop() == 0
        switchboard.shutdown()
        switchboard.server_close()


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
    print(done.stdout[-1500:])  # how many cases, for who runs it with -s
    assert "generated" in done.stdout
