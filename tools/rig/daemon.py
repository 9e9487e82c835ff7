"""The real daemon on loopback: configuration written, started, waited for, scraped, stopped.

Owns a temporary folder and the process group of one `glotgate serve`. Knows nothing of what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


def end_in_order() -> None:
    """Make SIGTERM and SIGHUP end this program by an exception, so that what it started ends with it."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nobody holds at this moment, from the kernel's ephemeral range."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def free_sip_port() -> int:
    """The same, for those who want it for UDP and TCP."""
    while True:
        port = free_port(socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


def media_range(legs: int) -> dict[str, int]:
    """A range of RTP ports below the kernel's ephemeral ones, with room for `legs` and as many in quarantine."""
    width = 4 * max(legs, 32)
    first = random.randrange(10000, max(10002, 32000 - width), 2)
    return {"first": first, "last": min(first + width, 65534) - 1}


def configuration(folder: Path, *, capacity: int, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A daemon that listens on loopback only, on ports nobody uses. changes: sections merged over it."""
    sip = free_port(socket.SOCK_DGRAM)
    admin, sessions, stream = free_port(), free_port(), free_port()
    base: dict[str, Any] = {
        "sip": {"bind": [{"transport": "udp", "address": f"{HOST}:{sip}"}], "advertise": HOST},
        "media": {
            "bind": HOST,
            "advertise": HOST,
            "capacity": capacity,
            "ports": media_range(capacity),
        },
        "sessions": {
            "mode": "embedded",
            "bind": f"{HOST}:{sessions}",
            "stream_bind": f"{HOST}:{stream}",
            "database": f"sqlite:///{folder / 'sessions.db'}",
            "data_dir": str(folder),
            "interpreter": "loopback",  # who wants to be interpreted says so
        },
        "admin": {"bind": f"{HOST}:{admin}"},
        "logging": {"level": "info", "format": "json", "call_records": str(folder / "calls.jsonl")},
        "drain": {"timeout_s": 0},
    }
    return _merged(base, changes or {})


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def glotgate() -> str:
    """The command to run: $GLOTGATE, else the one beside this interpreter, else the one on the PATH."""
    beside = Path(sys.executable).parent / "glotgate"
    found = os.environ.get("GLOTGATE") or (str(beside) if beside.exists() else shutil.which("glotgate"))
    if not found:
        raise SystemExit("glotgate is not installed: run tools/setup")
    return found


class Daemon:
    """A running daemon. Use as a context manager; nothing of it is left behind.

    `folder` holds its configuration, database, call records and log for as long as it runs.
    """

    def __init__(self, *, capacity: int, changes: dict[str, Any] | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="glotgate-")
        self.folder = Path(self._temporary.name)
        self.config = configuration(self.folder, capacity=capacity, changes=changes)
        self.config_file = self.folder / "glotgate.yaml"
        self.config_file.write_text(json.dumps(self.config, indent=2))  # JSON is YAML
        self.config_file.chmod(0o600)
        self.log = self.folder / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def sip_address(self) -> str:
        return str(self.config["sip"]["bind"][0]["address"])

    @property
    def admin_url(self) -> str:
        return f"http://{self.config['admin']['bind']}"

    @property
    def sessions_url(self) -> str:
        return f"http://{self.config['sessions']['bind']}"

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [glotgate(), "serve", "-c", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
            )
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told_to_end = kind is KeyboardInterrupt or (isinstance(error, SystemExit) and isinstance(error.code, int))
        if kind is not None and not told_to_end:
            print(self.log_end(), file=sys.stderr)
        self.stop()

    def run(self, *arguments: str) -> str:
        """Run another glotgate command against this configuration; its standard output."""
        result = subprocess.run(
            [glotgate(), *arguments, "-c", str(self.config_file)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        if result.returncode:
            raise SystemExit(f"glotgate {' '.join(arguments)} failed: {result.stderr or result.stdout}")
        return result.stdout

    def log_end(self, lines: int = 30) -> str:
        """The last lines that the daemon logged."""
        text = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(["--- the daemon's last words", *text[-lines:]])

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its full name with labels."""
        with urllib.request.urlopen(f"{self.admin_url}/metrics", timeout=5) as answer:
            return parse_metrics(answer.read().decode())

    def stop(self) -> int | None:
        """End it, gently first; the exit status. Its whole process group is gone afterwards."""
        process, self._process = self._process, None
        if process is not None:
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
                if process.poll() is not None:
                    break
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_TIMEOUT_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._temporary.cleanup()
        return process.returncode if process is not None else None

    def _await_ready(self) -> None:
        assert self._process is not None
        until, last = time.monotonic() + START_TIMEOUT_S, ""
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise SystemExit(f"the daemon ended at start\n{self.log_end()}")
            try:
                with urllib.request.urlopen(f"{self.admin_url}/readyz", timeout=2):
                    return
            except urllib.error.HTTPError as error:
                last = f"{error.code} {error.read(500).decode(errors='replace')}"
            except OSError as error:
                last = str(error)
            time.sleep(0.05)
        raise SystemExit(f"the daemon was not ready in {START_TIMEOUT_S:.0f} s: {last}\n{self.log_end()}")


def parse_metrics(text: str) -> dict[str, float]:
    """Prometheus' text format to samples by `name{labels}`; what is no sample is left out."""
    samples: dict[str, float] = {}
    for line in text.splitlines():
        name, space, value = line.rpartition(" ")
        if space and not line.startswith("#"):
            samples[name] = float(value)
    return samples


def histogram_delta(before: dict[str, float], after: dict[str, float], name: str) -> list[tuple[float, float]]:
    """(upper bound, count up to it) of what a histogram gained between two scrapes, bounds rising."""
    start = f"{name}_bucket{{"
    rows = []
    for sample, value in after.items():
        if sample.startswith(start):
            bound = sample.split('le="', 1)[1].split('"', 1)[0]
            rows.append((float(bound.replace("+Inf", "inf")), value - before.get(sample, 0.0)))
    return sorted(rows)


def histogram_quantile(rows: list[tuple[float, float]], q: float) -> float:
    """The upper bound of the bucket that holds the quantile; 0 when nothing was counted."""
    total = rows[-1][1] if rows else 0
    if total <= 0:
        return 0.0
    return next(bound for bound, count in rows if count >= q * total)
