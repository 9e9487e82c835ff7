"""A supervisor over processes that do nothing but live, hear of one another, and end when told.

`python -m tests.support.fake_daemon JOURNAL [FAIL]` is the supervisor with short times; it starts this file again
for each role. Each process writes what happens to it into JOURNAL, one JSON object a line. FAIL: `role:status`
for a process that ends at its start.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any


def note(journal: str, **fields: Any) -> None:
    line = json.dumps({"pid": os.getpid(), **fields}) + "\n"
    fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line.encode())
    os.close(fd)


def _read_again(running: Any, journal: str) -> Any:
    """A file that is bad, or, once there is `JOURNAL.good`, one that asks for a shorter drain and another capacity."""
    from gateway.reload import Reload, merge

    if not Path(f"{journal}.good").exists():
        return Reload(["f:1: bad"], [], None)
    media = running.media.model_copy(update={"capacity": 3})
    drain = running.drain.model_copy(update={"timeout_s": 7})
    config, changes = merge(running, running.model_copy(update={"media": media, "drain": drain}))
    return Reload([], changes, config)


def supervise(journal: str, fail: str) -> int:
    from gateway import restart, supervisor
    from gateway.config import Config, Logging
    from gateway.ops.logs import make_logger
    from gateway.sdnotify import Notifier

    restart.BACKOFF_S = (0.02,) * len(restart.BACKOFF_S)  # type: ignore[misc]
    supervisor.SILENCE_S, supervisor.GRACE_S = 0.8, 0.4  # type: ignore[misc]
    supervisor.DRAIN_MARGIN_S = supervisor.HASTE_S = 1.5  # type: ignore[misc]

    def command(role: str, fds: dict[str, int]) -> list[str]:
        words = [sys.executable, "-m", "tests.support.fake_daemon", journal, fail, role, str(os.getpid())]
        return words + [f"{name}={fd}" for name, fd in fds.items()]

    config = Config.model_validate({"drain": {"timeout_s": 60}, "media": {"capacity": 2}})
    log = make_logger(Logging(format="json"), "supervisor")
    return supervisor.Supervisor(config, log, Notifier(), lambda running: _read_again(running, journal), command).run()


def live(journal: str, fail: str, role: str, parent: str, *fds: str) -> int:
    from gateway import bootstrap, host

    host.die_with(int(parent))
    given = {name: int(fd) for name, _, fd in (word.partition("=") for word in fds)}
    start = bootstrap.read(given.pop("start"))
    told = {"key": bool(start.internal_key), "capacity": start.config.media.capacity}
    note(journal, event="start", role=role, fds=sorted(given), argv=sys.argv, **told)
    failing, _, status = fail.partition(":")
    if failing == role:
        return int(status)
    if role == "controller":
        return control(journal, given)
    if "channel" in given:
        channel = socket.socket(fileno=given["channel"])
        channel.settimeout(0.1)
        while True:
            try:
                channel.send(role.encode())
                if not channel.recv(100):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        note(journal, event="alone", role=role)
        return 0
    signal.pause()
    return 0


def control(journal: str, fds: dict[str, int]) -> int:
    """Hears of the others, says so, and exits when the drain's time is over."""
    from gateway.channel import PeerGone
    from gateway.lifeline import Attach, Drain, Lifeline, Pulse, Status

    line = Lifeline(socket.socket(fileno=fds["lifeline"]))
    channels: dict[str, socket.socket] = {}
    end_at = float("inf")
    while time.monotonic() < end_at:
        heard = ["controller"]
        for role, channel in channels.items():
            try:
                while data := channel.recv(100):
                    heard.append(data.decode())
            except BlockingIOError:
                continue
            except OSError:
                note(journal, event="lost", role=role)
        try:
            line.send(Pulse(sorted(set(heard))))
            line.send(Status(ready=len(channels) == 2, text=f"{len(channels)} channels"))
            while got := line.receive():
                message, fd = got
                note(journal, event=type(message).__name__, fd=fd is not None, **_fields(message))
                if isinstance(message, Attach) and fd is not None:
                    channels[message.process] = socket.socket(fileno=fd)
                    channels[message.process].setblocking(False)
                elif isinstance(message, Drain):
                    end_at = time.monotonic() + message.timeout_s
        except PeerGone:
            return 1
        time.sleep(0.05)
    return 0


def _fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__}


if __name__ == "__main__":
    Path(sys.argv[1]).touch()
    sys.exit(supervise(*sys.argv[1:]) if len(sys.argv) == 3 else live(*sys.argv[1:]))
