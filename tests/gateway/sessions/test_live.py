"""gateway/sessions/live.py"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions import live as module
from gateway.sessions.lifecycle import Lifecycle, Limits, Status
from gateway.sessions.live import LiveSession
from gateway.sessions.store import Session
from gateway.sessions.transcripts import Turn
from gateway.speech.interpreter import Sink
from tests.support.session_service import audio_input


def record() -> Session:
    return Session(
        id="sess_01M7XARNY7FYAK3YZEAQH7K0E1", organization_id="org", node="main", status="created",
        mode="help_chat_voice", source_language="en", target_language=None, phone_number=None, provider=None,
        options={"transcription": {"enabled": True, "partials": True}},
        webhook_url=None, metadata={}, call=None, created_at=0.0, active_at=0.0,
    )  # fmt: skip


class FakePeer:
    def __init__(self) -> None:
        self.faults = 0
        self.speakers: set[str] = set()
        self.sent: list[dict[str, Any]] = []
        self.closed: list[int] = []

    def send(self, message: bytes, *, audio: bool = False) -> None:
        self.sent.append(msgspec.json.decode(message))
        assert audio == (self.sent[-1]["type"] == "audio.output")

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)

    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]


class FakeInterpreter:
    """Notes what it is told."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.told: list[tuple[Any, ...]] = []

    def joined(self, speaker: str) -> None:
        self.told.append(("joined", speaker))

    def left(self, speaker: str) -> None:
        self.told.append(("left", speaker))

    def audio(self, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        self.told.append(("audio", speaker, timestamp_ms, mulaw))

    def played(self, target: str, mark: str) -> None:
        self.told.append(("played", target, mark))

    def cleared(self, target: str, played_ms: int, dropped_ms: int) -> None:
        self.told.append(("cleared", target, played_ms, dropped_ms))

    def refused(self, target: str, message: str) -> None:
        self.told.append(("refused", target, message))

    def close(self) -> None:
        self.told.append(("close",))


class FakeObserver:
    def __init__(self) -> None:
        self.statuses: list[str] = []
        self.heard_ms: list[int] = []
        self.said_octets: list[int] = []
        self.notes: list[msgspec.Struct] = []
        self.turns: list[Turn] = []
        self.working: list[bool] = []
        self.modes: list[str] = []
        self.now = 10.0
        self.settlements: list[tuple[str, tuple[str, str] | None, dict[str, Any]]] = []
        self.counts: list[int] = []

    def changed(self, live: LiveSession, before: Status) -> None:
        self.statuses.append(f"{before}>{live.lifecycle.status}")

    def heard(self, live: LiveSession, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        self.heard_ms.append(timestamp_ms)

    def said(self, live: LiveSession, speaker: str, target: str | None, at_ms: int, mulaw: bytes) -> None:
        self.said_octets.append(len(mulaw))

    def spoken(self, live: LiveSession, turn: Turn) -> None:
        self.turns.append(turn)

    def settled(
        self, live: LiveSession, segment_id: str, translation: tuple[str, str] | None, metadata: dict[str, Any]
    ) -> None:
        self.settlements.append((segment_id, translation, metadata))

    def acts(self, live: LiveSession) -> None:
        live.count_translation(self.now)
        self.modes.append(live.mode)

    def processing(self, live: LiveSession, running: bool) -> None:
        self.working.append(running)

    def streams(self, live: LiveSession, count: int) -> None:
        self.counts.append(count)

    def noted(self, live: LiveSession, message: msgspec.Struct) -> None:
        self.notes.append(message)


class Scene:
    def __init__(self) -> None:
        self.observer = FakeObserver()
        lifecycle = Lifecycle(Limits(), alive_at=0.0)
        self.interpreters: list[FakeInterpreter] = []

        def make(sink: Sink) -> FakeInterpreter:
            self.interpreters.append(FakeInterpreter(sink))
            return self.interpreters[0]

        self.live = LiveSession(record(), lifecycle, self.observer, make)
        self.interpreter = self.interpreters[0]

    def join(self) -> FakePeer:
        peer = FakePeer()
        self.live.attach(peer, 1.0)
        return peer

    def tell(self, peer: FakePeer, message: Any, now: float = 2.0) -> None:
        text = message if isinstance(message, bytes) else msgspec.json.encode(message)
        self.live.receive(peer, memoryview(text), now)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_ready_comes_first(scene: Scene) -> None:
    peer = scene.join()
    assert peer.sent == [
        {"type": "session.ready", "session_id": scene.live.id, "mode": "help_chat_voice", "source_language": "en",
         "target_language": None}
    ]  # fmt: skip
    assert scene.observer.statuses == ["created>connecting"]


def test_the_first_audio_makes_it_active(scene: Scene) -> None:
    peer = scene.join()
    for sequence in range(3):
        scene.tell(peer, audio_input("customer", sequence, b"\x55" * 160))
    assert scene.observer.statuses == ["created>connecting", "connecting>active"]
    assert scene.interpreter.told[0] == ("joined", "customer")
    assert scene.interpreter.told[1:] == [("audio", "customer", n * 20, b"\x55" * 160) for n in range(3)]
    assert scene.observer.heard_ms == [0, 20, 40]


def test_a_replay_is_heard_once(scene: Scene) -> None:
    first, second = scene.join(), scene.join()
    for sequence in range(5):
        scene.tell(first, audio_input("customer", sequence, b"\x01"))
    scene.live.detach(first, 3.0)
    for sequence in range(2, 8):
        scene.tell(second, audio_input("customer", sequence, b"\x01"))
    assert scene.observer.heard_ms == [n * 20 for n in range(8)]
    assert scene.live.counts["replayed"] == 3


def test_a_new_leg_counts_from_its_beginning(scene: Scene) -> None:
    peer = scene.join()
    scene.tell(peer, audio_input("customer", 0, b"\x01"))
    scene.tell(peer, {"type": "call.left", "speaker": "customer", "call_id": "call_1"})
    scene.tell(peer, {"type": "call.joined", "speaker": "customer", "call_id": "call_2"})
    scene.tell(peer, audio_input("customer", 0, b"\x01"))
    assert scene.observer.heard_ms == [0, 0]
    assert ("left", "customer") in scene.interpreter.told


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", "invalid_message"),
        (b"not json", "invalid_message"),
        (b"[]", "invalid_message"),
        (b"{}", "invalid_message"),
        (b'{"type":"nobody.knows"}', "invalid_message"),
        (b'{"type":"audio.input"}', "invalid_message"),
        (b"\xff\xfe", "invalid_message"),
        (b"[" * 60_000, "invalid_message"),
        (audio_input("customer", -1, b"x"), "invalid_message"),
        (audio_input("customer", 2**60, b"x"), "invalid_message"),
        (audio_input("customer", 1, b"x", -5), "invalid_message"),
        (audio_input("", 1, b"x"), "invalid_message"),
        (audio_input("s" * 65, 1, b"x"), "invalid_message"),
        (audio_input("c", 1, b"") | {"audio": {"encoding": "mulaw", "sample_rate_hz": 8000, "payload": "*"}},
         "invalid_message"),
        (audio_input("c", 1, b"") | {"audio": {"encoding": "mulaw", "sample_rate_hz": 8000, "payload": 5}},
         "invalid_message"),
        (audio_input("c", 1, b"") | {"audio": {"encoding": "opus", "sample_rate_hz": 8000, "payload": ""}},
         "invalid_audio_format"),
        (audio_input("c", 1, b"") | {"audio": {"encoding": "mulaw", "sample_rate_hz": 16000, "payload": ""}},
         "invalid_audio_format"),
    ],
)  # fmt: skip
def test_bad_messages_are_answered_and_the_stream_stays(scene: Scene, message: Any, code: str) -> None:
    peer = scene.join()
    scene.tell(peer, message)
    error = peer.sent[-1]
    assert (error["type"], error["code"], error["error"]["code"]) == ("session.error", code, code)
    assert error["session_id"] == scene.live.id
    assert peer.closed == []
    scene.tell(peer, {"type": "ping"})
    assert peer.sent[-1] == {"type": "pong", "session_id": scene.live.id}


def test_enough_bad_messages_close_the_stream(scene: Scene) -> None:
    peer = scene.join()
    for _ in range(module.MAX_FAULTS):
        scene.tell(peer, b"{")
    assert peer.closed == [1008]


@given(st.binary(max_size=200))
def test_no_octets_raise(text: bytes) -> None:
    scene = Scene()
    scene.tell(scene.join(), text)


def test_beyond_the_bounds_is_refused(scene: Scene) -> None:
    peer = scene.join()
    joined = {"type": "call.joined", "speaker": "customer", "call_id": "c" * 501}
    for message in (joined, joined | {"speaker": "a\0", "call_id": "c"}, audio_input("a\0b", 0, b"\x01")):
        scene.tell(peer, message)
        assert peer.sent[-1]["code"] == "invalid_message"
    assert not scene.live.calls
    assert not scene.live.speakers


def test_too_many_speakers(scene: Scene) -> None:
    peer = scene.join()
    for number in range(module.MAX_SPEAKERS + 1):
        scene.tell(peer, audio_input(f"participant-{number}", 0, b"\x01"))
    assert len(scene.live.speakers) == module.MAX_SPEAKERS
    assert peer.types().count("session.error") == 1


def test_session_end_is_told_to_all_and_closes_all(scene: Scene) -> None:
    first, second = scene.join(), scene.join()
    scene.tell(first, {"type": "session.end"}, now=9.0)
    for peer in (first, second):
        assert peer.sent[-1] == {
            "type": "session.ended", "session_id": scene.live.id, "reason": "explicit_end",
        }  # fmt: skip
        assert peer.closed == [1000]
    assert scene.live.lifecycle.status is Status.ENDING
    assert not scene.live.end("again", 10.0)
    scene.tell(first, audio_input("customer", 1, b"\x01"))
    assert scene.observer.heard_ms == []
    assert scene.interpreter.told.count(("close",)) == 1


def test_interpreter_audio_is_cut_to_frames_a_client_takes(scene: Scene) -> None:
    peer = scene.join()
    octets = bytes(range(256)) * 30  # 960 ms
    scene.interpreter.sink.audio("customer", "agent", 500, octets)
    outputs = [message for message in peer.sent if message["type"] == "audio.output"]
    assert [o["timestamp_ms"] for o in outputs] == [500, 900, 1300]
    assert [o["sequence"] for o in outputs] == [1, 2, 3]
    assert {(o["speaker"], o["target"], o["session_id"]) for o in outputs} == {("customer", "agent", scene.live.id)}
    assert scene.observer.said_octets == [3200, 3200, 1280]


def test_without_a_target_none_is_sent(scene: Scene) -> None:
    peer = scene.join()
    scene.interpreter.sink.audio("customer", None, 0, b"\x01")
    assert "target" not in peer.sent[-1]
    assert peer.sent[-1]["timestamp_ms"] == 0


def test_transcripts_go_out_as_the_contract_says(scene: Scene) -> None:
    peer = scene.join()
    sink = scene.interpreter.sink
    sink.partial("seg_1", "customer", "en", "good mor", 40)
    sink.final("seg_1", "customer", "en", "good morning", 40, 900, 0.9, ("es", "buenos días"))
    sink.final("seg_2", "customer", "en", "yes", 950, 1000, 0.8, None)
    sink.clear("agent")
    sink.failed("internal_error", "the engine is away")
    common = {"session_id": scene.live.id, "speaker": "customer", "language": "en"}
    assert peer.sent[1:] == [
        {"type": "transcript.partial", "segment_id": "seg_1", "text": "good mor", "timestamp_ms": 40} | common,
        {"type": "transcript.final", "segment_id": "seg_1", "text": "good morning", "timestamp_ms": 40,
         "confidence": 0.9, "translation": {"language": "es", "text": "buenos días"}} | common,
        {"type": "transcript.final", "segment_id": "seg_2", "text": "yes", "timestamp_ms": 950,
         "confidence": 0.8} | common,
        {"type": "audio.clear", "target": "agent"},
        {"type": "session.error", "code": "internal_error", "message": "the engine is away",
         "session_id": scene.live.id, "error": {"code": "internal_error", "message": "the engine is away"}},
    ]  # fmt: skip


def test_a_stream_that_goes_takes_its_speakers_but_not_the_last_one(scene: Scene) -> None:
    phone, browser = scene.join(), scene.join()
    scene.tell(phone, audio_input("customer", 0, b"\x01"))
    scene.tell(browser, audio_input("agent", 0, b"\x01"))
    scene.live.detach(browser, 5.0)
    assert scene.interpreter.told[-1] == ("left", "agent")
    assert scene.live.lifecycle.detached_at is None
    scene.live.detach(phone, 6.0)
    scene.live.detach(phone, 7.0)
    assert scene.interpreter.told[-1] == ("left", "agent")
    assert scene.live.lifecycle.detached_at == 6.0


def test_what_belongs_in_the_timeline_is_noted(scene: Scene) -> None:
    peer = scene.join()
    for message in (
        {"type": "dtmf", "speaker": "customer", "digit": "5", "duration_ms": 100},
        {"type": "audio.cleared", "target": "agent", "played_ms": 10, "dropped_ms": 20, "marks": ["m"]},
        {"type": "call.held", "speaker": "customer", "call_id": "call_1"},
    ):
        scene.tell(peer, message, now=77.0)
    assert [type(note).__name__ for note in scene.observer.notes] == ["Dtmf", "AudioCleared", "CallHeld"]
    assert scene.live.lifecycle.alive_at == 77.0


def test_what_was_heard_is_told_to_the_interpreter(scene: Scene) -> None:
    peer = scene.join()
    scene.interpreter.sink.mark("customer", "turn-1")
    assert peer.sent[-1] == {"type": "mark", "name": "turn-1", "target": "customer"}
    scene.tell(peer, {"type": "mark.played", "name": "turn-1", "target": "customer"})
    cleared = {"type": "audio.cleared", "target": "customer", "played_ms": 40, "dropped_ms": 60, "marks": ["turn-2"]}
    scene.tell(peer, cleared)
    scene.tell(peer, {"type": "call.error", "target": "customer", "code": "transfer_failed", "message": "486"})
    assert scene.interpreter.told == [
        ("played", "customer", "turn-1"), ("cleared", "customer", 40, 60), ("refused", "customer", "486"),
    ]  # fmt: skip


def test_a_settled_turn_is_told_again_only_when_it_was_interrupted(scene: Scene) -> None:
    peer = scene.join()
    sink = scene.interpreter.sink
    for number, metadata in enumerate(({"timing_ms": {"heard": 700}}, {"interrupted": True})):
        sink.final(f"seg_{number}", "agent", "en", "one two", 0, 900, 0.9, ("es", "uno dos"))
        sink.settled(f"seg_{number}", ("es", "uno"), metadata)
        sink.settled(f"seg_{number}", ("es", "uno"), metadata)  # known no more
    assert [segment for segment, _, _ in scene.observer.settlements] == ["seg_0", "seg_1"]
    finals = [one["translation"]["text"] for one in peer.sent if one["type"] == "transcript.final"]
    assert finals == ["uno dos", "uno dos", "uno"]


def test_turns_that_wait_to_be_settled_are_bounded(scene: Scene) -> None:
    sink = scene.interpreter.sink
    for number in range(module.OPEN_FINALS + 1):
        sink.final(f"seg_{number}", "agent", "en", "x", 0, 1, 1.0, None)
    sink.settled("seg_0", None, {})
    assert scene.observer.settlements == []


def test_where_the_time_went_goes_to_the_streams_transcribed_or_not(scene: Scene) -> None:
    peer = scene.join()
    scene.live.record.options["transcription"]["enabled"] = False
    scene.interpreter.sink.timed("seg_1", "customer", {"final": 300, "heard": 900})
    assert peer.sent[-1] == {
        "type": "turn.timing", "session_id": scene.live.id, "segment_id": "seg_1", "speaker": "customer",
        "timing_ms": {"final": 300, "heard": 900},
    }  # fmt: skip


def test_a_session_that_acts_as_another_says_so_and_counts_translation(scene: Scene) -> None:
    peer = scene.join()
    scene.tell(peer, audio_input("customer", 0, b"\x01"))
    scene.interpreter.sink.acts_as("bidirectional_translation")
    told = {"type": "session.mode", "session_id": scene.live.id, "mode": "bidirectional_translation"}
    assert peer.sent[-1] == told
    assert scene.join().sent[0]["mode"] == "bidirectional_translation"
    scene.observer.now = 17.0
    scene.interpreter.sink.acts_as(None)
    assert peer.sent[-1] == told | {"mode": "help_chat_voice"}
    assert scene.live.translation.total(99.0) == 7.0
    assert scene.observer.modes == ["bidirectional_translation", "help_chat_voice"]
    assert scene.live.record.mode == "help_chat_voice"


def test_the_interpreter_acts_on_calls(scene: Scene) -> None:
    peer = scene.join()
    scene.interpreter.sink.transfer("customer", "sip:600@pbx.example.com")
    scene.interpreter.sink.end_call("customer", "agent said goodbye")
    assert peer.sent[1:] == [
        {"type": "call.transfer", "target": "customer", "to": "sip:600@pbx.example.com"},
        {"type": "call.hangup", "target": "customer", "reason": "agent said goodbye"},
    ]


def test_what_else_is_said_of_a_turn_goes_to_the_transcript(scene: Scene) -> None:
    peer = scene.join()
    scene.interpreter.sink.final("seg_1", "agent", "en", "nine", 0, 1, 1.0, None, {"sources": ["hours.md"]})
    assert scene.observer.turns[0].metadata == {"sources": ["hours.md"]}
    assert "metadata" not in peer.sent[-1]
