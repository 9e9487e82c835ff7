"""Session timers (RFC 4028) of the real stack, on a clock that runs a hundred times as fast: 40 minutes in 24 s."""

from __future__ import annotations

import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.sip import events, negotiation, sdp
from gateway.sip.headers import Message
from gateway.sip.negotiation import Terms
from tests.support.sip import OFFER, Controller, Peer, sip_process

SPEED = 100
SESSION_S = 90
FORTY_MINUTES_S = 2400 / SPEED


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    folder = tmp_path_factory.mktemp("fast")
    library = folder / "fast_clock.so"
    source = Path(__file__).parents[2] / "support" / "fast_clock.c"
    compiler = shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
    fast = {"LD_PRELOAD": str(library), "FAST": str(SPEED)}
    timer = {"mode": "required", "expires_s": SESSION_S, "min_se_s": 90}
    trunk: dict[str, object] = {"name": "office", "allow": ["127.0.0.0/8"], "session_timer": timer}
    trunk["outbound"] = {"host": "127.0.0.1"}
    with sip_process(folder / "log", environment=fast, trunks=[trunk]) as controller:
        controller.send(events.SetReadiness(True))
        yield controller


class Caller:
    """A call whose session is timed. refresher: uac, they; uas, we. refreshes: how many it saw or sent."""

    def __init__(self, agent: Controller, refresher: str, *, sends: bool = True, update: bool = True) -> None:
        self.peer = Peer(agent.port)
        self.refreshes = 0
        self.sends = sends
        self.over = ""
        allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n" if update else "Allow: INVITE, ACK, BYE, CANCEL\r\n"
        self.timer = f"Supported: timer\r\n{allow}Session-Expires: {SESSION_S};refresher={refresher}\r\n"
        self.refresher = refresher
        self.peer.send(self.peer.request("INVITE", OFFER, self.timer))
        invited = agent.expect(events.Invited, lambda e: e.sip_call_id == self.peer.call_id)
        self.dialog = invited.dialog
        answer = negotiation.answer(sdp.parse(OFFER), Terms("127.0.0.1", 20000)).sdp
        agent.send(events.Accept(self.dialog, answer))
        self.ok = self.peer.expect("200")
        self.peer.send(self.peer.request("ACK"))
        self.answer = OFFER

    def refresh(self) -> None:
        """Theirs."""
        if self.refresher == "uac" and self.sends and not self.over:
            self.peer.send(self.peer.request("UPDATE", extra=self.timer))

    def take(self) -> None:
        """Whatever came: refreshes are answered, a BYE is the end."""
        message = self.peer.receive()
        if message.start.startswith(("UPDATE", "INVITE")):
            self.refreshes += 1
            self.agree(message)
        elif message.start.startswith("BYE"):
            self.over = message.get("reason") or "bye"
            self.peer.reply(message)
        elif message.start.startswith("SIP/2.0 200") and (message.get("cseq") or "").endswith("UPDATE"):
            assert f"{SESSION_S};refresher=uac" in (message.get("session-expires") or "")
            self.refreshes += 1

    def agree(self, request: Message) -> None:
        extra = f"Require: timer\r\nSession-Expires: {SESSION_S};refresher=uac\r\n"  # of this request: they
        self.peer.reply(request, 200, self.answer if request.body else "", extra)


def run(callers: list[Caller], seconds: float) -> None:
    """Let the calls go on; whoever refreshes does so three times in each session's time."""
    end, next_refresh = time.monotonic() + seconds, 0.0
    sockets = {caller.peer.sock: caller for caller in callers}
    while time.monotonic() < end:
        if time.monotonic() >= next_refresh:
            next_refresh = time.monotonic() + SESSION_S / 3 / SPEED
            for caller in callers:
                caller.refresh()
        for sock in select.select(list(sockets), [], [], 0.02)[0]:
            sockets[sock].take()


def test_forty_minutes_as_refresher_and_as_refreshed(agent: Controller) -> None:
    ours = Caller(agent, "uas")
    ours_by_invite = Caller(agent, "uas", update=False)
    theirs = Caller(agent, "uac")
    callers = [ours, ours_by_invite, theirs]
    for caller in callers:
        assert (caller.ok.get("session-expires") or "").startswith(str(SESSION_S))
        assert "timer" in (caller.ok.get("require") or "") or caller.refresher == "uas"
    run(callers, FORTY_MINUTES_S)
    assert [caller.over for caller in callers] == ["", "", ""]
    sessions = 2400 / SESSION_S
    assert all(caller.refreshes >= sessions for caller in callers)
    for caller in callers:
        caller.peer.send(caller.peer.request("BYE"))
        agent.expect(events.Ended, lambda e, dialog=caller.dialog: e.dialog == dialog)  # type: ignore[misc]
        caller.peer.close()


def test_a_peer_that_does_not_refresh_is_gone(agent: Controller) -> None:
    silent = Caller(agent, "uac", sends=False)
    run([silent], 2 * SESSION_S / SPEED)
    assert silent.over
    assert agent.expect(events.Ended, lambda e: e.dialog == silent.dialog).cause == "timeout"
    silent.peer.close()


def test_a_refresh_that_meets_another_request_is_tried_again(agent: Controller) -> None:
    """Glare (RFC 3261 §14.1): 491 costs a while, not the call."""

    class Busy(Caller):
        def agree(self, request: Message) -> None:
            if self.refreshes == 1:
                self.peer.reply(request, 491)
            else:
                super().agree(request)

    busy = Busy(agent, "uas")
    run([busy], 3 * SESSION_S / SPEED)
    assert busy.over == ""
    assert busy.refreshes > 2
    busy.peer.send(busy.peer.request("BYE"))
    busy.peer.close()


def test_too_short_a_session_is_told_the_least(agent: Controller) -> None:
    peer = Peer(agent.port)
    peer.send(peer.request("INVITE", OFFER, "Supported: timer\r\nSession-Expires: 30\r\n"))
    refused = peer.expect("422")
    assert refused.get("min-se") == "90"
    peer.send(peer.request("ACK", same=True))
    peer.close()


def test_a_call_of_ours_agrees_to_a_longer_session(agent: Controller) -> None:
    """RFC 4028 §7.1: a 422 names the least, and the INVITE is sent again with it; then we refresh."""
    peer = Peer(agent.port)
    offer = negotiation.offer(Terms("127.0.0.1", 20000))
    agent.send(events.Dial(-1, f"sip:bob@{peer.here}", offer, trunk="office", timeout_s=3600))
    invite = peer.expect("INVITE")
    assert (invite.get("session-expires") or "").startswith(str(SESSION_S))
    peer.reply(invite, 422, extra="Min-SE: 120\r\n")
    while (again := peer.expect("INVITE")).get("min-se") != "120":
        pass
    assert (again.get("session-expires") or "").startswith("120")
    allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n"
    peer.reply(again, 200, OFFER, f"Require: timer\r\n{allow}Session-Expires: 120;refresher=uac\r\n")
    agent.expect(events.Answered)
    refresh = peer.expect("UPDATE")
    assert (refresh.get("session-expires") or "").startswith("120")
    peer.reply(refresh, 200, extra="Require: timer\r\nSession-Expires: 120;refresher=uac\r\n")
    agent.send(events.Hangup(-1, "done"))
    peer.reply(peer.expect("BYE"))
    assert agent.expect(events.Ended, lambda e: e.dialog == -1).cause == "local"
    peer.close()
