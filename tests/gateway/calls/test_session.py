"""A session here: who is in it, who hears what, and how it ends."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from gateway.calls.session import LiveSession, Place
from gateway.calls.timings import Timings
from gateway.config import Config, Logging
from gateway.errors import Fault
from gateway.ops.logs import OncePerCall, make_logger
from gateway.ops.metrics import Metrics
from gateway.stream import messages
from gateway.stream.client import StreamClient
from gateway.stream.connection import Over
from gateway.stream.playout import Report
from gateway.stream.protocol import Bad, MuLaw, PlayAudio
from gateway.stream.pump import Pump, Totals
from rtp import plane as planes
from rtp.control import SetGains
from rtp.engine import Leg
from rtp.plane import Plane
from tests.support.stream_server import until


class FakeClient:
    """The session's stream, written down."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.sender = None
        self.is_open = False
        self.stopped = False
        self.counts: list[int] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def report(self, report: Report) -> None:
        self.sent.append(report)

    def keep(self, message: bytes) -> None:
        self.sent.append(message)

    def speakers(self, count: int) -> None:
        self.counts.append(count)

    def stop(self) -> None:
        self.stopped = True

    @property
    def types(self) -> list[str]:
        return [m.__struct_config__.tag for m in self.sent if not isinstance(m, bytes)]


class FakeCall:
    def __init__(self, name: str) -> None:
        self.call_id = f"call_{name}"
        self.timings = Timings()
        self.heard: list[Any] = []

    def joined(self, speaker: str) -> messages.CallJoined:
        return messages.CallJoined(speaker, self.call_id)

    def left(self, speaker: str, reason: str) -> messages.CallLeft:
        return messages.CallLeft(speaker, self.call_id, reason)

    def stream_ready(self, speaker: str) -> None:
        self.heard.append(("ready", speaker))

    def stream_over(self, over: Over) -> None:
        self.heard.append(over)

    def send_digits(self, digits: str) -> None:
        self.heard.append(("digits", digits))

    def transfer(self, to: str) -> None:
        self.heard.append(("transfer", to))

    def hang_up(self, reason: str) -> None:
        self.heard.append(("hang up", reason))


class Rig:
    def __init__(self, config: dict[str, Any] | None = None) -> None:
        settings = Config.model_validate({"media": {"capacity": 4}} | (config or {}))
        fd = planes.create(4)
        self.plane = Plane(fd, 4)
        os.close(fd)
        self.metrics = Metrics()
        self.gains: list[SetGains] = []
        self.lines = io.StringIO()
        totals = Totals()
        self.totals = totals
        log = make_logger(Logging(format="json"), "test", self.lines)
        self.pump = Pump(self.plane, 20, totals)
        self.summoned: list[tuple[str, messages.CallDial]] = []
        place = Place(
            settings,
            self.plane,
            self.pump,
            self.gains.append,
            totals,
            self.metrics,
            log,
            OncePerCall(),
            lambda session_id, message, tell: self.summoned.append((session_id, message)),
        )
        self.client = FakeClient()
        self.ended: list[tuple[str, str]] = []
        self.gone: list[LiveSession] = []
        self.session = LiveSession(
            "sess_1",
            "",
            place,
            lambda owner: cast(StreamClient, self.client),
            lambda session_id, reason: self.ended.append((session_id, reason)),
            self.gone.append,
        )

    def open(self, mode: str = "bidirectional_translation") -> None:
        self.client.is_open = True
        self.session.stream_open(messages.SessionReady("sess_1", mode), again=False)

    def attached(self, name: str, row: int, asked: str | None = None) -> FakeCall:
        call = FakeCall(name)
        speaker = self.session.join(call, asked)
        self.session.attach(speaker, Leg(row, row + 100, 16384 + 2 * row))
        return call

    def play(self, audio: bytes, target: str | None = None, speaker: str = "x") -> None:
        self.session.stream_play(PlayAudio(speaker, MuLaw(audio), target))

    def written(self) -> list[int]:
        return [int(n) for n in self.plane.written]


def run(story: Callable[[Rig], Coroutine[Any, Any, None]], config: dict[str, Any] | None = None) -> None:
    async def main() -> None:
        await story(Rig(config))

    asyncio.run(main())


def test_those_who_wait_are_told_and_those_who_come_later_too() -> None:
    async def story(rig: Rig) -> None:
        early, late, left = FakeCall("a"), FakeCall("b"), FakeCall("c")
        assert rig.session.join(early, None) == "customer"
        rig.open()
        assert rig.session.mode == "bidirectional_translation"
        assert early.heard == [("ready", "customer")]
        assert rig.session.join(late, "agent") == "agent"
        assert rig.session.join(left, None) == "participant-3"
        rig.session.leave("participant-3", "cancelled")
        await until(lambda: late.heard)
        assert late.heard == [("ready", "agent")]
        assert left.heard == []
        assert rig.client.counts == [1, 2, 3, 2]
        rig.session.stream_open(messages.SessionReady("sess_1"), again=True)
        assert len(early.heard) == 1

    run(story)


def test_audio_goes_to_its_target_and_without_one_to_all_but_the_speaker() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        rig.attached("a", 0)
        rig.play(b"12", "customer")
        assert rig.written() == [2, 0, 0, 0]
        rig.attached("b", 2)
        rig.play(b"123", speaker="agent")
        rig.play(b"1234", speaker="somebody")
        rig.play(b"1", "agent")
        assert rig.written() == [9, 0, 5, 0]
        rig.play(b"12345", "elsewhere")
        assert (
            rig.metrics.registry.get_sample_value("glotgate_stream_frames_dropped_total", {"reason": "no_such_target"})
            == 1
        )
        assert (rig.totals.frames_received, rig.totals.audio_received) == (5, 15)

    run(story)


def test_names_that_a_peer_invents_are_forgotten() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        rig.attached("a", 0)
        for i in range(1000):
            rig.play(b"1", "customer", speaker=f"s{i}")
        assert rig.written()[0] == 1000
        assert len(rig.session._routes) <= 64

    run(story)


def test_more_than_the_ring_holds_is_topped_up() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        rig.attached("a", 0)
        rig.play(bytes(40_000), "customer")
        assert rig.written()[0] == 32768
        assert rig.session.queued_ms() == 5000
        rig.plane.consumed[0] = 20_000
        rig.pump.upkeep()
        assert rig.written()[0] == 40_000

    run(story)


def test_clear_and_mark_with_and_without_a_target() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        rig.attached("a", 0)
        rig.attached("b", 1)
        rig.play(bytes(800))
        rig.session.stream_message(messages.Mark("m", "agent"))
        rig.session.stream_message(messages.AudioClear())
        assert [int(n) for n in rig.plane.flush_to] == [800, 800, 0, 0]
        for row in (0, 1):
            rig.plane.consumed[row] = rig.plane.dropped[row] = rig.plane.flushed[row] = 800
        rig.pump.upkeep()
        cleared = {m.target: m for m in rig.client.sent if isinstance(m, messages.AudioCleared)}
        assert cleared["customer"] == messages.AudioCleared("customer", 0, 100, [])
        assert cleared["agent"] == messages.AudioCleared("agent", 0, 100, ["m"])
        rig.session.stream_message(messages.AudioClear("nobody"))
        rig.session.stream_message(messages.Mark("m", "nobody"))

    run(story)


def test_requests_reach_their_leg() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        call = rig.attached("a", 0)
        rig.session.stream_message(messages.DtmfSend("customer", "1"))
        rig.session.stream_message(messages.CallTransfer("customer", "sip:x"))
        rig.session.stream_message(messages.CallHangup("customer"))
        rig.session.stream_message(messages.CallHangup("nobody"))
        rig.session.stream_message(messages.Pong())
        assert call.heard == [("digits", "1"), ("transfer", "sip:x"), ("hang up", "call.hangup")]
        assert isinstance(rig.client.sent[-1], messages.CallError)
        assert rig.client.sent[-1].code == "unknown_target"

    run(story)


def test_an_order_to_dial_is_for_this_session() -> None:
    async def story(rig: Rig) -> None:
        order = messages.CallDial("d1", "200")
        rig.session.stream_message(order)
        assert rig.summoned == [("sess_1", order)]

    run(story)


def test_one_leg_needs_no_mix_two_do_and_the_last_one_hears_nobody() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        rig.attached("a", 0)
        assert rig.gains == []
        rig.attached("b", 1)
        assert [(g.row, [s[0] for s in g.sources]) for g in rig.gains] == [(0, [1]), (1, [0])]
        rig.gains.clear()
        rig.session.leave("customer", "peer_bye")
        assert [(g.row, g.sources) for g in rig.gains] == [(1, [])]

    run(story)


def test_a_session_that_acts_as_another_is_mixed_anew() -> None:
    async def story(rig: Rig) -> None:
        rig.open("ai_agent")
        rig.attached("a", 0)
        rig.attached("b", 1)
        assert [source[2] for g in rig.gains for source in g.sources] == [1.0, 1.0]
        rig.gains.clear()
        rig.session.stream_message(messages.SessionMode("sess_1", "bidirectional_translation"))
        rig.session.stream_message(messages.SessionMode("sess_1", "bidirectional_translation"))
        assert [round(source[2], 3) for g in rig.gains for source in g.sources] == [0.126, 0.126]
        rig.gains.clear()
        rig.session.stream_open(messages.SessionReady("sess_1", "ai_agent"), again=True)  # meanwhile it was taken back
        assert [source[2] for g in rig.gains for source in g.sources] == [1.0, 1.0]

    run(story)


def test_where_the_time_went_is_added_to_the_call_that_spoke() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        customer, agent = rig.attached("a", 0), rig.attached("b", 1)
        for speaker in ("customer", "nobody"):
            rig.session.stream_message(messages.TurnTiming("sess_1", "seg_1", speaker, {"heard": 700}))
        assert agent.timings.summary() is None
        told = customer.timings.summary()
        assert told == {"turns": 1, "timing_ms": {"heard": {"count": 1, "p50": 700, "max": 700}}}

    run(story)


def test_a_leg_that_leaves_says_what_was_cut_off() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        rig.attached("a", 0)
        rig.attached("b", 1)
        rig.play(bytes(800), "customer")
        rig.session.leave("customer", "peer_bye")
        assert rig.client.sent[-2:] == [
            messages.AudioCleared("customer", 0, 100, []),
            messages.CallLeft("customer", "call_a", "peer_bye"),
        ]
        value = rig.metrics.registry.get_sample_value("glotgate_playout_dropped_seconds_total", {"reason": "leg_ended"})
        assert value == pytest.approx(0.1)
        rig.session.leave("customer", "peer_bye")  # twice is once
        assert rig.client.types.count("call.left") == 1
        assert not rig.gone

    run(story)


@pytest.mark.parametrize(
    ("on_last_leg", "stream_up", "end_sent", "ended_there"),
    [("end", True, True, False), ("end", False, False, True), ("keep", True, False, False)],
)
def test_the_last_leg(on_last_leg: str, stream_up: bool, end_sent: bool, ended_there: bool) -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        rig.client.is_open = stream_up
        rig.attached("a", 0)
        rig.session.leave("customer", "peer_bye")
        assert ("session.end" in rig.client.types) is end_sent
        assert rig.ended == ([("sess_1", "peer_bye")] if ended_there else [])
        assert rig.session.ending
        if end_sent:
            assert not rig.gone
            rig.session.stream_over(Over(Fault.SESSION_ENDED, "session_ended", "explicit_end"))
        assert rig.gone == [rig.session]
        assert rig.client.stopped

    run(story, {"sessions": {"on_last_leg": on_last_leg}})


def test_a_session_end_that_nobody_answers_is_asked_of_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.calls.session.END_TIMEOUT_S", 0.01)

    async def story(rig: Rig) -> None:
        rig.open()
        rig.attached("a", 0)
        rig.session.leave("customer", "peer_bye")
        await until(lambda: rig.gone)
        assert rig.ended == [("sess_1", "peer_bye")]

    run(story)


def test_a_leg_that_never_was_answered_ends_no_session() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        rig.session.join(FakeCall("a"), None)
        rig.session.leave("customer", "cancelled")
        assert rig.client.sent == []
        assert rig.ended == []
        assert rig.gone == [rig.session]

    run(story)


def test_everyone_is_told_when_the_stream_is_over() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        calls = [rig.attached("a", 0), rig.attached("b", 1)]
        over = Over(Fault.SESSION_ENDED, "session_ended", "timeout")
        rig.session.stream_over(over)
        assert [call.heard[-1] for call in calls] == [over, over]
        assert rig.gone == [rig.session]
        assert rig.session.members == 0
        rig.session.abandon()
        assert len(rig.gone) == 1

    run(story)


def test_bad_messages_are_counted_and_logged_once() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(3):
            rig.session.stream_bad(Bad.NOT_JSON)
        value = rig.metrics.registry.get_sample_value("glotgate_stream_bad_messages_total", {"cause": "not_json"})
        assert value == 3
        assert rig.lines.getvalue().count("stream_message_refused") == 1

    run(story)


def test_frames_that_were_under_way_are_taken_again() -> None:
    async def story(rig: Rig) -> None:
        rig.open()
        rig.attached("a", 0)
        rig.plane.uplink_head[0] = 6
        rig.pump.wake()
        assert len([m for m in rig.client.sent if isinstance(m, bytes)]) == 6
        rig.session.stream_lost(4)
        assert len([m for m in rig.client.sent if isinstance(m, bytes)]) == 10

    run(story)
