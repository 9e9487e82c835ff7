"""Calls of ours and registrations, on the real daemon: REST in front, a PBX on a socket behind."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.certificates import Authority
from tests.support.pbx import Pbx, knows
from tools.rig.daemon import Daemon, free_port

PASSWORD = "correct horse"


class Office:
    """A daemon with a trunk to a PBX, a key and a session."""

    def __init__(self, daemon: Daemon, pbx: Pbx) -> None:
        self.daemon, self.pbx = daemon, pbx
        key = daemon.run("keys", "create").strip()
        self.http = httpx.Client(base_url=daemon.sessions_url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        self.answer: httpx.Response | None = None

    def session(self) -> str:
        made = self.http.post("/v1/sessions", json={"mode": "bidirectional_translation"})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def show(self, session_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.http.get(f"/v1/sessions/{session_id}").json()
        return shown

    def dial(self, session_id: str, **order: Any) -> threading.Thread:
        """Order a call; `answer` is there once the thread has ended."""

        def ask() -> None:
            self.answer = self.http.post(f"/v1/sessions/{session_id}/dial", json={"to": "200"} | order)

        thread = threading.Thread(target=ask)
        thread.start()
        return thread

    def told(self, thread: threading.Thread) -> httpx.Response:
        thread.join(30)
        assert self.answer is not None
        return self.answer

    def admin(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(self.daemon.admin_url + path, timeout=5).json()
        return found

    def until(self, condition: Callable[[], object], patience_s: float = 10.0) -> None:
        end = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < end, self.daemon.log_end()
            time.sleep(0.02)

    def answered(self, session_id: str, **order: Any) -> Any:
        """A call of ours that was answered; its INVITE."""
        thread = self.dial(session_id, **order)
        invite = self.pbx.expect("INVITE")
        self.pbx.reply(invite, 200, "OK", self.pbx.sdp)
        self.pbx.expect("ACK")
        assert self.told(thread).status_code == 202
        return invite


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    pbx = Pbx()
    out = {"host": "127.0.0.1", "port": pbx.port, "username": "gw", "password": PASSWORD}
    trunk = {"name": "office", "allow": ["127.0.0.0/8"], "outbound": out}
    changes = {"trunks": [trunk], "sessions": {"on_last_leg": "keep"}}
    with Daemon(capacity=8, changes=changes) as daemon:
        yield Office(daemon, pbx)
        assert PASSWORD not in daemon.log.read_text()
    pbx.close()


def test_a_call_rings_is_answered_and_ends(office: Office) -> None:
    session = office.session()
    thread = office.dial(session, speaker="agent", **{"from": "+15557654321"})
    invite = office.pbx.expect("INVITE")
    assert invite.start == f"INVITE sip:200@{office.pbx.here} SIP/2.0"
    assert "<sip:+15557654321@127.0.0.1>" in (invite.get("from") or "")
    assert invite.get("x-session-id") == session
    assert "m=audio" in invite.body
    office.pbx.reply(invite, 180, "Ringing")
    call = office.told(thread).json()
    assert (office.told(thread).status_code, call["status"], call["direction"]) == (202, "ringing", "outbound")
    assert (call["speaker"], call["sip_call_id"]) == ("agent", invite.get("call-id"))
    assert office.show(session)["call"]["status"] == "ringing"
    office.pbx.reply(invite, 200, "OK", office.pbx.sdp)
    office.pbx.expect("ACK")
    office.until(lambda: office.show(session)["call"]["status"] == "active")
    assert office.show(session)["call"]["sip_call_id"] == invite.get("call-id")
    (shown,) = office.admin("/calls")["calls"]
    assert (shown["direction"], shown["state"], shown["speaker"]) == ("outbound", "active", "agent")
    assert office.http.post(f"/v1/sessions/{session}/calls/{call['id']}/hangup", json={}).status_code == 200
    office.pbx.reply(office.pbx.expect("BYE"), 200)
    office.until(lambda: not office.admin("/calls")["calls"])


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("code", [401, 407])
def test_a_challenge_is_answered_with_the_password_of_the_trunk(office: Office, code: int, algorithm: str) -> None:
    thread = office.dial(office.session())
    invite = office.pbx.expect("INVITE")
    assert invite.get("authorization") is None
    office.pbx.challenge(invite, code, algorithm=algorithm)
    again = office.pbx.expect("INVITE")
    assert knows(again, "gw", PASSWORD)
    office.pbx.reply(again, 486, "Busy Here")
    assert office.told(thread).status_code == 502


@pytest.mark.parametrize(
    ("code", "reason"), [(486, "Busy Here"), (404, "Not Found"), (503, "Service Unavailable"), (603, "Decline")]
)
def test_a_refusal_is_502_with_the_sip_status(office: Office, code: int, reason: str) -> None:
    thread = office.dial(office.session())
    office.pbx.reply(office.pbx.expect("INVITE"), code, reason)
    office.pbx.expect("ACK")
    error = office.told(thread).json()["error"]
    assert (office.told(thread).status_code, error["code"], error["type"]) == (502, "dial_failed", "upstream_error")
    assert error["message"] == f"{code} {reason}"


def test_nobody_answers_in_time(office: Office) -> None:
    session = office.session()
    thread = office.dial(session, timeout_seconds=1)
    invite = office.pbx.expect("INVITE")
    office.pbx.reply(invite, 180, "Ringing")
    assert office.told(thread).status_code == 202
    cancel = office.pbx.expect("CANCEL")
    office.pbx.reply(cancel, 200)
    office.pbx.reply(invite, 487, "Request Terminated")
    office.until(lambda: office.show(session)["call"]["status"] == "failed")


def test_a_peer_that_says_nothing_but_100_is_given_up(office: Office) -> None:
    thread = office.dial(office.session(), timeout_seconds=1)
    invite = office.pbx.expect("INVITE")
    office.pbx.reply(invite, 100, "Trying")
    error = office.told(thread).json()["error"]
    assert error["message"].startswith("408 ")
    office.pbx.reply(office.pbx.expect("CANCEL"), 200)
    office.pbx.reply(invite, 487)


def test_the_session_ends_while_it_rings(office: Office) -> None:
    session = office.session()
    thread = office.dial(session)
    invite = office.pbx.expect("INVITE")
    office.pbx.reply(invite, 180, "Ringing")
    office.told(thread)
    assert office.http.post(f"/v1/sessions/{session}/end", json={}).status_code == 200
    office.pbx.reply(office.pbx.expect("CANCEL"), 200)
    office.pbx.reply(invite, 487, "Request Terminated")
    office.pbx.expect("ACK")
    office.until(lambda: not office.admin("/calls")["calls"])


def test_a_ringing_call_is_cancelled_by_hanging_it_up(office: Office) -> None:
    session = office.session()
    thread = office.dial(session)
    invite = office.pbx.expect("INVITE")
    office.pbx.reply(invite, 180, "Ringing")
    call = office.told(thread).json()["id"]
    path = f"/v1/sessions/{session}/calls/{call}/hangup"
    assert office.http.post(path, json={"reason": "changed my mind"}).status_code == 200
    cancel = office.pbx.expect("CANCEL")
    assert "changed my mind" in (cancel.get("reason") or "")
    office.pbx.reply(cancel, 200)
    office.pbx.reply(invite, 487, "Request Terminated")
    office.until(lambda: office.show(session)["call"]["status"] == "failed")
    assert office.http.post(path, json={}).status_code == 404
    assert office.show(session)["status"] != "ended"


def test_a_200_that_crosses_our_cancel_is_hung_up(office: Office) -> None:
    """RFC 3261 §9.1: CANCEL has no effect on a request that was answered; BYE has."""
    session = office.session()
    thread = office.dial(session)
    invite = office.pbx.expect("INVITE")
    office.pbx.reply(invite, 180, "Ringing")
    office.told(thread)
    office.http.post(f"/v1/sessions/{session}/end", json={})
    cancel = office.pbx.expect("CANCEL")
    office.pbx.reply(invite, 200, "OK", office.pbx.sdp)
    office.pbx.reply(cancel, 200)
    office.pbx.reply(office.pbx.expect("BYE"), 200)
    office.until(lambda: not office.admin("/calls")["calls"])


def test_early_media_and_forks(office: Office) -> None:
    """Two phones ring, each with early media; the second one answers (RFC 3261 §13.2.2.4)."""
    session = office.session()
    thread = office.dial(session)
    invite = office.pbx.expect("INVITE")
    office.pbx.reply(invite, 183, "Session Progress", office.pbx.sdp, tag="one")
    assert office.told(thread).json()["status"] == "ringing"
    office.pbx.reply(invite, 183, "Session Progress", office.pbx.sdp.replace("40000", "40002"), tag="two")
    office.pbx.reply(invite, 200, "OK", office.pbx.sdp.replace("40000", "40002"), tag="two")
    assert "tag=two" in (office.pbx.expect("ACK").get("to") or "")
    office.until(lambda: office.show(session)["call"]["status"] == "active")
    office.pbx.within(invite, "BYE", tag="two")
    office.pbx.expect("200")
    office.until(lambda: not office.admin("/calls")["calls"])


def test_a_retransmitted_200_is_acknowledged_again(office: Office) -> None:
    invite = office.answered(office.session())
    office.pbx.reply(invite, 200, "OK", office.pbx.sdp)
    office.pbx.expect("ACK")
    office.pbx.within(invite, "BYE")
    office.pbx.expect("200")
    office.until(lambda: not office.admin("/calls")["calls"])


@pytest.mark.parametrize(
    ("order", "param"),
    [({"to": "sip:200@198.51.100.7"}, "to"), ({"trunk": "none"}, "trunk"), ({"from": "<x>"}, "from")],
)
def test_strangers_are_not_called(office: Office, order: dict[str, Any], param: str) -> None:
    error = office.told(office.dial(office.session(), **order)).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_field_value", param)
    assert office.pbx.quiet("INVITE", for_s=0.2)


def test_dialling_from_the_command_line(office: Office) -> None:
    from typer.testing import CliRunner

    from gateway.cli import app

    session, results = office.session(), []
    environment = {
        "GLOTGATE_URL": office.daemon.sessions_url,
        "GLOTGATE_API_KEY": office.http.headers["authorization"][7:],
    }
    words = ["dial", session, f"sip:201@{office.pbx.here}", "--speaker", "agent", "--timeout", "20"]
    thread = threading.Thread(target=lambda: results.append(CliRunner().invoke(app, words, env=environment)))
    thread.start()
    invite = office.pbx.expect("INVITE")
    office.pbx.reply(invite, 480, "Temporarily Unavailable")
    thread.join(20)
    assert (results[0].exit_code, "480 Temporarily Unavailable" in results[0].output) == (1, True)


def test_a_trunk_that_is_full_is_503_over_rest() -> None:
    pbx = Pbx()
    trunk = {"name": "office", "max_calls": 1, "outbound": {"host": "127.0.0.1", "port": pbx.port}}
    changes = {"trunks": [trunk], "sessions": {"on_last_leg": "keep"}}
    with Daemon(capacity=4, changes=changes) as daemon:
        office = Office(daemon, pbx)
        invite = office.answered(office.session())
        answer = office.told(office.dial(office.session()))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
        assert "as many calls as it may" in answer.json()["error"]["message"]
        assert int(answer.headers["retry-after"]) > 0
        pbx.within(invite, "BYE")
        pbx.expect("SIP/2.0", "200")
        office.until(lambda: not office.admin("/calls")["calls"])
        office.answered(office.session())
    pbx.close()


def test_what_is_watched_is_true_of_a_running_daemon(tmp_path: Path) -> None:
    """Registration, the certificate's end and calls on hold: as gauges and in the status command."""
    pbx, pair = Pbx(), Authority(tmp_path).issue("gw", days=40)
    binds = [("udp", free_port(socket.SOCK_DGRAM)), ("tls", free_port())]
    sip = {
        "bind": [{"transport": transport, "address": f"127.0.0.1:{port}"} for transport, port in binds],
        "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
    }
    out = {"host": "localhost", "port": pbx.port}
    changes = {"sip": sip, "trunks": [{"name": "office", "outbound": out, "registration": {}}]}
    with Daemon(capacity=4, changes=changes) as daemon:
        office = Office(daemon, pbx)
        request = pbx.expect("REGISTER")
        assert daemon.metrics()['glotgate_trunk_registered{trunk="office"}'] == 0
        pbx.reply(request, 200, "OK", extra=f"Contact: {request.get('contact')};expires=300\r\nExpires: 300\r\n")
        office.until(lambda: daemon.metrics()['glotgate_trunk_registered{trunk="office"}'] == 1)
        office.until(lambda: 39 < daemon.metrics()["glotgate_sip_tls_certificate_expiry_days"] <= 40)
        invite = office.answered(office.session())
        office.until(lambda: daemon.metrics()["glotgate_calls_active"] == 1)
        assert daemon.metrics()["glotgate_calls_held"] == 0
        pbx.within(invite, "INVITE", pbx.sdp + "a=sendonly\r\n")
        assert "a=recvonly" in pbx.expect("SIP/2.0", "200").body
        pbx.within(invite, "ACK")
        office.until(lambda: daemon.metrics()["glotgate_calls_held"] == 1)
        shown = daemon.run("status")
        assert "trunk office: registered (200 OK)" in shown
        assert "  held  " in shown
    pbx.close()


def test_a_reload_moves_a_trunk_under_a_running_call() -> None:
    here, there = Pbx(), Pbx()

    def trunk(pbx: Pbx) -> dict[str, Any]:
        return {"name": "office", "outbound": {"host": "127.0.0.1", "port": pbx.port}, "registration": {}}

    def granted(pbx: Pbx) -> None:
        request = pbx.expect("REGISTER")
        pbx.reply(request, 200, "OK", extra=f"Contact: {request.get('contact')};expires=300\r\nExpires: 300\r\n")

    changes = {"trunks": [trunk(here)], "sessions": {"on_last_leg": "keep"}}
    with Daemon(capacity=4, changes=changes) as daemon:
        office = Office(daemon, here)
        granted(here)
        session = office.session()
        invite = office.answered(session)
        daemon.config_file.write_text(json.dumps(daemon.config | {"trunks": [trunk(there)]}))
        assert daemon.run("reload") == "in force now: trunks\n"
        here.reply(here.expect("REGISTER"), 200)
        granted(there)
        office.until(lambda: office.admin("/trunks")["trunks"][0]["registration"]["state"] == "registered")
        assert office.admin("/trunks")["trunks"][0]["outbound"]["address"] == there.here
        office.pbx = there
        office.answered(office.session())
        here.within(invite, "BYE")
        here.expect("SIP/2.0", "200")
        office.until(lambda: len(office.admin("/calls")["calls"]) == 1)
    here.close()
    there.close()


def test_registration_is_kept_challenged_lost_and_given_up() -> None:
    pbx = Pbx()
    out = {"host": "127.0.0.1", "port": pbx.port, "username": "gw", "password": PASSWORD}
    registration = {"expires_s": 60, "contact_user": "line1", "retry_first_s": 1, "retry_max_s": 1}
    trunk = {"name": "office", "outbound": out, "registration": registration}
    with Daemon(capacity=4, changes={"trunks": [trunk]}) as daemon:

        def standing() -> dict[str, Any]:
            (shown,) = httpx.get(daemon.admin_url + "/trunks", timeout=5).json()["trunks"]
            return dict(shown["registration"])

        def until(state: str) -> None:
            end = time.monotonic() + 10
            while standing()["state"] != state:
                assert time.monotonic() < end, daemon.log_end()
                time.sleep(0.05)

        request = pbx.expect("REGISTER")
        assert request.start == f"REGISTER sip:{pbx.here} SIP/2.0"
        assert "<sip:line1@" in (request.get("contact") or "")
        pbx.challenge(request)
        request = pbx.expect_with("REGISTER", "authorization")
        assert knows(request, "gw", PASSWORD)
        contact = request.get("contact") or ""
        pbx.reply(request, 200, "OK", extra=f"Contact: {contact};expires=3\r\nExpires: 3\r\n")
        until("registered")
        assert daemon.metrics()['glotgate_trunk_registered{trunk="office"}'] == 1
        request = pbx.expect("REGISTER")  # before the three seconds are over
        pbx.reply(request, 503, "Service Unavailable")
        until("failed")
        assert (standing()["code"], daemon.metrics()['glotgate_trunk_registered{trunk="office"}']) == (503, 0)
        request = pbx.expect("REGISTER")
        pbx.reply(request, 200, "OK", extra=f"Contact: {contact};expires=60\r\nExpires: 60\r\n")
        until("registered")
        assert PASSWORD not in json.dumps(standing()) + daemon.log.read_text()
        leaving = threading.Thread(target=daemon.stop)
        leaving.start()
        gone = pbx.expect("REGISTER")
        assert "0" in ((gone.get("expires") or "") + (gone.get("contact") or "").rpartition("expires=")[2])
        pbx.reply(gone, 200)
        leaving.join(30)
    pbx.close()
