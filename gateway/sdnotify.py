"""Telling systemd how the service is (sd_notify(3)), without its library: one datagram per message.

Silent where there is no systemd: `NOTIFY_SOCKET` is not set. Knows no clock; who calls `alive` does.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """The service's line to systemd. Takes its variables out of `environ`, so that no child inherits them."""

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.pop("NOTIFY_SOCKET", "")
        watchdog_us = environ.pop("WATCHDOG_USEC", "")
        watchdog_pid = environ.pop("WATCHDOG_PID", "")
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._address = "\0" + address[1:] if address[0] == "@" else address
        ours = self._socket is not None and watchdog_pid in ("", str(os.getpid()))
        #: Seconds within which `alive` must be called, 0 for never.
        self.watchdog_s = int(watchdog_us) / 1e6 if ours and watchdog_us.isdigit() else 0.0

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={_line(status)}")

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1", f"STATUS={_line(status)}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Ask for this much time for what is going on (starting or stopping)."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _send(self, *fields: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(fields).encode(), self._address)
        except BlockingIOError:
            return  # systemd is behind; the next message says it again
        except OSError:
            self._socket.close()  # nobody listens any more: a supervisor goes on without
            self._socket = None


def _line(text: str) -> str:
    return " ".join(text.split())
