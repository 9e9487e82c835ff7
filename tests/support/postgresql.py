"""A private PostgreSQL server for tests, on a Unix socket of its own; Debian's `postgresql` package.

The server refuses to run as root, so root starts it as the package's user.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg


@dataclass
class Server:
    """A running server. socket: the folder of its Unix socket."""

    socket: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test{next(self._numbers)}"
        with psycopg.connect(host=str(self.socket), user="postgres", dbname="postgres", autocommit=True) as c:
            c.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://postgres@/{name}?host={self.socket}"


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        raise RuntimeError("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    return found[-1].parent


@contextmanager
def server(*, durable: bool = False) -> Iterator[Server]:
    """Run a server until the block ends, in a folder of its own: pytest's are closed to the server's user.

    durable: a commit waits for the disk, as anybody's does who measures.
    """
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path may have 107 characters
    prefix: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    try:
        _call(prefix, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
        settings = f"-k {folder} -h '' -c max_connections=200"
        if not durable:
            settings += " -c fsync=off -c synchronous_commit=off"
        _call(prefix, programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", settings, "start")
        try:
            yield Server(folder)
        finally:
            _call(prefix, programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _call(prefix: list[str], *command: str | Path) -> None:
    done = subprocess.run(
        [*prefix, *map(str, command)], capture_output=True, text=True, check=False, timeout=120, cwd="/"
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")
