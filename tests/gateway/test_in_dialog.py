"""What a PBX does within a call, on the real daemon: transfer, hold, PRACK, glare, INFO, OPTIONS, retransmission."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.sip.headers import Message
from tests.gateway.test_outbound import Office
from tests.support.pbx import Pbx
from tools.rig.daemon import Daemon

HOLD = "a=sendonly\r\n"


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    pbx = Pbx()
    out = {"host": "127.0.0.1", "port": pbx.port, "username": "gw", "password": "hush"}
    trunk = {"name": "office", "allow": ["127.0.0.0/8"], "outbound": out, "refer": "accept"}
    changes = {"trunks": [trunk], "sessions": {"on_last_leg": "keep"}}
    with Daemon(capacity=8, changes=changes) as daemon:
        yield Office(daemon, pbx)
    pbx.close()


@pytest.fixture
def target() -> Iterator[Pbx]:
    """Somebody else, to whom a call is transferred."""
    pbx = Pbx(rtp_port=40100)
    yield pbx
    pbx.close()


def calls(office: Office) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = office.admin("/calls")["calls"]
    return found


def end(office: Office, pbx: Pbx, invite: Message) -> None:
    pbx.within(invite, "BYE")
    pbx.expect("200")
    office.until(lambda: not calls(office))


def notified(pbx: Pbx) -> str:
    """The next NOTIFY's first line of body, answered."""
    notify = pbx.expect("NOTIFY")
    assert (notify.get("event") or "").startswith("refer")
    pbx.reply(notify, 200)
    return notify.body.split("\n")[0].strip()


def test_hold_and_resume_by_update_and_reinvite(office: Office) -> None:
    invite = office.answered(office.session())
    for method in ("UPDATE", "INVITE"):
        for offer, direction, held in ((office.pbx.sdp + HOLD, "recvonly", True), (office.pbx.sdp, "sendrecv", False)):
            office.pbx.within(invite, method, offer)
            assert f"a={direction}" in office.pbx.expect("200").body
            if method == "INVITE":
                office.pbx.cseq -= 1
                office.pbx.within(invite, "ACK")
            office.until(lambda held=held: calls(office)[0]["held"] is held)  # type: ignore[misc]
    end(office, office.pbx, invite)


def test_options_info_and_unknown_methods_in_a_dialog(office: Office) -> None:
    invite = office.answered(office.session())
    office.pbx.within(invite, "OPTIONS")
    office.pbx.expect("200")
    office.pbx.within(invite, "INFO", "Signal=5\r\nDuration=160\r\n", kind="application/dtmf-relay")
    office.pbx.expect("200")
    end(office, office.pbx, invite)


def test_a_blind_transfer_moves_the_call(office: Office, target: Pbx) -> None:
    session = office.session()
    invite = office.answered(session)
    before = calls(office)[0]["call_id"]
    office.pbx.within(invite, "REFER", extra=f"Refer-To: <sip:300@{target.here}>\r\nReferred-By: <sip:pbx@pbx>\r\n")
    office.pbx.expect("202")
    assert notified(office.pbx) == "SIP/2.0 100 Trying"
    moved = target.expect("INVITE")
    assert moved.start == f"INVITE sip:300@{target.here} SIP/2.0"
    assert moved.get("referred-by") == "<sip:pbx@pbx>"
    ours = re.search(r"m=audio (\d+) ", invite.body)
    assert ours is not None
    assert f"m=audio {ours[1]} " in moved.body
    target.reply(moved, 180, "Ringing")
    assert notified(office.pbx) == "SIP/2.0 180 Ringing"
    target.reply(moved, 200, "OK", target.sdp)
    target.expect("ACK")
    assert notified(office.pbx) == "SIP/2.0 200 OK"
    office.pbx.within(invite, "BYE")
    office.pbx.expect("200")
    time.sleep(0.3)
    (shown,) = calls(office)
    assert (shown["call_id"], shown["state"], shown["session_id"]) == (before, "active", session)
    end(office, target, moved)


def test_a_transfer_to_who_is_busy_leaves_the_call(office: Office, target: Pbx) -> None:
    invite = office.answered(office.session())
    office.pbx.within(invite, "REFER", extra=f"Refer-To: <sip:300@{target.here}>\r\n")
    office.pbx.expect("202")
    moved = target.expect("INVITE")
    target.reply(moved, 486, "Busy Here")
    lines = [notified(office.pbx)]
    while "486" not in lines[-1]:
        lines.append(notified(office.pbx))
    assert [call["state"] for call in calls(office)] == ["active"]
    end(office, office.pbx, invite)


def test_who_hangs_up_right_after_the_202_loses_nobody(office: Office, target: Pbx) -> None:
    invite = office.answered(office.session())
    office.pbx.within(invite, "REFER", extra=f"Refer-To: <sip:300@{target.here}>\r\n")
    office.pbx.expect("202")
    moved = target.expect("INVITE")
    office.pbx.within(invite, "BYE")
    office.pbx.expect("200")
    target.reply(moved, 200, "OK", target.sdp)
    target.expect("ACK")
    time.sleep(0.3)
    assert [call["state"] for call in calls(office)] == ["active"]
    end(office, target, moved)


def test_an_attended_transfer_brings_its_replaces(office: Office, target: Pbx) -> None:
    invite = office.answered(office.session())
    replaces = "Replaces=consult%40pbx%3Bto-tag%3Da%3Bfrom-tag%3Db"
    office.pbx.within(invite, "REFER", extra=f"Refer-To: <sip:300@{target.here}?{replaces}>\r\n")
    office.pbx.expect("202")
    moved = target.expect("INVITE")
    assert moved.get("replaces") == "consult@pbx;to-tag=a;from-tag=b"
    assert "?" not in moved.start
    target.reply(moved, 200, "OK", target.sdp)
    target.expect("ACK")
    bye = office.pbx.expect("BYE")  # nobody else says it
    assert "transferred" in (bye.get("reason") or "")
    office.pbx.reply(bye, 200)
    end(office, target, moved)


@pytest.mark.parametrize("refer_to", ["", "Refer-To: <tel:+155>\r\n", "Refer-To: <http://evil.example/>\r\n"])
def test_a_refer_to_nowhere_is_refused(office: Office, refer_to: str) -> None:
    invite = office.answered(office.session())
    office.pbx.within(invite, "REFER", extra=refer_to)
    office.pbx.expect("603" if refer_to else "400")
    assert [call["state"] for call in calls(office)] == ["active"]
    end(office, office.pbx, invite)


def transfer(office: Office, session: str) -> Message:
    office.until(lambda: office.show(session)["call"]["status"] == "active")
    call = office.show(session)["call"]["id"]
    path = f"/v1/sessions/{session}/calls/{call}/transfer"
    assert office.http.post(path, json={"to": "sip:300@elsewhere.example"}).status_code == 200
    return office.pbx.expect("REFER")


def test_a_transfer_of_ours_that_succeeds_ends_our_leg(office: Office) -> None:
    session = office.session()
    invite = office.answered(session)
    refer = transfer(office, session)
    assert "sip:300@elsewhere.example" in (refer.get("refer-to") or "")
    office.pbx.reply(refer, 202, "Accepted")
    for state, line in (("active", "SIP/2.0 180 Ringing"), ("terminated;reason=noresource", "SIP/2.0 200 OK")):
        extra = f"Event: refer\r\nSubscription-State: {state}\r\n"
        office.pbx.within(invite, "NOTIFY", line + "\r\n", extra, kind="message/sipfrag;version=2.0")
        office.pbx.expect("200")
    office.pbx.reply(office.pbx.expect("BYE"), 200)
    office.until(lambda: not calls(office))


@pytest.mark.parametrize("code", [405, 603])
def test_a_transfer_of_ours_that_is_refused_leaves_the_call(office: Office, code: int) -> None:
    session = office.session()
    invite = office.answered(session)
    refer = transfer(office, session)
    office.pbx.reply(refer, code, "No")
    time.sleep(0.2)
    assert [call["state"] for call in calls(office)] == ["active"]
    end(office, office.pbx, invite)


def test_a_second_invite_before_ours_is_done_is_491(office: Office) -> None:
    """Glare (RFC 3261 §14.1): they re-INVITE while our INVITE has only its 200."""
    thread = office.dial(office.session())
    invite = office.pbx.expect("INVITE")
    office.pbx.reply(invite, 180, "Ringing")
    office.told(thread)
    office.pbx.within(invite, "UPDATE", office.pbx.sdp)
    assert office.pbx.expect("SIP/2.0").start.split()[1] in ("491", "500")
    office.pbx.reply(invite, 200, "OK", office.pbx.sdp)
    office.pbx.expect("ACK")
    end(office, office.pbx, invite)


def test_a_reliable_ringing_is_acknowledged(office: Office) -> None:
    """PRACK as the caller (RFC 3262 §4)."""
    thread = office.dial(office.session())
    invite = office.pbx.expect("INVITE")
    assert "100rel" in (invite.get("supported") or "")
    office.pbx.reply(invite, 183, "Session Progress", office.pbx.sdp, extra="Require: 100rel\r\nRSeq: 7\r\n")
    prack = office.pbx.expect("PRACK")
    assert (prack.get("rack") or "").split()[0] == "7"
    office.pbx.reply(prack, 200)
    office.pbx.reply(invite, 200, "OK", office.pbx.sdp)
    office.pbx.expect("ACK")
    assert office.told(thread).status_code == 202
    end(office, office.pbx, invite)


def test_what_is_sent_again_is_answered_again_and_done_once(office: Office, target: Pbx) -> None:
    invite = office.answered(office.session())
    office.pbx.within(invite, "REFER", extra=f"Refer-To: <sip:300@{target.here}>\r\n")
    office.pbx.again()
    office.pbx.expect("202")
    office.pbx.expect("202")
    moved = target.expect("INVITE")
    target.reply(moved, 486)
    office.until(lambda: len(calls(office)) == 1)
    office.pbx.within(invite, "BYE")
    office.pbx.expect("200")
    office.pbx.again()
    office.pbx.expect("200")
    office.until(lambda: not calls(office))
    assert target.quiet("INVITE", for_s=0.3)
