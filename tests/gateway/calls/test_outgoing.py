"""The state machine of a call that we place: every transition until the 200, and what is done in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.calls import actions as do
from gateway.calls import inputs
from gateway.calls.call import END_TIMEOUT_S, Limits, State
from gateway.calls.media import LegMedia
from gateway.calls.outgoing import OutgoingCall
from gateway.errors import Fault, GatewayError
from gateway.ops.labels import END_REASONS, OUTCOMES
from tests.support import stories
from tests.support.controller_rig import OFFER

PORT = 16384
ANSWER = OFFER.replace("0 8 101", "0 101")
EARLY = ANSWER.replace("40000", "40002")
INPUTS: list[inputs.Input] = [
    inputs.Resolved("sess_1"),
    inputs.Refused(GatewayError(Fault.SESSION_NOT_FOUND, "no such session")),
    inputs.LegOpened(PORT),
    inputs.LegRefused("ports"),
    inputs.LegClosed(),
    inputs.MediaLost(),
    inputs.StreamReady("agent"),
    inputs.StreamOver(Fault.SESSION_ENDED, "session_ended", "explicit_end"),
    inputs.Tick(None),
    inputs.PeerGone("failed", 486, "Busy Here"),
    inputs.Progressed(180, None),
    inputs.Progressed(183, EARLY),
    inputs.Answered(ANSWER),
    inputs.Answered(None),
    inputs.Reinvited(OFFER),
    inputs.Updated(OFFER, OFFER),
    inputs.Moved(OFFER, OFFER),
    inputs.HangUp("hangup", "done"),
    inputs.SipLost(),
]


class Story(stories.Story[OutgoingCall]):
    def __init__(self) -> None:
        media = LegMedia("192.0.2.1", ("PCMU", "PCMA"), 1)
        super().__init__(OutgoingCall(media, Limits(5.0, 60.0, 7), 30.0, 100.0), 100.0)

    def progress(self) -> do.Progress:
        return next(action for action in self.done if isinstance(action, do.Progress))


def dialling() -> Story:
    story = Story()
    story.begin()
    story.tell(inputs.Resolved("sess_1"), inputs.LegOpened(PORT), inputs.StreamReady("agent"))
    assert story.call.state is State.DIALLING
    return story


def test_it_asks_first_and_dials_when_leg_and_stream_are_there() -> None:
    story = Story()
    assert story.begin() == [do.Resolve(), do.WakeAt(105.0)]
    assert story.tell(inputs.Resolved("sess_1")) == [do.OpenLeg(0), do.Join()]
    assert story.tell(inputs.StreamReady("agent")) == []
    dial, wake = story.tell(inputs.LegOpened(PORT), after=1.0)
    assert isinstance(dial, do.Dial)
    assert f"m=audio {PORT} RTP/AVP 0 8 13 101" in dial.sdp
    assert wake == do.WakeAt(131.0)


@pytest.mark.parametrize("fault", [Fault.DRAINING, Fault.CAPACITY])
def test_a_call_that_is_not_even_tried(fault: Fault) -> None:
    story = Story()
    refusal = GatewayError(fault, "no")
    story.begin(refusal)
    assert story.progress() == do.Progress(503, refusal)
    assert (story.names[-1], story.call.outcome) == ("Over", fault.label)


@pytest.mark.parametrize(
    ("events", "after", "fault"),
    [
        ((inputs.Refused(GatewayError(Fault.SESSION_ENDED, "over")),), 0.0, Fault.SESSION_ENDED),
        ((inputs.HangUp("draining", "stopping"),), 0.0, Fault.DRAINING),
        ((inputs.SipLost(),), 0.0, Fault.INTERNAL),
        ((inputs.Tick(None),), 5.0, Fault.SERVICE_UNAVAILABLE),
        ((inputs.Resolved("sess_1"), inputs.LegRefused("ports")), 0.0, Fault.CAPACITY),
        ((inputs.Resolved("sess_1"), inputs.Tick(None)), 5.0, Fault.STREAM_NOT_READY),
        ((inputs.Resolved("sess_1"), inputs.StreamOver(None, "stream_lost", "lost")), 0.0, Fault.STREAM_REFUSED),
    ],
)
def test_what_ends_it_before_the_invite_is_sent(events: tuple[inputs.Input, ...], after: float, fault: Fault) -> None:
    story = Story()
    story.begin()
    story.tell(*events, after=after)
    error = story.progress().error
    assert error is not None
    assert error.fault is fault
    assert "Bye" not in story.names
    assert story.call.state in (State.ENDING, State.OVER)


def test_it_rings() -> None:
    story = dialling()
    assert story.tell(inputs.Progressed(180, None)) == [do.Progress(180)]
    assert story.call.state is State.DIALLING


def test_early_media_is_heard_before_the_answer_and_each_fork_may_have_its_own() -> None:
    story = dialling()
    for port in ("40002", "40004"):
        story.tell(inputs.Progressed(183, ANSWER.replace("40000", port)))
        assert story.names == ["Progress", "Configure", "Attach"]
        assert story.done[-1] == do.Attach(early=True)
        assert story.call.settled is not None
        assert str(story.call.settled.remote_port) == port
    assert story.call.answered is None


def test_early_media_that_is_no_answer_only_rings() -> None:
    story = dialling()
    assert story.tell(inputs.Progressed(183, "v=0\r\n")) == [do.Progress(183)]
    assert story.call.unexpected == 1


def test_it_is_answered() -> None:
    story = dialling()
    story.tell(inputs.Progressed(183, EARLY), inputs.Answered(ANSWER), after=2.0)
    assert story.names == ["Configure", "Attach", "Progress"]
    assert story.progress() == do.Progress(200)
    assert story.call.settled is not None
    assert story.call.settled.remote_port == 40000
    assert (story.call.state, story.call.answered, story.call.sip_code) == (State.ACTIVE, 102.0, 200)


def test_a_200_without_an_sdp_goes_by_the_early_one() -> None:
    story = dialling()
    story.tell(inputs.Progressed(183, EARLY), inputs.Answered(None))
    assert story.call.state is State.ACTIVE
    assert story.call.settled is not None
    assert story.call.settled.remote_port == 40002


@pytest.mark.parametrize("sdp", [None, "v=0\r\n", OFFER.replace("0 8 101", "18")])
def test_a_200_that_answers_nothing_is_hung_up(sdp: str | None) -> None:
    story = dialling()
    story.tell(inputs.Answered(sdp))
    assert story.names[:3] == ["Progress", "Bye", "Leave"]
    assert story.call.outcome == "dial_failed"


def test_it_is_refused() -> None:
    story = dialling()
    story.tell(inputs.PeerGone("failed", 486, "Busy Here"))
    error = story.progress().error
    assert error is not None
    assert (error.fault, error.message) == (Fault.DIAL_FAILED, "486 Busy Here")
    assert "Bye" not in story.names
    assert (story.call.outcome, story.call.sip_code) == ("dial_failed", 486)
    assert story.tell(inputs.LegClosed()) == [do.Over()]


def test_nobody_answers() -> None:
    story = dialling()
    assert story.tell(inputs.Tick(None), after=29.9) == []
    story.tell(inputs.Tick(None), after=0.1)
    assert story.names[:3] == ["Progress", "Bye", "Leave"]
    assert story.call.sip_code == 408


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        (inputs.StreamOver(Fault.SESSION_ENDED, "session_ended", "explicit_end"), Fault.SESSION_ENDED),
        (inputs.HangUp("hangup", "done"), Fault.SESSION_ENDED),
        (inputs.HangUp("draining", "stopping"), Fault.DRAINING),
        (inputs.MediaLost(), Fault.CAPACITY),
    ],
)
def test_ringing_is_cancelled(event: inputs.Input, fault: Fault) -> None:
    story = dialling()
    story.tell(inputs.Progressed(180, None), event)
    assert story.names[:3] == ["Progress", "Bye", "Leave"]
    assert story.call.outcome == fault.label
    story.tell(inputs.Answered(ANSWER))  # it was on its way: the stack says BYE
    assert story.done == []
    story.tell(inputs.PeerGone("local", 487), inputs.LegClosed())
    assert story.call.state is State.OVER


def test_a_lost_sip_process_ends_what_rings() -> None:
    story = dialling()
    story.tell(inputs.SipLost())
    assert "Bye" not in story.names
    assert story.call.outcome == "internal"


def test_an_update_while_it_rings_moves_the_early_media() -> None:
    story = dialling()
    story.tell(inputs.Progressed(183, EARLY), inputs.Updated(OFFER.replace("40000", "40006"), ANSWER))
    assert story.names == ["Configure"]


@given(st.lists(st.tuples(st.sampled_from(INPUTS), st.floats(0, 20)), max_size=30))
@settings(max_examples=300)
def test_whatever_happens_each_thing_is_done_once_and_it_ends(events: list[tuple[inputs.Input, float]]) -> None:
    story = Story()
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
    assert names.count("Dial") <= 1
    assert names.count("Bye") <= ("Dial" in names)
    assert names.count("CloseLeg") <= 1
    told = [action for action in done if isinstance(action, do.Progress) and (action.error or action.code == 200)]
    assert len(told) == 1
    assert story.call.outcome in OUTCOMES
    assert not story.call.end_reason or story.call.end_reason in END_REASONS
    assert bool(story.call.end_reason) is (story.call.answered is not None)


def test_a_trunk_that_takes_no_more_is_a_matter_of_capacity() -> None:
    story = dialling()
    story.tell(inputs.PeerGone("limited", 503, "the trunk has as many calls as it may"))
    error = story.progress().error
    assert error is not None
    assert (error.fault, error.message, error.retry_after_s) == (
        Fault.CAPACITY,
        "the trunk has as many calls as it may",
        7,
    )
    assert story.call.outcome == Fault.CAPACITY.label
