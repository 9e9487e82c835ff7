"""The embedded session service as a process of its own, to be ended or killed by a test."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

KEY = "internal-key-of-the-test"
_SERVE = """
import json, sys
from gateway.config import Config
from gateway.sessions.server import run
run(Config.model_validate(json.loads(sys.argv[1])), sys.argv[2], lambda rest, stream: print(rest, flush=True))
"""


class ServiceProcess:
    """A running service. rest: its address. `settings`: what `sessions:` of the configuration says beyond.

    gateway: `host:port` of the gateway's admin address; there is none by default.
    """

    def __init__(self, database_url: str, data_dir: Path, *, gateway: str = "127.0.0.1:9", **settings: Any) -> None:
        config = {
            "admin": {"bind": gateway},
            "sessions": {
                "bind": "127.0.0.1:0",
                "stream_bind": "127.0.0.1:0",
                "database": database_url,
                "data_dir": str(data_dir),
                "interpreter": "loopback",
            }
            | settings,
        }
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the process runs)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, json.dumps(config), KEY],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self.process.stdout is not None
        lines = iter(self.process.stdout)
        self.rest = next((line for line in lines if line.startswith("http")), "").strip()
        if not self.rest:
            self._errors.seek(0)
            raise RuntimeError(f"the service did not start: {self._errors.read()[-2000:]}")
        self._drain = threading.Thread(target=lambda: list(lines), daemon=True)
        self._drain.start()

    def kill(self) -> None:
        """As a crash: no goodbye."""
        self.process.kill()
        self.process.wait(20)
        self._drain.join()

    def stop(self) -> int:
        """As an operator would; returns the exit code."""
        self.process.terminate()
        code = self.process.wait(20)
        self._drain.join()
        return code
