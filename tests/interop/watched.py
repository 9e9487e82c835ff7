"""A gateway with a session service that the test plays: what happens in its calls, asked and told."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from rig.daemon import Daemon

from tests.support.hosted_service import Conversation, HostedService


def until(true: Callable[[], Any], timeout_s: float = 10.0) -> bool:
    """Ask until it is so; False when it was not in time."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Watched:
    """The daemon, and its sessions by their names."""

    def __init__(self, daemon: Daemon, service: HostedService) -> None:
        self.daemon, self.service = daemon, service

    def conversation(self, session: str) -> Conversation:
        return self.service.conversation(session)

    def admin(self, path: str) -> Any:
        with urllib.request.urlopen(self.daemon.admin_url + path, timeout=5) as answer:
            return json.load(answer)

    def call(self, session: str) -> dict[str, Any]:
        """The call of a session as `/calls` shows it; empty when there is none."""
        calls: list[dict[str, Any]] = self.admin("/calls")["calls"]
        return next((call for call in calls if call["session_id"] == session), {})

    def trace(self, call_id: str) -> str:
        """The SIP messages of a call."""
        return str(self.admin(f"/calls/{call_id}/trace")["text"])

    def record(self, session: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The call record of a session's last call; empty when none was written in time."""
        found: list[dict[str, Any]] = []

        def written() -> bool:
            with open(self.daemon.config["logging"]["call_records"], "a+") as file:
                file.seek(0)
                found[:] = [line for line in map(json.loads, file) if line["session_id"] == session]
            return bool(found)

        return found[-1] if until(written, timeout_s) else {}

    def dial(self, session: str, to: str) -> dict[str, Any]:
        """Let the gateway call somebody through its trunk."""
        headers = {"Authorization": "Bearer sk_live_x", "Content-Type": "application/json"}
        order = json.dumps({"session_id": session, "to": to}).encode()
        request = urllib.request.Request(f"{self.daemon.admin_url}/dial", order, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            call: dict[str, Any] = json.load(answer)
        return call
