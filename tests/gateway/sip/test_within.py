"""What happens within dialogs, told without a stack; `test_process.py` and `test_agent.py` have the rest."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sip import events, sdp
from gateway.sip.dialogs import Dialog, State
from gateway.sip.ledger import Ledger
from gateway.sip.negotiation import KEY_BYTES
from gateway.sip.stack import Phase, Progress
from gateway.sip.within import LEAVE_S, REFER_RING_S, Within

LOCAL = (
    "v=0\r\no=- 7 3 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    "m=audio 16384 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=recvonly\r\n"
)
ANSWER = LOCAL.replace("192.0.2.1", "192.0.2.9")
TYPE = f"Content-Type: application/sdp\r\nContent-Length: {len(ANSWER)}"
OK = f"SIP/2.0 200 OK\r\nCall-ID: new@x\r\n{TYPE}\r\n\r\n{ANSWER}"


class FakeCall:
    def __init__(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self.deadline_s = 0.0


class Rig:
    def __init__(self, *, accepts: bool = True, local: str = LOCAL) -> None:
        self.now = 100.0
        self.told: list[events.Event] = []
        self.ledger = Ledger(lambda line: None, lambda: self.now)
        self.within = Within(
            self.told.append, self.ledger, lambda trunk: accepts, lambda: bytes(KEY_BYTES), lambda: self.now
        )
        call: Any = FakeCall(Dialog(0, "old@x", State.CONFIRMED, local_sdp=local, told=True, trunk="office"))
        self.call = call
        self.within.enter(call)
        self.heir: Any = None

    def place(self, dialog: Dialog) -> Any:
        self.heir = FakeCall(dialog)
        return self.heir

    def refer(self, target: str = "<sip:300@192.0.2.9?Replaces=a%40b>") -> bool:
        return self.within.referred(self.call, target, self.place)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    def answered(self) -> None:
        assert "m=audio 16384" in self.within.description(self.heir, answering=False)
        self.within.progressed(self.heir, Progress(Phase.EARLY, 180, "Ringing", "SIP/2.0 180 Ringing\r\n\r\n"))
        self.within.progressed(self.heir, Progress(Phase.ACCEPTED, 200, "OK", OK))
        self.within.progressed(self.heir, Progress(Phase.CONFIRMED, 200, "OK"))

    def over(self, call: Any, code: int = 200, reason: str = "OK") -> None:
        self.within.progressed(call, Progress(Phase.OVER, code, reason))


def test_a_transfer_gives_the_call_another_peer() -> None:
    rig = Rig()
    assert rig.refer()
    assert rig.of(events.Referred)[0].taken
    assert rig.of(events.Answered) == []
    rig.answered()
    (told,) = rig.of(events.Transferred)
    assert (told.dialog, told.sip_call_id) == (1, "new@x")
    assert "a=sendrecv" in told.sdp
    assert "RTP/AVP 0 8 13 101" in told.sdp
    assert told.answer == ANSWER.replace("\r\n", "\n")
    assert rig.within.calls[1] is rig.heir
    assert rig.heir.dialog.state is State.CONFIRMED
    rig.over(rig.call)
    assert rig.of(events.Ended) == []  # the one who transferred it has left; the call goes on
    rig.over(rig.heir)
    assert [event.dialog for event in rig.of(events.Ended)] == [1]
    assert rig.within.calls == {}


def test_who_transferred_the_call_and_does_not_leave_is_hung_up() -> None:
    rig = Rig()
    rig.refer()
    rig.answered()
    assert rig.within.overdue() == []
    rig.now += LEAVE_S + 0.1
    assert rig.within.overdue() == [(rig.call, "transferred")]
    assert rig.within.overdue() == []


def test_a_transfer_that_nobody_answers_leaves_the_call() -> None:
    rig = Rig()
    rig.refer()
    rig.over(rig.heir, 486, "Busy Here")
    assert rig.of(events.Transferred) == rig.of(events.Ended) == []
    assert rig.within.calls == {1: rig.call}
    assert rig.refer()  # and another may be tried


def test_who_leaves_at_once_leaves_the_call_to_its_heir() -> None:
    rig = Rig()
    rig.refer()
    rig.over(rig.call)
    assert rig.of(events.Ended) == []
    assert rig.within.calls == {1: rig.heir}  # what the controller says reaches it
    rig.answered()
    assert [event.dialog for event in rig.of(events.Transferred)] == [1]


def test_an_heir_alone_that_nobody_answers_ends_the_call() -> None:
    rig = Rig()
    rig.refer()
    rig.over(rig.call)
    rig.over(rig.heir, 404, "Not Found")
    assert [(event.dialog, event.code) for event in rig.of(events.Ended)] == [(1, 404)]


def test_an_heir_rings_for_a_bounded_time() -> None:
    rig = Rig()
    rig.refer()
    rig.now += REFER_RING_S + 1
    assert rig.within.overdue() == [(rig.heir, "no answer")]


def test_our_own_hanging_up_ends_it_for_good() -> None:
    rig = Rig()
    rig.refer()
    rig.call.dialog.intent = "local"
    rig.over(rig.call)
    assert [event.cause for event in rig.of(events.Ended)] == ["local"]


@pytest.mark.parametrize("target", ["tel:+155", "http://x", "", "<mailto:a@b>"])
def test_only_sip_addresses_are_dialled(target: str) -> None:
    rig = Rig()
    assert not rig.refer(target)
    assert not rig.of(events.Referred)[0].taken
    assert rig.ledger.counters["refers_declined"] == 1


def test_the_trunk_must_allow_it_and_one_is_enough() -> None:
    assert not Rig(accepts=False).refer()
    rig = Rig()
    assert rig.refer()
    assert not rig.refer("sip:400@192.0.2.9")


def test_a_sealed_call_is_offered_with_a_key_of_its_own() -> None:
    old = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
    sealed = LOCAL.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{old}\r\n"
    rig = Rig(local=sealed)
    rig.refer()
    offer = sdp.parse(rig.within.description(rig.heir, answering=False))
    assert offer.media[0].protocol == "RTP/SAVP"
    assert {crypto.key for crypto in offer.media[0].crypto} == {bytes(30), bytes(46)}


def test_how_a_refer_of_ours_goes_is_told() -> None:
    rig = Rig()
    rig.within.transferred(rig.call, 180, "Ringing\r\nX", False)
    rig.within.transferred(rig.call, 603, "Decline", True)
    assert rig.told == [
        events.ReferProgress(1, 180, "Ringing X", False), events.ReferProgress(1, 603, "Decline", True),
    ]  # fmt: skip
