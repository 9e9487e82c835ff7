"""Our structs as pjsua2's parameter objects."""

from __future__ import annotations

import pjsua2 as pj
import pytest

from gateway.sip import objects
from gateway.sip.stack import Account, Timer


@pytest.mark.parametrize(
    ("mode", "use"),
    [
        ("off", pj.PJSUA_SIP_TIMER_INACTIVE),
        ("optional", pj.PJSUA_SIP_TIMER_OPTIONAL),
        ("required", pj.PJSUA_SIP_TIMER_REQUIRED),
    ],
)
def test_an_account(mode: str, use: int) -> None:
    ours = Account("office", "sip:gw@pbx", "gw", "hush", "sip:pbx", expires_s=120, timer=Timer(mode, 600, 100))
    made = objects.account(ours, "<sip:line@here>")
    assert (made.idUri, made.regConfig.registrarUri, made.regConfig.timeoutSec) == ("<sip:gw@pbx>", "sip:pbx", 120)
    assert not made.regConfig.registerOnAdd
    assert made.regConfig.retryIntervalSec == 0
    assert (made.callConfig.timerUse, made.callConfig.timerSessExpiresSec) == (use, 600)
    assert made.callConfig.timerMinSESec == 100
    assert made.sipConfig.contactForced == "<sip:line@here>"
    credentials = made.sipConfig.authCreds[0]
    assert (credentials.scheme, credentials.realm, credentials.username) == ("digest", "*", "gw")
    assert credentials.data == "hush"


def test_nobody_logs_in_without_a_name() -> None:
    assert len(objects.account(Account("", "sip:gw@here")).sipConfig.authCreds) == 0


def test_an_operation() -> None:
    made = objects.operation(404, "Gone", {"X-A": "1"}, "v=0")
    assert (made.statusCode, made.reason, made.sdp.wholeSdp) == (404, "Gone", "v=0")
    assert [(header.hName, header.hValue) for header in made.txOption.headers] == [("X-A", "1")]
    assert made.opt.isEmpty()
    assert objects.operation(sip_call_id="abc").opt.customCallId == "abc"


def test_a_request() -> None:
    made = objects.request("NOTIFY", {"Event": "refer"}, "message/sipfrag", "SIP/2.0 200 OK")
    assert (made.method, made.txOption.contentType, made.txOption.msgBody) == (
        *("NOTIFY", "message/sipfrag"),
        "SIP/2.0 200 OK",
    )
