"""The door: what is let in, what is answered at once, and that an INVITE is read once."""

import pytest

from gateway.config import Sip
from gateway.sip import headers
from gateway.sip.admission import Admission
from gateway.sip.dialogs import Dialog, State
from gateway.sip.headers import Defect, Refused
from gateway.sip.screening import SUPPORTED, Door, late_request, refuse, rejection
from gateway.sip.stack import DROP, LET_IN, Request, Verdict
from gateway.trunks import Trunk

from .test_headers import SDP, invite


def request(method="INVITE", raw=None, claims=False, ours=False, source="10.0.0.1"):
    raw = raw or invite().replace("INVITE", method)
    return Request(method, source, 5060, "UDP", claims, ours, raw)


class AskedDoor(Door):
    """A door with the time and the running calls that a test seldom cares for."""

    def __init__(self, *trunks, **sip):
        super().__init__(65536, 5, Admission(trunks, Sip(**sip), b"k" * 32, lambda: b"saltsalt"))
        self.now = 1000.0
        self.running = {}

    def judge(self, request):
        return super().judge(request, self.now, lambda trunk: self.running.get(trunk, 0))


@pytest.fixture
def door():
    return AskedDoor()


def test_a_good_invite_is_let_in_and_read_once(door, monkeypatch):
    raw = invite()
    assert door.judge(request(raw=raw)) == (Verdict(LET_IN.code, account="default"), ())
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
    assert door.judge(request(raw=invite(extra=f"Require: {', '.join(SUPPORTED)}\r\n")))[0].code == LET_IN.code


STRANGER = "203.0.113.9"
PASSWORD = {"username": "pbx", "password": "secret"}


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER", "CANCEL", "BYE"])
def test_a_stranger_is_told_nothing_but_that(method):
    door = AskedDoor(Trunk(name="pbx", allow=("10.0.0.1",)))
    door.ready = True
    assert door.judge(request(method, source=STRANGER))[0].code == 403
    silent = AskedDoor(Trunk(name="pbx", allow=("10.0.0.1",)), unknown_source="drop")
    assert silent.judge(request(method, source=STRANGER))[0] is DROP


@pytest.mark.parametrize("ready", [True, False])
def test_a_stranger_is_asked_for_his_password_before_he_learns_whether_calls_are_taken(ready):
    door = AskedDoor(Trunk.model_validate({"name": "pbx", "credentials": [PASSWORD]}))
    door.ready = ready
    verdict, counters = door.judge(request(source=STRANGER))
    assert (verdict.code, len(verdict.challenges), counters) == (401, 2, ("challenged",))
    verdict, counters = door.judge(request("OPTIONS", source=STRANGER))
    assert (verdict.code, verdict.headers, len(verdict.challenges)) == (401, {}, 2)
    assert counters == ("options", "challenged")


@pytest.mark.parametrize("allow", [STRANGER, "203.0.113.0/24"])
def test_the_options_of_an_address_that_was_named_need_no_password(allow):
    door = AskedDoor(Trunk.model_validate({"name": "pbx", "allow": [allow], "credentials": [PASSWORD]}))
    assert door.judge(request("OPTIONS", source=STRANGER))[0].code == 503
    door.ready = True
    assert door.judge(request("OPTIONS", source=STRANGER))[0].code == 200
    assert door.judge(request(source=STRANGER))[0].code == 401


def test_the_whole_internet_without_a_password_is_answered():
    door = AskedDoor(Trunk(name="pbx", allow=("0.0.0.0/0",)))
    door.ready = True
    assert door.judge(request("OPTIONS", source=STRANGER))[0].code == 200


def test_what_is_in_a_dialog_is_never_a_strangers():
    door = AskedDoor(Trunk(name="pbx", allow=("10.0.0.1",)), unknown_source="drop")
    assert door.judge(request("BYE", claims=True, ours=True, source=STRANGER))[0] is LET_IN
    assert door.judge(request("ACK", source=STRANGER))[0] is LET_IN


@pytest.mark.parametrize(
    "nonsense",
    [
        request("REGISTER", source=STRANGER),
        request("BYE", claims=True, source=STRANGER),
        request(raw=invite(start="INVITE tel:1 SIP/2.0"), source=STRANGER),
    ],
)
def test_a_stranger_who_sends_nonsense_is_dropped_in_the_end(nonsense):
    door = AskedDoor(Trunk.model_validate({"name": "pbx", "credentials": [PASSWORD]}), admission={"strikes": 3})
    verdicts = [door.judge(nonsense)[0] for _ in range(4)]
    assert verdicts[-1] is DROP
    assert DROP not in verdicts[:3]
    known = AskedDoor(Trunk(name="pbx", allow=(STRANGER,)), admission={"strikes": 1})
    assert DROP not in [known.judge(nonsense)[0] for _ in range(4)]


def test_the_limits_of_a_trunk_are_kept_at_the_door():
    door = AskedDoor(Trunk(name="pbx", allow=("10.0.0.1",), max_calls=1))
    assert door.judge(request())[0].account == "pbx"
    door.running = {"pbx": 1}
    verdict, counters = door.judge(request())
    assert (verdict.code, verdict.headers, counters) == (503, {"Retry-After": "5"}, ("trunk_full",))


def test_a_call_that_came_past_the_door():
    dialog = Dialog(3, "", State.INVITED, source="10.0.0.1")
    late = late_request(dialog, invite())
    assert (late.method, late.source, late.transport) == ("INVITE", "10.0.0.1", "udp")
    assert rejection(dialog, DROP).code == 403
    challenged = rejection(dialog, Verdict(401, challenges=("Digest a", "Digest b")))
    assert (challenged.dialog, challenged.headers) == (3, {"WWW-Authenticate": "Digest a"})


def test_how_a_refusal_is_told():
    assert refuse(Refused(Defect.BAD_EXTENSION, "foo")).headers == {"Unsupported": "foo"}
    assert "application/sdp" in refuse(Refused(Defect.BAD_CONTENT_TYPE, "x")).headers["Accept"]
    assert refuse(Refused(Defect.BAD_SDP, 'a "b"\r\n')).headers == {"Warning": "399 glotgate \"a 'b'\""}
    assert refuse(Refused(Defect.BAD_URI)).headers == {}
