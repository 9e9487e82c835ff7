"""The sip process without its stack: what is told, what is done, what is counted, on a clock of our own."""

import select

import pytest

from gateway import channel
from gateway.config import Config
from gateway.sip import events, headers
from gateway.sip.dialogs import Dialog, State
from gateway.sip.ledger import COUNTERS, LOG_LINES_PER_S
from gateway.sip.process import Process
from gateway.sip.stack import Bind, Listening, Phase, Placement, Progress, Request, StackError

from .test_headers import SDP, invite

ANSWER = SDP.replace("10.0.0.1", "10.0.0.2")


class FakeCall:
    def __init__(self, dialog=None):
        self.dialog = dialog or Dialog(0, "", State.INVITED)
        self.deadline_s = 0.0
        self.done = []
        self.failing = ()

    def _do(self, *what):
        if what[:2] == self.failing:
            raise StackError("no")
        self.done.append(what)

    def respond(self, code, reason="", headers=None, sdp=""):
        self._do("respond", code, reason, headers or {}, sdp)

    def close(self, headers):
        self._do("close", headers)

    def reoffer(self):
        self._do("reoffer")

    def transfer(self, target):
        self._do("transfer", target)


class FakeStack:
    """Answers like the real one would; each poll runs the next step of a script."""

    def __init__(self, listening=None):
        self.listening = listening or Listening(["udp 127.0.0.1:5060"], "2.17", 4096, True)
        self.script = []
        self.dialled = []
        self.registered = []
        self.stopped = False
        self.failing = False

    def start(self, options):
        self.options = options
        return self.listening

    def descriptors(self):
        return set()

    def poll(self, timeout_ms):
        if self.script:
            self.script.pop(0)()

    def dial(self, dialog, order):
        if self.failing:
            raise StackError("bad URI")
        call = FakeCall(dialog)
        self.dialled.append((call, order))
        return call

    def register(self, account, active):
        if self.failing:
            raise StackError("no route")
        self.registered.append((account, active))

    def stop(self):
        self.stopped = True


class Rig:
    def __init__(self, more=None):
        ours, theirs = channel.pair()
        self.channel = channel.Channel(ours, events.AnyEvent)
        self.logs = []
        self.now = 100.0
        config = Config.model_validate({"sip": {"advertise": "gw.example"}, "media": {"capacity": 8}} | (more or {}))
        incoming = channel.Channel(theirs, events.AnyCommand)
        self.process = Process(incoming, config, self.logs.append, clock=lambda: self.now)
        self.stack = FakeStack()
        self.process._stack = self.stack

    def told(self, kind=None):
        found = self.channel.receive()
        return [event for event in found if kind is None or isinstance(event, kind)]

    def counters(self):
        self.process.each_second()
        return self.told(events.AgentCounters)[-1].counters

    def call(self, raw=None):
        call = FakeCall()
        self.process.invited(call, raw or invite(), "10.0.0.1:5060")
        self.process.after_poll()
        return call

    def confirmed(self, sdp=SDP):
        call = self.call(invite(sdp) if sdp else invite(body="", content_type=None))
        self.process.command(events.Accept(call.dialog.id, ANSWER))
        self.process.description(call, answering=bool(sdp))
        self.process.progressed(call, Progress(Phase.CONFIRMED, 200, "OK", invite(ANSWER)))
        self.told()
        call.done.clear()
        return call

    def over(self, call, code=200, reason="OK"):
        self.process.progressed(call, Progress(Phase.OVER, code, reason))
        return self.told(events.Ended)


@pytest.fixture
def rig():
    return Rig()


def test_an_invite_is_told_after_the_poll_and_not_within(rig):
    call = FakeCall()
    rig.process.invited(call, invite(extra="X-Session-Speaker: agent\r\n"), "10.0.0.1:5060")
    assert (rig.told(), call.done) == ([], [])
    rig.process.after_poll()
    (told,) = rig.told()
    assert (told.dialog, told.user, told.source, told.transport) == (1, "bob", "10.0.0.1:5060", "udp")
    assert (told.from_uri, told.to_uri, told.sip_call_id) == ("sip:a@b", "sip:c@d", "1@x")
    assert told.headers["x-session-speaker"] == "agent"
    assert told.sdp == SDP.replace("\r\n", "\n")


def test_an_invite_that_died_in_the_poll_is_not_told(rig):
    call = FakeCall()
    rig.process.invited(call, invite(), "10.0.0.1:5060")
    rig.process.progressed(call, Progress(Phase.OVER, 488, "Not Acceptable Here"))
    rig.process.after_poll()
    assert rig.told() == []


def test_a_bad_invite_is_refused_without_asking(rig):
    call = rig.call(invite(SDP + "a=ptime:255\r\n"))
    ((what, code, _, told, _),) = call.done
    assert (what, code) == ("respond", 488)
    assert "bad_ptime" in told["Warning"]
    assert rig.over(call, 488) == []
    assert rig.told(events.Invited) == []
    counters = rig.counters()
    assert (counters["refused"], counters["refused_bad_sdp"], counters["rejected"]) == (1, 1, 1)
    assert rig.logs[-1]["event"] == "sip_refused_at_the_door"


def test_a_call_from_invite_to_bye(rig):
    call = rig.call()
    rig.told()
    rig.process.command(events.Ring(1, headers={"X-Session-ID": "s"}))
    rig.process.command(events.Accept(1, ANSWER, {"X-Session-ID": "s", "X-B": "1"}))
    assert call.done == [
        ("respond", 180, "", {"X-Session-ID": "s"}, ""),
        ("respond", 200, "", {"X-B": "1"}, ANSWER),  # the stack repeats what the 180 carried
    ]
    rig.process.progressed(call, Progress(Phase.ACCEPTED, 200, "OK"))
    assert rig.told() == []
    rig.process.progressed(call, Progress(Phase.CONFIRMED, 200, "OK"))
    assert rig.told() == [events.Acknowledged(1, None)]
    assert rig.over(call) == [events.Ended(1, "bye", 200, "OK")]
    counters = rig.counters()
    assert [counters[name] for name in ("invites", "rung", "accepted", "confirmed", "ended")] == [1] * 5


def test_a_delayed_offer_is_fetched_by_the_stack(rig):
    call = rig.call(invite(body="", content_type=None))
    assert rig.told()[0].sdp is None
    rig.process.command(events.Accept(1, ANSWER))
    assert call.done == [("respond", 200, "", {}, "")]
    assert rig.process.description(call, answering=False) == ANSWER
    rig.process.progressed(call, Progress(Phase.CONFIRMED, 200, "OK", invite(SDP)))
    assert rig.told() == [events.Acknowledged(1, SDP.replace("\r\n", "\n"))]


def test_an_early_answer_of_the_stacks_own_is_left_alone(rig):
    assert rig.process.description(rig.call(), answering=True) == ""


def test_a_cancelled_call(rig):
    call = rig.call()
    rig.told()
    assert rig.over(call, 487) == [events.Ended(1, "cancelled", 487, "OK")]
    rig.process.command(events.Accept(1, ANSWER))
    counters = rig.counters()
    assert (counters["cancelled"], counters["late_commands"]) == (1, 1)
    assert call.done == []


def test_a_rejected_call_carries_its_headers(rig):
    call = rig.call()
    rig.process.command(events.Reject(1, 503, "Draining\r\nX: y", {"Retry-After": "5", "Bad Name": "x"}))
    assert call.done == [("respond", 503, "Draining X: y", {"Retry-After": "5"}, "")]
    assert [e.cause for e in rig.over(call, 503)] == ["rejected"]


def test_hanging_up(rig):
    early, late = rig.call(), rig.confirmed()
    rig.process.command(events.Hangup(1, "drain"))
    rig.process.command(events.Hangup(2, "session ended"))
    assert early.done == [("respond", 480, "", {"Reason": headers.reason("drain")}, "")]
    assert late.done == [("close", {"Reason": headers.reason("session ended")})]
    assert [e.cause for e in rig.over(late)] == ["local"]


def test_a_stack_that_fails_on_our_200_gets_a_500(rig):
    call = rig.call()
    call.failing = ("respond", 200)
    rig.process.command(events.Accept(1, ANSWER))
    assert [step[:2] for step in call.done] == [("respond", 500)]
    assert rig.counters()["stack_errors"] == 1
    assert rig.logs[-1]["event"] == "sip_stack_error"


def test_a_reinvite_is_asked_and_answered(rig):
    call = rig.confirmed()
    assert rig.process.reinvited(call, invite(SDP + "a=sendonly\r\n"))
    (asked,) = rig.told()
    assert asked == events.Reinvited(1, (SDP + "a=sendonly\r\n").replace("\r\n", "\n"))
    rig.process.command(events.Accept(1, ANSWER, {"X-Session-ID": "s"}))
    assert call.done == [("respond", 200, "", {"X-Session-ID": "s"}, ANSWER)]
    assert call.dialog.state is State.CONFIRMED


def test_a_reinvite_that_is_bad_or_refused_leaves_the_call(rig):
    call = rig.confirmed()
    assert not rig.process.reinvited(call, invite("nonsense"))
    assert rig.process.reinvited(call, invite())
    rig.process.command(events.Reject(1, 488))
    assert call.done == [("respond", 488, "", {}, "")]
    assert [e.cause for e in rig.over(call)] == ["bye"]


def test_an_update_is_answered_on_the_terms_of_our_last_sdp(rig):
    call = rig.confirmed()
    assert rig.process.updated(call, SDP + "a=sendonly\r\n")
    (told,) = rig.told()
    assert "a=recvonly" in told.answer
    assert "c=IN IP4 10.0.0.2" in told.answer
    assert rig.process.description(call, answering=True) == told.answer
    assert not rig.process.updated(call, "nonsense")
    assert not rig.process.updated(call, SDP.replace("RTP/AVP", "RTP/AVP\udc96"))
    assert rig.told() == []


def ack(call_id, body):
    raw = invite(body).replace("INVITE", "ACK").replace("1@x", call_id)
    return Request("ACK", "10.0.0.1", 5060, "UDP", True, True, raw)


def test_an_offerless_reinvite_is_offered_our_sdp_and_its_ack_is_told(rig):
    call = rig.confirmed()
    assert rig.process.description(call, answering=False) == ANSWER
    assert rig.process.asked(ack("other", SDP)).code == 0
    assert rig.told() == []
    assert rig.process.asked(ack("1@x", SDP)).code == 0
    assert rig.told() == [events.Acknowledged(1, SDP.replace("\r\n", "\n"))]
    rig.process.asked(ack("1@x", SDP))
    assert rig.told() == []


def response(code, method="INVITE", body=""):
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return f"SIP/2.0 {code} Words Here\r\nCall-ID: 1@x\r\nCSeq: 7 {method}\r\n{kind}\r\n{body}"


def test_our_own_offer_within_a_dialog(rig):
    call = rig.confirmed()
    rig.process.command(events.Offer(1, "v=0 new"))
    assert call.done == [("reoffer",)]
    assert rig.process.description(call, answering=False) == "v=0 new"
    rig.process.heard(call, response(100))
    rig.process.heard(call, response(200, "OPTIONS"))
    assert rig.told() == []
    rig.process.heard(call, response(200, body=SDP))
    rig.process.heard(call, response(200, body=SDP))
    assert rig.told() == [events.Answered(1, 200, "Words Here", SDP.replace("\r\n", "\n"))]


def test_info(rig):
    call = rig.confirmed()
    raw = invite("Signal=5\r\nDuration=160\r\n", content_type="application/dtmf-relay").replace("INVITE", "INFO")
    rig.process.heard(call, raw)
    assert rig.told() == [events.InfoReceived(1, "application/dtmf-relay", "Signal=5\nDuration=160\n")]


def test_messages_within_a_dialog_may_be_nonsense(rig):
    call = rig.confirmed()
    rig.process.description(call, answering=False)
    for raw in (
        "INFO x\r\nno colon\r\n\r\n",
        "SIP/2.0 abc\r\n\r\n",
        "SIP/2.0 200\r\nno colon\r\n\r\n",
        "INFO ",
        "SIP/2.0 ",
    ):
        rig.process.heard(call, raw)
    assert [type(told) for told in rig.told()] == [events.InfoReceived]


def test_a_refer_of_ours_is_sent_as_one_line(rig):
    call = rig.confirmed()
    rig.process.command(events.Refer(1, "sip:z@y\r\nX: 1"))
    assert call.done == [("transfer", "sip:z@y X: 1")]


def test_hanging_up_while_a_transfer_rings_ends_both(rig):
    rig = Rig({"trunks": [{"name": "office", "allow": ["10.0.0.0/8"], "refer": "accept"}]})
    call = rig.confirmed()
    call.dialog.trunk = "office"
    heirs = []

    def place(dialog):
        heirs.append(FakeCall(dialog))
        return heirs[-1]

    assert rig.process.referred(call, "sip:x@y", place)
    rig.process.command(events.Hangup(1, "done"))
    assert [done[0] for done in (*heirs[0].done, *call.done)] == ["close", "close"]
    rig.over(heirs[0], 487)
    assert [told.dialog for told in rig.over(call)] == [1]


def test_an_heir_that_the_stack_can_not_dial_is_forgotten(rig):
    rig = Rig({"trunks": [{"name": "office", "allow": ["10.0.0.0/8"], "refer": "accept"}]})
    call = rig.confirmed()
    call.dialog.trunk = "office"
    heir = FakeCall()

    def place(dialog):
        heir.dialog, heir.failing = dialog, ("close",)
        heir.close = lambda headers: (_ for _ in ()).throw(StackError("no such call"))
        return heir

    rig.process.referred(call, "sip:x@y", place)
    rig.now += 100
    rig.process.each_second()
    assert list(rig.process._calls.values()) == [call]


TRUNK = {"name": "pbx", "allow": ["10.0.0.1"]}
USERS = {"credentials": [{"username": "pbx", "password": "secret"}]}


def asked(rig, raw=None, source="10.0.0.1"):
    """An INVITE at the door; the stack makes a call of it when it is let in."""
    raw = raw or invite()
    verdict = rig.process.asked(Request("INVITE", source, 5060, "UDP", False, False, raw))
    if verdict.code:
        return verdict, None
    call = FakeCall()
    rig.process.invited(call, raw, f"{source}:5060")
    return verdict, call


def test_the_trunk_that_admits_a_call_is_told():
    rig = Rig({"trunks": [TRUNK]})
    asked(rig)
    rig.process.after_poll()
    assert [event.trunk for event in rig.told(events.Invited)] == ["pbx"]
    assert asked(rig, source="10.0.0.2")[0].code == 403


def test_calls_of_a_trunk_are_counted_those_included_that_have_only_just_come():
    rig = Rig({"trunks": [TRUNK | {"max_calls": 2, "outbound": {"host": "10.0.0.1"}}]})
    first = asked(rig)[1]
    asked(rig)
    assert asked(rig)[0].code == 503
    rig.process.after_poll()
    assert asked(rig)[0].code == 503
    rig.told()
    rig.process.command(events.Dial(-1, "sip:200@10.0.0.1", "v=0", trunk="pbx"))
    assert [(event.dialog, event.cause, event.code) for event in rig.told(events.Ended)] == [(-1, "limited", 503)]
    rig.over(first)
    rig.process.command(events.Dial(-2, "sip:200@10.0.0.1", "v=0", trunk="pbx"))
    assert len(rig.stack.dialled) == 1
    assert asked(rig)[0].code == 503
    assert rig.counters()["trunk_full"] == 4


def test_calls_that_lost_their_dialog_count_towards_their_trunk():
    rig = Rig({"trunks": [TRUNK | {"max_calls": 2}]})
    rig.process.command(events.Carried({"pbx": 1, "gone": 5}))
    assert [asked(rig)[0].code, asked(rig)[0].code] == [0, 503]
    rig.process.command(events.Carried({}))
    assert asked(rig)[0].code == 0


def test_calls_of_ours_keep_to_so_many_a_second_together_with_theirs():
    rig = Rig({"trunks": [TRUNK | {"max_calls_per_s": 2, "outbound": {"host": "10.0.0.1"}}]})
    assert asked(rig)[0].code == 0
    for dialog in (-1, -2):
        rig.process.command(events.Dial(dialog, "sip:200@10.0.0.1", "v=0", trunk="pbx"))
    (ended,) = rig.told(events.Ended)
    assert (ended.dialog, ended.cause, "a second" in ended.reason) == (-2, "limited", True)
    assert asked(rig)[0].code == 503
    rig.now += 1
    rig.process.command(events.Dial(-3, "sip:200@10.0.0.1", "v=0", trunk="pbx"))
    assert len(rig.stack.dialled) == 2
    assert rig.counters()["trunk_limited"] == 2


def test_a_build_without_a_door_asks_when_there_is_a_call_already():
    rig = Rig({"trunks": [TRUNK | USERS]})
    call = rig.call()
    ((_, code, _, told, _),) = call.done
    assert code == 401
    assert told["WWW-Authenticate"].startswith('Digest realm="glotgate"')
    assert rig.told(events.Invited) == []
    assert rig.counters()["challenged"] == 1


def test_who_dials_numbers_that_do_not_exist_is_told_and_dropped():
    rig = Rig({"trunks": [TRUNK | {"allow": ["0.0.0.0/0"]}], "sip": {"admission": {"strikes": 2}}})
    for dialog in (1, 2):
        asked(rig)
        rig.process.after_poll()
        rig.process.command(events.Reject(dialog, 404))
    assert asked(rig)[0].code == -1
    rig.process.each_second()
    (line,) = [line for line in rig.logs if line["event"] == "sip_scanner"]
    assert (line["level"], line["source"], line["reason"]) == ("warning", "10.0.0.1", "no_such_number")
    assert rig.counters()["scanners_found"] == 1


def test_what_a_peer_says_at_the_end_is_told(rig):
    call = rig.confirmed()
    bye = invite(start="BYE sip:x@y SIP/2.0", extra="Reason: Q.850;cause=31\r\nX-Why: tired\r\n", body="")
    rig.process.progressed(call, Progress(Phase.OVER, 200, "OK", bye))
    (ended,) = rig.told(events.Ended)
    assert ended.headers == {"reason": "Q.850;cause=31", "x-why": "tired"}


def test_dialling(rig):
    rig.process.command(events.Dial(-1, "sip:bob@10.0.0.9", "v=0 ours", {"X-A": "b"}))
    ((call, order),) = rig.stack.dialled
    assert order == Placement("sip:bob@10.0.0.9", {"X-A": "b"})
    assert rig.process.description(call, answering=False) == "v=0 ours"
    rig.process.progressed(call, Progress(Phase.EARLY, 180, "Ringing", response(180)))
    rig.process.progressed(call, Progress(Phase.ACCEPTED, 200, "OK", response(200, body=SDP)))
    rig.process.progressed(call, Progress(Phase.CONFIRMED, 200, "OK"))
    ringing, answered = rig.told()
    assert (ringing.code, ringing.sdp) == (180, None)
    assert (answered.code, answered.sdp) == (200, SDP.replace("\r\n", "\n"))
    assert call.dialog.state is State.CONFIRMED
    assert call.dialog.sip_call_id == "1@x"
    assert [e.cause for e in rig.over(call)] == ["bye"]


def test_dialling_nowhere(rig):
    rig.stack.failing = True
    rig.process.command(events.Dial(-1, "nowhere", ""))
    assert rig.told() == [events.Ended(-1, "failed", 500, "bad URI")]


def test_nobody_answers_in_time(rig):
    rig.process.command(events.Dial(-1, "sip:bob@10.0.0.9", "", timeout_s=30))
    ((call, _),) = rig.stack.dialled
    rig.now += 29
    rig.process.each_second()
    assert call.done == []
    rig.now += 2
    rig.process.each_second()
    assert call.done[0][0] == "close"
    assert [e.cause for e in rig.over(call, 487)] == ["timeout"]


def test_options_follow_what_the_controller_says(rig):
    options = Request("OPTIONS", "10.0.0.1", 5060, "UDP", False, False, invite().replace("INVITE", "OPTIONS"))
    assert rig.process.asked(options).code == 503
    rig.process.command(events.SetReadiness(True))
    assert rig.process.asked(options).code == 200
    rig.process.command(events.SetReadiness(False, 9))
    assert rig.process.asked(options).headers == {"Retry-After": "9"}
    assert rig.counters()["options"] == 3


def test_a_flood_of_the_stacks_log_is_bounded_and_counted(rig):
    for _ in range(LOG_LINES_PER_S + 5):
        rig.process.logged(1, "x")
    assert len(rig.logs) == LOG_LINES_PER_S
    rig.now += 1
    rig.process.logged(2, "y")
    assert rig.logs[-1] == {"level": "info", "event": "sip_stack", "text": "y"}
    counters = rig.counters()
    assert (counters["log_lines"], counters["log_dropped"]) == (LOG_LINES_PER_S + 6, 5)


def test_a_fault_of_ours_in_a_callback_is_told(rig):
    rig.process.faulted("onCallState", ValueError("x"))
    assert rig.logs[-1]["level"] == "error"
    assert rig.counters()["callback_faults"] == 1


def test_every_counter_is_there_from_the_start(rig):
    assert rig.counters() == dict.fromkeys((*COUNTERS, "homer_sent", "homer_dropped"), 0)


@pytest.mark.parametrize(
    ("built", "version", "max_calls", "fit"),
    [(4096, "2.17", 3968, True), (4, "2.15.1", 4, False), (4096, "2.16", 3968, False), (4096, "2.17-svn", 3968, True)],
)
def test_what_a_build_is_fit_for(rig, built, version, max_calls, fit):
    stack = FakeStack(Listening(["udp x"], version, built, True))
    rig.channel.send(events.Shutdown())
    rig.process.run(stack)
    (ready,) = rig.channel.receive(1)
    assert (ready.max_calls, ready.fit_for_network) == (max_calls, fit)
    assert stack.stopped
    assert stack.options.binds[0] == Bind("udp", "0.0.0.0", 5060, "gw.example")
    assert (stack.options.advertise, stack.options.max_calls) == ("gw.example", 8 * 5 // 4 + 128)


def test_a_stop_says_goodbye_to_everybody(rig):
    call = FakeCall()
    stack = FakeStack()

    def hang_up():
        assert call.done[-1][0] == "close"
        rig.process.progressed(call, Progress(Phase.OVER, 200, "OK"))

    def shut_down():
        rig.process.command(events.Accept(1, ANSWER))
        rig.process.progressed(call, Progress(Phase.CONFIRMED, 200, "OK"))
        rig.process.command(events.Shutdown())

    stack.script = [lambda: rig.process.invited(call, invite(), "10.0.0.1:5060"), shut_down, hang_up]
    rig.process.run(stack)
    assert stack.stopped
    assert (stack.script, call.dialog.state) == ([], State.ENDED)


def test_a_peer_that_does_not_answer_our_bye_does_not_hold_us(rig):
    call = FakeCall()
    stack = FakeStack()

    def wait():
        rig.now += 1
        stack.script.append(wait)

    stack.script = [
        lambda: rig.process.invited(call, invite(), "10.0.0.1:5060"),
        lambda: rig.process.command(events.Shutdown()),
        wait,
    ]
    rig.process.run(stack)
    assert stack.stopped


def test_a_controller_that_is_gone_ends_the_process(rig):
    rig.channel.close()
    rig.process.run(rig.stack)
    assert rig.stack.stopped


def test_registrations_are_sent_told_and_given_up_at_the_end(rig):
    office = {"name": "office", "outbound": {"host": "192.0.2.1"}, "registration": {}}
    rig = Rig({"trunks": [office]})
    rig.process.each_second()
    assert rig.stack.registered == [("office", True)]
    rig.process.registered("office", 200, "OK", 300)
    assert [told.state for told in rig.told(events.RegistrationChanged)] == ["trying", "registered"]
    rig.process._farewell()
    assert rig.stack.registered[-1] == ("office", False)


def test_a_registration_that_the_stack_can_not_send(rig):
    rig = Rig({"trunks": [{"name": "office", "outbound": {"host": "192.0.2.1"}, "registration": {}}]})
    rig.stack.failing = True
    rig.process.each_second()
    assert [told.state for told in rig.told(events.RegistrationChanged)] == ["failed"]
    assert "sip_not_registered" in [line["event"] for line in rig.logs]


def test_a_name_that_the_stack_wants_is_found_and_told(rig):
    rig.stack.named = lambda *answer: rig.told_names.append(answer)
    rig.told_names = []
    rig.process.wanted("localhost")
    assert select.select([rig.process._names], [], [], 10)[0]
    rig.process._tell_names()
    ((name, addresses, good_s),) = rig.told_names
    assert (name, "127.0.0.1" in addresses, good_s > 0) == ("localhost", True, True)
