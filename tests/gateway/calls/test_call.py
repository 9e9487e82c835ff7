"""The state machine of a call: every transition, and what is done in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.calls import actions as do
from gateway.calls import inputs
from gateway.calls.call import END_TIMEOUT_S, ORPHAN_TIMEOUT_S, REOPEN_TIMEOUT_S, Limits, State
from gateway.calls.incoming import IncomingCall
from gateway.calls.media import LegMedia
from gateway.errors import Fault, GatewayError, PeerFault
from gateway.ops.labels import END_REASONS, OUTCOMES
from tests.support import stories
from tests.support.controller_rig import OFFER

PORT = 16384
HOLD = OFFER + "a=sendonly\r\n"
LIMITS = Limits(ready_s=5.0, no_rtp_s=60.0, retry_after_s=7)
REFUSED = inputs.Refused(PeerFault(Fault.SESSION_NOT_FOUND, "no such session"))
ALL_INPUTS: list[inputs.Input] = [
    inputs.Resolved("sess_1"),
    REFUSED,
    inputs.LegOpened(PORT),
    inputs.LegRefused("ports"),
    inputs.LegClosed(),
    inputs.MediaLost(),
    inputs.StreamReady("customer"),
    inputs.StreamOver(Fault.SESSION_ENDED, "session_ended", "timeout"),
    inputs.Tick(None),
    inputs.PeerGone("bye"),
    inputs.Acknowledged(None),
    inputs.Reinvited(OFFER),
    inputs.Updated(OFFER, OFFER),
    inputs.Moved(OFFER, OFFER),
    inputs.HangUp("hangup", "done"),
    inputs.SipLost(),
]


class Story(stories.Story[IncomingCall]):
    def __init__(self, offer: str | None = OFFER, limits: Limits = LIMITS) -> None:
        super().__init__(IncomingCall(LegMedia("192.0.2.1", ("PCMU", "PCMA"), 1), offer, limits, 100.0), 100.0)


def preparing(offer: str | None = OFFER, limits: Limits = LIMITS) -> Story:
    story = Story(offer, limits)
    story.begin()
    story.tell(inputs.Resolved("sess_1"))
    assert story.call.state is State.PREPARING
    return story


def active(offer: str | None = OFFER, limits: Limits = LIMITS) -> Story:
    story = preparing(offer, limits)
    story.tell(inputs.LegOpened(PORT), inputs.StreamReady("customer"))
    assert story.call.state is State.ACTIVE
    return story


def ending() -> Story:
    story = active()
    story.tell(inputs.HangUp("hangup", "done"))
    assert story.call.state is State.ENDING
    return story


def in_state(state: State) -> Story:
    if state is State.RESOLVING:
        story = Story()
        story.begin()
        return story
    if state is State.OVER:
        story = ending()
        story.tell(inputs.PeerGone("local"), inputs.LegClosed())
        return story
    return {State.PREPARING: preparing, State.ACTIVE: active, State.ENDING: ending}[state]()


def test_it_rings_and_asks() -> None:
    story = Story()
    assert story.begin() == [do.Ring(), do.Resolve(), do.WakeAt(105.0)]
    assert story.tell(inputs.Resolved("sess_1")) == [do.OpenLeg(0), do.Join()]


@pytest.mark.parametrize(
    "events",
    [
        (inputs.LegOpened(PORT), inputs.StreamReady("customer")),
        (inputs.StreamReady("customer"), inputs.LegOpened(PORT)),
    ],
)
def test_it_is_answered_when_leg_and_stream_are_ready_in_either_order(events: tuple[inputs.Input, ...]) -> None:
    story = preparing()
    assert story.tell(events[0]) == []
    story.tell(events[1])
    assert story.names == ["Configure", "Attach", "Accept"]
    assert story.call.state is State.ACTIVE
    assert (story.call.speaker, story.call.sip_code, story.call.answered) == ("customer", 200, 100.0)
    accept = story.done[-1]
    assert isinstance(accept, do.Accept)
    assert f"m=audio {PORT} RTP/AVP 0 101" in accept.sdp


@pytest.mark.parametrize(
    ("fault", "code", "retry"),
    [(Fault.DRAINING, 503, 7), (Fault.CAPACITY, 503, 7), (Fault.SESSION_NOT_FOUND, 404, None)],
)
def test_a_call_that_is_not_even_tried(fault: Fault, code: int, retry: int | None) -> None:
    story = Story()
    story.begin(GatewayError(fault, "no"))
    assert story.done[0] == do.Refuse(code, "no", retry)
    assert "CloseLeg" not in story.names
    story.tell(inputs.PeerGone("rejected"))
    assert story.done == [do.Over()]
    assert story.call.outcome == fault.label


def test_an_offer_that_can_not_be_answered_is_refused_at_once() -> None:
    story = Story("v=0\r\n")
    story.begin()
    assert isinstance(story.done[0], do.Refuse)
    assert story.done[0].code == 488


@pytest.mark.parametrize("state", [State.RESOLVING, State.PREPARING])
@pytest.mark.parametrize(
    ("event", "after", "code", "outcome"),
    [
        (inputs.Tick(None), 5.0, None, None),
        (inputs.HangUp("draining", "stopping"), 0.0, 503, "draining"),
        (inputs.HangUp("failed", "KeyError"), 0.0, 500, "internal"),
        (inputs.HangUp("hangup", "done"), 0.0, 410, "session_ended"),
    ],
)
def test_what_ends_a_call_before_it_is_answered(
    state: State, event: inputs.Input, after: float, code: int | None, outcome: str | None
) -> None:
    story = in_state(state)
    story.tell(event, after=after)
    if code is None:
        code, outcome = (503, "service_unavailable") if state is State.RESOLVING else (504, "stream_not_ready")
    refuse = story.done[0]
    assert isinstance(refuse, do.Refuse)
    assert (refuse.code, story.call.outcome) == (code, outcome)
    assert story.names[1] == "Leave"
    assert story.call.state is State.ENDING
    assert ("CloseLeg" in story.names) is (state is State.PREPARING)


def test_a_leg_that_takes_too_long_is_ours_to_answer_for() -> None:
    story = preparing()
    story.tell(inputs.StreamReady("customer"), inputs.Tick(None), after=5.0)
    assert story.call.outcome == "capacity"


@pytest.mark.parametrize("state", [State.RESOLVING, State.PREPARING])
def test_it_waits_as_long_as_it_may(state: State) -> None:
    assert in_state(state).tell(inputs.Tick(None), after=4.9) == []


@pytest.mark.parametrize("state", [State.RESOLVING, State.PREPARING])
def test_cancel_is_487_and_answered_by_nobody_else(state: State) -> None:
    story = in_state(state)
    story.tell(inputs.PeerGone("cancelled"))
    assert "Refuse" not in story.names
    assert story.names[-1] == "Over"
    assert (story.call.outcome, story.call.sip_code) == ("cancelled", 487)


def test_cancel_with_an_open_leg_waits_for_its_last_words() -> None:
    story = preparing()
    story.tell(inputs.LegOpened(PORT), inputs.PeerGone("cancelled"))
    assert story.names == ["Leave", "CloseLeg", "WakeAt"]
    assert story.tell(inputs.LegClosed()) == [do.Over()]


@pytest.mark.parametrize("state", [State.RESOLVING, State.PREPARING])
def test_without_a_sip_process_nobody_can_be_answered(state: State) -> None:
    story = in_state(state)
    story.tell(inputs.SipLost())
    assert "Refuse" not in story.names
    assert story.names[-1] == "Over"


@pytest.mark.parametrize("state", [State.RESOLVING, State.PREPARING])
def test_a_second_offer_before_the_answer_is_491(state: State) -> None:
    story = in_state(state)
    assert story.tell(inputs.Reinvited(OFFER)) == [do.Refuse(491, "Request Pending")]
    assert story.call.state is state


def test_the_directory_says_no() -> None:
    story = in_state(State.RESOLVING)
    story.tell(REFUSED)
    assert story.done[0] == do.Refuse(404, "no such session")


@pytest.mark.parametrize("reason", ["capacity", "ports", "lost"])
def test_no_leg(reason: str) -> None:
    story = preparing()
    story.tell(inputs.LegRefused(reason))
    assert isinstance(story.done[0], do.Refuse)
    assert (story.done[0].code, story.done[0].retry_after_s) == (503, 7)
    assert "CloseLeg" not in story.names


@pytest.mark.parametrize(
    ("fault", "code"),
    [(None, 504), (Fault.STREAM_REFUSED, 504), (Fault.SESSION_NOT_FOUND, 404), (Fault.SESSION_ENDED, 410)],
)
def test_no_stream(fault: Fault | None, code: int) -> None:
    story = preparing()
    story.tell(inputs.StreamOver(fault, "session_ended", "no"))
    assert isinstance(story.done[0], do.Refuse)
    assert story.done[0].code == code


def test_the_rtp_process_dies_before_the_answer() -> None:
    story = in_state(State.RESOLVING)
    assert story.tell(inputs.MediaLost()) == []
    story = preparing()
    assert story.tell(inputs.MediaLost()) == []  # the leg is still opening: that fails by itself
    story.tell(inputs.LegOpened(PORT), inputs.MediaLost())
    assert isinstance(story.done[0], do.Refuse)
    assert story.done[0].code == 503


def test_a_delayed_offer_is_ours_and_its_answer_comes_in_the_ack() -> None:
    story = active(offer=None)
    assert story.names == ["Attach", "Accept"]
    story.tell(inputs.Acknowledged(OFFER))
    assert story.names == ["Configure"]
    assert story.call.settled is not None


@pytest.mark.parametrize("sdp", [None, "v=0\r\n"])
def test_a_delayed_offer_without_an_answer_ends(sdp: str | None) -> None:
    story = active(offer=None)
    story.tell(inputs.Acknowledged(sdp))
    assert story.names[0] == "Bye"
    assert story.call.end_reason == "failed"


def test_hold_and_resume() -> None:
    story = active()
    story.tell(inputs.Reinvited(HOLD))
    assert story.names == ["Accept", "Configure", "TellHold"]
    assert story.call.held
    story.tell(inputs.Reinvited(HOLD))
    assert story.names == ["Accept", "Configure"]  # no news
    story.tell(inputs.Reinvited(OFFER))
    assert story.names == ["Accept", "Configure", "TellHold"]
    assert not story.call.held


def test_each_answer_has_the_next_version() -> None:
    story = active()
    versions = []
    for offer in (HOLD, OFFER, HOLD):
        accept = story.tell(inputs.Reinvited(offer))[0]
        assert isinstance(accept, do.Accept)
        versions.append(accept.sdp.split("o=")[1].split()[2])
    assert versions == ["2", "3", "4"]


def test_a_bad_reinvite_changes_nothing() -> None:
    story = active()
    before = story.call.settled
    story.tell(inputs.Reinvited("v=0\r\n"))
    assert isinstance(story.done[0], do.Refuse)
    assert story.done[0].code == 488
    assert story.call.settled is before
    assert story.call.state is State.ACTIVE


def test_a_reinvite_without_an_offer_gets_ours() -> None:
    story = active()
    story.tell(inputs.Reinvited(None))
    assert story.names == ["Accept"]
    story.tell(inputs.Acknowledged(HOLD))
    assert story.names == ["Configure", "TellHold"]
    story.tell(inputs.Reinvited(None))
    assert story.tell(inputs.Acknowledged("v=0\r\n")) == []
    assert story.call.state is State.ACTIVE
    assert story.tell(inputs.Acknowledged(None)) == []


def test_an_update_that_was_answered_already() -> None:
    story = active()
    accept = story.tell(inputs.Reinvited(OFFER))[0]
    assert isinstance(accept, do.Accept)
    answer = accept.sdp.replace("a=sendrecv", "a=recvonly")
    story.tell(inputs.Updated(HOLD, answer))
    assert story.names == ["Configure", "TellHold"]
    assert story.tell(inputs.Updated("v=0\r\n", answer)) == []
    assert story.call.unexpected == 1


def test_a_call_that_was_transferred_talks_to_the_new_peer() -> None:
    story = active()
    story.tell(inputs.Reinvited(HOLD))  # who transfers a call holds it first
    story.tell(inputs.Moved(OFFER.replace("40000", str(PORT)), OFFER.replace("40000", "40008")))
    assert story.names == ["Configure", "TellHold"]
    assert story.call.settled is not None
    assert story.call.settled.remote_port == 40008
    assert not story.call.held
    story.tell(inputs.Moved(OFFER, ""))
    assert story.names[0] == "Bye"
    assert story.call.end_reason == "failed"


@pytest.mark.parametrize(("cause", "reason"), [("bye", "peer_bye"), ("failed", "failed"), ("timeout", "failed")])
def test_the_peer_ends_it(cause: str, reason: str) -> None:
    story = active()
    story.tell(inputs.PeerGone(cause))
    assert story.names == ["Leave", "CloseLeg", "WakeAt"]
    assert (story.call.outcome, story.call.end_reason) == ("ok", reason)
    assert story.tell(inputs.LegClosed()) == [do.Over()]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (inputs.StreamOver(Fault.SESSION_ENDED, "session_ended", "timeout"), "session_ended"),
        (inputs.StreamOver(Fault.STREAM_REFUSED, "stream_lost", "lost"), "stream_lost"),
        (inputs.HangUp("draining", "stopping"), "draining"),
        (inputs.HangUp("hangup", "done"), "hangup"),
    ],
)
def test_our_side_ends_it(event: inputs.Input, reason: str) -> None:
    story = active()
    story.tell(event)
    assert story.names == ["Bye", "Leave", "CloseLeg", "WakeAt"]
    assert story.call.end_reason == reason
    assert story.tell(inputs.PeerGone("local")) == []
    assert story.tell(inputs.LegClosed()) == [do.Over()]


def test_silence_ends_it() -> None:
    story = active()
    assert story.tell(inputs.Tick(0.0), after=59.9) == []
    assert story.tell(inputs.Tick(last_packet=130.0), after=29.0) == []
    story.tell(inputs.Tick(last_packet=130.0), after=1.1)
    assert story.names[0] == "Bye"
    assert story.call.end_reason == "no_rtp"


def test_the_alarm_of_the_set_up_ends_no_call_that_talks() -> None:
    """It knows nothing of packets, and may come long after the answer."""
    story = active()
    assert story.tell(inputs.Tick(None), after=1000.0) == []
    assert story.tell(inputs.Tick(last_packet=story.now), after=1.0) == []


def test_silence_on_hold_is_agreed_upon() -> None:
    story = active()
    story.tell(inputs.Reinvited(HOLD))
    assert story.tell(inputs.Tick(0.0), after=1000.0) == []
    story.tell(inputs.Reinvited(OFFER))
    assert story.tell(inputs.Tick(0.0), after=59.0) == []
    assert story.tell(inputs.Tick(0.0), after=1.0) != []


def test_silence_may_be_allowed() -> None:
    story = active(limits=Limits(5.0, 0.0, 5))
    assert story.tell(inputs.Tick(0.0), after=1e6) == []


@pytest.mark.parametrize("no_rtp_s", [60.0, 0.0])
def test_a_lost_dialog_costs_no_audio_until_rtp_stops(no_rtp_s: float) -> None:
    story = active(limits=Limits(5.0, no_rtp_s, 5))
    assert story.tell(inputs.SipLost()) == []
    assert story.call.state is State.ACTIVE
    limit = no_rtp_s or ORPHAN_TIMEOUT_S
    assert story.tell(inputs.Tick(last_packet=story.now + limit - 1), after=limit) == []
    story.tell(inputs.Tick(last_packet=story.now), after=limit)
    assert story.names == ["Leave", "CloseLeg", "WakeAt"]
    assert story.call.end_reason == "sip_lost"
    assert story.tell(inputs.LegClosed()) == [do.Over()]


def test_a_lost_leg_is_opened_again_on_its_port() -> None:
    story = active()
    assert story.tell(inputs.MediaLost()) == [do.Detach(), do.OpenLeg(PORT)]
    assert story.tell(inputs.MediaLost()) == []
    story.tell(inputs.LegOpened(PORT))
    assert story.names == ["Configure", "Attach"]
    assert story.tell(inputs.Tick(0.0), after=59.0) == []


def test_a_leg_that_can_not_be_had_again_ends_it() -> None:
    story = active()
    story.tell(inputs.MediaLost(), inputs.LegRefused("ports"))
    assert story.names[:2] == ["Bye", "Leave"]
    assert story.call.end_reason == "rtp_lost"
    story = active()
    story.tell(inputs.MediaLost())
    assert story.tell(inputs.Tick(None), after=REOPEN_TIMEOUT_S - 0.1) == []
    story.tell(inputs.Tick(None), after=0.1)
    assert story.call.end_reason == "rtp_lost"


def test_a_stream_that_is_back_is_no_news() -> None:
    assert active().tell(inputs.StreamReady("customer")) == []


def test_confirmations_are_not_awaited_for_ever() -> None:
    story = ending()
    assert story.tell(inputs.Tick(None), after=END_TIMEOUT_S - 0.1) == []
    assert story.tell(inputs.Tick(None), after=0.1) == [do.Over()]
    assert story.call.state is State.OVER


@pytest.mark.parametrize(("event"), [inputs.LegClosed(), inputs.MediaLost()])
def test_a_leg_that_is_gone_needs_no_confirmation(event: inputs.Input) -> None:
    story = ending()
    story.tell(inputs.PeerGone("local"))
    assert story.tell(event) == [do.Over()]


def test_a_dialog_that_is_gone_needs_no_confirmation() -> None:
    story = ending()
    story.tell(inputs.LegClosed())
    assert story.tell(inputs.SipLost()) == [do.Over()]


def test_a_reinvite_while_ending_is_481() -> None:
    assert ending().tell(inputs.Reinvited(OFFER)) == [do.Refuse(481, "Call Ending")]


@pytest.mark.parametrize("state", [state for state in State if state is not State.DIALLING])
@pytest.mark.parametrize("event", ALL_INPUTS, ids=lambda event: type(event).__name__)
def test_every_event_in_every_state_is_a_rule_or_is_counted(state: State, event: inputs.Input) -> None:
    story = in_state(state)
    story.tell(event)
    known = (state, type(event)) in story.call.table
    assert story.call.unexpected == (0 if known else 1) or isinstance(event, inputs.Updated)
    if not known:
        assert story.done == []
        assert story.call.state is state


@given(st.lists(st.tuples(st.sampled_from(ALL_INPUTS), st.floats(0, 20)), max_size=30), st.sampled_from([OFFER, None]))
@settings(max_examples=300)
def test_whatever_happens_each_thing_is_done_once_and_it_ends(
    events: list[tuple[inputs.Input, float]], offer: str | None
) -> None:
    story = Story(offer)
    done = list(story.begin())
    for event, after in events:
        done += story.tell(event, after=after)
    done += story.tell(inputs.HangUp("draining", "stop"))
    done += story.tell(inputs.Tick(None), after=END_TIMEOUT_S)
    names = [type(action).__name__ for action in done]
    assert story.call.state is State.OVER
    for once in ("Over", "Leave"):
        assert names.count(once) == 1
    assert names[-1] == "Over"
    assert names.count("Bye") <= 1
    assert names.count("CloseLeg") <= 1
    assert story.call.outcome in OUTCOMES
    assert not story.call.end_reason or story.call.end_reason in END_REASONS
    assert bool(story.call.end_reason) is (story.call.answered is not None)
    assert story.call.ended is not None
    if "OpenLeg" in names and "CloseLeg" not in names:  # then it was refused or lost
        assert any(isinstance(e, (inputs.LegRefused, inputs.MediaLost)) for e, _ in events)
