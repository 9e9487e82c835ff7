"""How a hosted session service has calls placed, on the real daemon: by the admin address and by a session's stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.hosted_service import Conversation, HostedService
from tests.support.pbx import Pbx
from tools.rig.daemon import Daemon

KEY = "sk_live_of_the_test"


class Office:
    """A daemon, the service that it has its sessions from, and the PBX that it calls."""

    def __init__(self, daemon: Daemon, service: HostedService, pbx: Pbx) -> None:
        self.daemon, self.service, self.pbx = daemon, service, pbx

    def order(self, key: str = KEY, **order: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(f"{self.daemon.admin_url}/dial", json=order, headers=headers, timeout=30)

    def told(self, talk: Conversation, kind: str, **fields: Any) -> dict[str, Any]:
        """The first message of this type, with these fields, that the service got."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for message in talk.of(kind):
                if fields.items() <= message.items():
                    return message
            time.sleep(0.02)
        raise AssertionError(f"no {kind} {fields}\n{self.daemon.log_end()}")


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    pbx = Pbx()
    trunk = {"name": "office", "allow": ["127.0.0.0/8"], "outbound": {"host": "127.0.0.1", "port": pbx.port}}
    with HostedService() as service:
        sessions = {"mode": "remote", "url": service.url, "api_key": KEY}
        with Daemon(capacity=8, changes={"trunks": [trunk], "sessions": sessions}) as daemon:
            yield Office(daemon, service, pbx)
    pbx.close()


def test_the_first_call_by_the_admin_address_and_the_next_by_the_stream(office: Office) -> None:
    pbx, talk = office.pbx, office.service.conversation("sess_fine")
    assert office.order("wrong", session_id="sess_fine", to="100").status_code == 401
    answers: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(office.order(session_id="sess_fine", to="100", speaker="customer"))
    )
    thread.start()
    first = pbx.expect("INVITE")
    assert first.start.startswith("INVITE sip:100@")
    pbx.reply(first, 200, "OK", pbx.sdp)
    pbx.expect("ACK")
    thread.join(30)
    assert (answers[0].status_code, answers[0].json()["status"]) == (202, "active")
    office.told(talk, "call.joined", speaker="customer")

    talk.tell({"type": "call.dial", "id": "d1", "to": "200", "speaker": "agent", "from": "+15550000001"})
    second = pbx.expect("INVITE")
    assert second.start.startswith("INVITE sip:200@")
    assert "+15550000001" in (second.get("from") or "")
    pbx.reply(second, 180, "Ringing")
    dialed = office.told(talk, "call.dialed", id="d1")
    assert (dialed["status"], dialed["speaker"], dialed["to"]) == ("ringing", "agent", "200")
    assert dialed["sip_call_id"] == second.get("call-id")
    pbx.reply(second, 200, "OK", pbx.sdp)
    pbx.expect("ACK")
    assert office.told(talk, "call.joined", speaker="agent")["call_id"] == dialed["call_id"]

    talk.tell({"type": "call.dial", "id": "d2", "to": "300"})
    pbx.reply(pbx.expect("INVITE"), 486, "Busy Here")
    refused = office.told(talk, "call.error", id="d2")
    assert (refused["code"], refused["message"]) == ("dial_failed", "486 Busy Here")
    talk.tell({"type": "call.dial", "id": "d3", "to": "sip:100@stranger.example.com"})
    assert office.told(talk, "call.error", id="d3")["code"] == "invalid_field_value"
    assert pbx.quiet("INVITE")
