"""The door: what is let in, what is answered at once, and that an INVITE is read once."""

import pytest

from gateway.sip import headers
from gateway.sip.headers import Defect, Refused
from gateway.sip.screening import SUPPORTED, Door, refuse
from gateway.sip.stack import LET_IN, Request

from .test_headers import SDP, invite


def request(method="INVITE", raw=None, claims=False, ours=False):
    raw = raw or invite().replace("INVITE", method)
    return Request(method, "10.0.0.1", 5060, "UDP", claims, ours, raw)


@pytest.fixture
def door():
    return Door(65536, 5)


def test_a_good_invite_is_let_in_and_read_once(door, monkeypatch):
    raw = invite()
    assert door.judge(request(raw=raw)) == (LET_IN, ())
    monkeypatch.setattr(headers, "inspect", None)
    seen = door.look(raw)
    assert (seen.uri.user, seen.offer) == ("bob", SDP.replace("\r\n", "\n"))


def test_options_follow_readiness(door):
    verdict, counters = door.judge(request("OPTIONS"))
    assert (verdict.code, verdict.headers, counters) == (503, {"Retry-After": "5"}, ("options",))
    door.ready = True
    verdict, _ = door.judge(request("OPTIONS"))
    assert verdict.code == 200
    assert "INVITE" in verdict.headers["Allow"]


def test_options_inside_a_dialog(door):
    door.ready = True
    assert door.judge(request("OPTIONS", claims=True, ours=True))[0].code == 200


@pytest.mark.parametrize("method", ["REGISTER", "SUBSCRIBE", "MESSAGE", "PUBLISH", "REFER", "NOTIFY", "BYE", "FOO"])
def test_other_methods_outside_a_dialog(door, method):
    verdict, counters = door.judge(request(method))
    assert (verdict.code, counters) == (405, ("not_allowed",))
    assert "Allow" in verdict.headers


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "INFO", "REFER", "FOO"])
def test_what_is_in_a_dialog_is_the_stacks(door, method):
    assert door.judge(request(method, claims=True, ours=True))[0] is LET_IN


@pytest.mark.parametrize("method", ["BYE", "INVITE", "OPTIONS", "FOO"])
def test_a_dialog_that_is_not_ours(door, method):
    verdict, counters = door.judge(request(method, claims=True, ours=False))
    assert (verdict.code, counters) == (481, ("no_dialog",))


@pytest.mark.parametrize("method", ["CANCEL", "ACK"])
def test_what_belongs_to_a_transaction_is_the_stacks(door, method):
    assert door.judge(request(method))[0] is LET_IN


@pytest.mark.parametrize(
    ("raw", "defect"),
    [
        (invite(start="INVITE tel:+1 SIP/2.0"), Defect.UNSUPPORTED_SCHEME),
        (invite(start="INVITE sip:@ SIP/2.0"), Defect.BAD_URI),
        (invite(start="INVITE sip:bob@a?Route=%3Csip:b%3E SIP/2.0"), Defect.BAD_URI),
        (invite(start="INVITE sip:a?Subject=b SIP/2.0"), Defect.BAD_URI),
        (invite(start="INVITE sip:x SIP/7.0"), Defect.BAD_VERSION),
        (invite(extra="Require: 100rel, nothing-knows-this\r\n"), Defect.BAD_EXTENSION),
        (invite(SDP + "a=ptime:1\r\n"), Defect.BAD_SDP),
        (invite().replace("1 INVITE", "1 BYE"), Defect.CSEQ_MISMATCH),
    ],
)
def test_what_is_wrong_is_told_and_counted(door, raw, defect):
    verdict, counters = door.judge(request(raw=raw))
    assert verdict.code == defect.code
    assert counters == ("refused", f"refused_{defect.label}")


def test_what_we_require_ourselves_may_be_required(door):
    assert door.judge(request(raw=invite(extra=f"Require: {', '.join(SUPPORTED)}\r\n")))[0] is LET_IN


def test_how_a_refusal_is_told():
    assert refuse(Refused(Defect.BAD_EXTENSION, "foo")).headers == {"Unsupported": "foo"}
    assert "application/sdp" in refuse(Refused(Defect.BAD_CONTENT_TYPE, "x")).headers["Accept"]
    assert refuse(Refused(Defect.BAD_SDP, 'a "b"\r\n')).headers == {"Warning": "399 glotgate \"a 'b'\""}
    assert refuse(Refused(Defect.BAD_URI)).headers == {}
