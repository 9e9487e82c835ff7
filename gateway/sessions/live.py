"""One session at run time: its streams, its speakers, its interpreter. Sans-IO, time as an argument.

Owns what a stream message means and what goes back (contract §2). A stream is a `Peer`, which the rim
implements; what the database must know goes to an `Observer`. Bad input is answered and counted, never
an exception. Knows no socket, no SQL and no clock.
"""

from __future__ import annotations

import binascii
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.sessions import bounds, relay
from gateway.sessions.ends import Observer, Peer
from gateway.sessions.lifecycle import Event, Lifecycle, Status
from gateway.sessions.sequence import Sequence
from gateway.sessions.store import Session
from gateway.sessions.transcripts import Turn, words
from gateway.sessions.usage import TRANSLATING, UsageClock
from gateway.speech.interpreter import OCTETS_PER_MS, Interpreter, Sink
from gateway.stream import messages as m

#: Parties of one session; more is a client gone wrong.
MAX_SPEAKERS: Final = 16
#: Octets of one `audio.output`: 400 ms. The receiver's limit is 64 KiB a frame.
CHUNK: Final = 400 * OCTETS_PER_MS
#: Bad messages of one stream after which it is closed.
MAX_FAULTS: Final = 100
#: Turns that may wait to be settled.
OPEN_FINALS: Final = 256

_decoder: Final = msgspec.json.Decoder(m.ClientMessage)
_encode: Final = msgspec.json.Encoder().encode

#: WebSocket close codes used here (RFC 6455 §7.4.1).
CLOSE_NORMAL: Final = 1000
CLOSE_POLICY: Final = 1008
CLOSE_INTERNAL: Final = 1011


class LiveSession:
    """A session that has not ended."""

    def __init__(
        self,
        record: Session,
        lifecycle: Lifecycle,
        observer: Observer,
        interpreter: Callable[[Sink], Interpreter],
    ) -> None:
        self.record = record
        self.lifecycle = lifecycle
        self.id: Final = record.id
        self.peers: list[Peer] = []
        self.speakers: dict[str, Sequence] = {}
        self.calls: dict[str, str] = {}  # by speaker: the call that it speaks through
        self.ringing: dict[str, str] = {}  # by call, of those that were placed and not answered yet: its speaker
        self.counts: Counter[str] = Counter()
        self.mode = record.mode  # as it acts now: after a hand-over it may be another than the one it was made with
        self.translation = UsageClock(record.translation_seconds)
        self.agent = UsageClock(record.ai_agent_seconds)
        self._transcribe = record.options["transcription"]
        self._observer = observer
        self._sequence = 0
        self._finals: dict[str, m.TranscriptFinal] = {}  # told, and not settled
        self._interpreter = interpreter(self)

    # ---- streams -----------------------------------------------------------------------------------

    def attach(self, peer: Peer, now: float) -> None:
        """A stream has connected, its token checked."""
        self.peers.append(peer)
        record = self.record
        self._step(Event.ATTACHED, now)
        # A language that is to be detected is told as null; the struct, made for readers, would leave it out.
        ready = {
            "type": "session.ready",
            "session_id": self.id,
            "mode": self.mode,
            "source_language": record.source_language,
            "target_language": record.target_language,
        }
        peer.send(_encode(ready))
        self._observer.streams(self, len(self.peers))

    def detach(self, peer: Peer, now: float) -> None:
        """A stream has gone, however it went."""
        if peer not in self.peers:
            return
        self.peers.remove(peer)
        if self.peers:
            for speaker in peer.speakers:
                self._interpreter.left(speaker)
        else:
            # The last one: its speakers may come back with a new connection, and nobody hears anyhow.
            self._step(Event.DETACHED, now)
        if not self.has_ended:
            self._observer.streams(self, len(self.peers))

    def receive(self, peer: Peer, text: bytes | memoryview, now: float) -> None:
        """One text message of a stream."""
        try:
            message = _decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(peer, "invalid_message", str(error))
            return
        self.handle(peer, message, now)

    def handle(self, peer: Peer, message: m.ClientMessage, now: float) -> None:
        """One message that is decoded already."""
        if type(message) is not m.AudioInput and (wrong := bounds.fault(message)) is not None:
            self._refuse(peer, "invalid_message", wrong)
            return
        _HANDLERS.get(type(message), LiveSession._on_other)(self, peer, message, now)

    def free_speaker(self, wanted: str) -> str:
        """The name of a leg that did not say who speaks (contract §4): as wanted, else the next that is free."""
        if wanted:
            return wanted
        names = ["customer", "agent", *(f"participant-{n}" for n in range(3, MAX_SPEAKERS + 3))]
        return next(name for name in names if name not in self.speakers)

    def speaker_of(self, call_id: str) -> str | None:
        """Who speaks, or is to speak, through a call; None: there is no such call."""
        joined = next((speaker for speaker, joined in self.calls.items() if joined == call_id), None)
        return joined or self.ringing.get(call_id)

    def count_translation(self, now: float) -> None:
        """Let the clock of `usage.translation_seconds` run, or stand."""
        translating = self.lifecycle.status is Status.ACTIVE and bool(self.peers)
        self.translation.run(translating and self.mode in TRANSLATING, now)

    def warn(self, peer: Peer, code: str, message: str) -> None:
        """Tell one stream of a fault; it stays open."""
        self.counts[code] += 1
        peer.send(_encode(m.SessionError(code, message, self.id, {"code": code, "message": message})))

    # ---- the end -----------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """It is ending or has ended: no stream is admitted any more."""
        return self.lifecycle.status in (Status.ENDING, Status.ENDED)

    def end(self, reason: str, now: float, *, told: str | None = None) -> bool:
        """Begin to end; the observer finalizes. told: the `reason` that streams are told."""
        if self.has_ended:
            return False
        self._interpreter.close()
        self._step(Event.END, now, reason)
        self._broadcast(m.SessionEnded(self.id, told or reason))
        for peer in tuple(self.peers):
            peer.close(CLOSE_NORMAL, "session ended")
        return True

    def suspend(self, code: int, reason: str) -> None:
        """Close the streams, not the session: the service stops and another process goes on with it."""
        for peer in tuple(self.peers):
            peer.close(code, reason)

    # ---- what the interpreter says (Sink) ----------------------------------------------------------

    def audio(self, speaker: str, target: str | None, timestamp_ms: int, mulaw: bytes) -> None:
        for start in range(0, len(mulaw), CHUNK):
            chunk = mulaw[start : start + CHUNK]
            at_ms = timestamp_ms + start // OCTETS_PER_MS
            self._observer.said(self, speaker, target, at_ms, chunk)
            self._sequence += 1
            payload = binascii.b2a_base64(chunk, newline=False).decode()
            self._broadcast(
                m.AudioOutput(speaker, m.Audio(payload), self.id, self._sequence, at_ms, target), audio=True
            )

    def clear(self, target: str | None) -> None:
        self._broadcast(m.AudioClear(target))

    def mark(self, target: str, name: str) -> None:
        self._broadcast(m.Mark(name, target))

    def partial(self, segment_id: str, speaker: str, language: str, text: str, timestamp_ms: int) -> None:
        if self._transcribe["enabled"] and self._transcribe["partials"]:
            self._broadcast(m.TranscriptPartial(self.id, segment_id, speaker, language, text, timestamp_ms))

    def final(
        self,
        segment_id: str,
        speaker: str,
        language: str,
        text: str,
        start_ms: int,
        end_ms: int,
        confidence: float,
        translation: tuple[str, str] | None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if not self._transcribe["enabled"]:
            return
        translated = None if translation is None else m.Translation(*translation)
        message = m.TranscriptFinal(self.id, segment_id, speaker, language, text, start_ms, confidence, translated)
        turn = Turn(segment_id, speaker, language, text, confidence, start_ms, end_ms, 0.0, metadata=metadata)
        if translation is not None:
            turn.translation_language, turn.translation_text = translation
        self._finals[segment_id] = message
        if len(self._finals) > OPEN_FINALS:
            del self._finals[next(iter(self._finals))]
        self.record.word_count += words(text)
        self._observer.spoken(self, turn)
        self._broadcast(message)

    def settled(self, segment_id: str, translation: tuple[str, str] | None, metadata: dict[str, Any]) -> None:
        message = self._finals.pop(segment_id, None)
        if message is None:
            return
        self._observer.settled(self, segment_id, translation, metadata)
        if metadata.get("interrupted") and translation is not None:
            message.translation = m.Translation(*translation)
            self._broadcast(message)

    def timed(self, segment_id: str, speaker: str, timing_ms: dict[str, int]) -> None:
        self._broadcast(m.TurnTiming(self.id, segment_id, speaker, timing_ms))

    def acts_as(self, mode: str | None) -> None:
        self.mode = mode or self.record.mode
        self._observer.acts(self)
        if not self.has_ended:
            self._broadcast(m.SessionMode(self.id, self.mode))

    def processing(self, running: bool) -> None:
        self._observer.processing(self, running)

    def transfer(self, target: str, to: str) -> None:
        self._broadcast(m.CallTransfer(target, to))

    def end_call(self, target: str, reason: str | None) -> None:
        self._broadcast(m.CallHangup(target, reason))

    def failed(self, code: str, message: str) -> None:
        self._broadcast(m.SessionError(code, message, self.id, {"code": code, "message": message}))

    # ---- messages ----------------------------------------------------------------------------------

    def _on_audio(self, peer: Peer, message: m.ClientMessage, now: float) -> None:
        assert isinstance(message, m.AudioInput)
        audio = message.audio
        if audio.encoding != "mulaw" or audio.sample_rate_hz != 8000:
            self._refuse(
                peer,
                "invalid_audio_format",
                f"audio must be mulaw at 8000 Hz, not {audio.encoding[:40]} at {audio.sample_rate_hz}",
            )
            return
        try:
            mulaw = binascii.a2b_base64(audio.payload, strict_mode=True)
        except ValueError as error:
            self._refuse(peer, "invalid_message", f"audio.payload is not base64: {error}")
            return
        timestamp_ms, sequence = message.timestamp_ms, message.sequence
        if not (0 <= timestamp_ms < bounds.LARGEST and 0 <= sequence < bounds.LARGEST):
            self._refuse(peer, "invalid_message", "sequence and timestamp_ms must be 0 … 2^53")
            return
        numbers = self.speakers.get(message.speaker)
        if numbers is None or message.speaker not in peer.speakers:
            if not self._meet(peer, message.speaker):
                return
            numbers = self.speakers[message.speaker]
        if not mulaw:
            return
        if not numbers.accept(sequence, timestamp_ms):
            self.counts["replayed"] += 1
            return
        if self.lifecycle.status is Status.ACTIVE:
            self.lifecycle.touch(now)
        elif self.has_ended:
            return
        else:
            self._step(Event.AUDIO, now)
        self._observer.heard(self, message.speaker, timestamp_ms, mulaw)
        self._interpreter.audio(message.speaker, timestamp_ms, mulaw)
        if len(self.peers) > 1:
            relay.forward(self.mode, self.id, self.peers, peer, message, mulaw)

    def _on_ping(self, peer: Peer, _message: m.ClientMessage, now: float) -> None:
        self.lifecycle.touch(now)
        peer.send(_encode(m.Pong(self.id)))

    def _on_end(self, _peer: Peer, _message: m.ClientMessage, now: float) -> None:
        self.end("explicit_end", now)

    def _on_joined(self, peer: Peer, message: m.ClientMessage, now: float) -> None:
        assert isinstance(message, m.CallJoined)
        if not self._meet(peer, message.speaker):
            return
        if self.calls.get(message.speaker) == message.call_id:
            self.lifecycle.touch(now)  # told again after a reconnection: what was missed is yet to come
            return
        self.calls[message.speaker] = message.call_id
        self.speakers[message.speaker] = Sequence()  # a new leg counts from its own beginning
        self._on_other(peer, message, now)

    def _on_left(self, peer: Peer, message: m.ClientMessage, now: float) -> None:
        assert isinstance(message, m.CallLeft)
        if message.speaker in peer.speakers:
            peer.speakers.discard(message.speaker)
            self.speakers.pop(message.speaker, None)
            self.calls.pop(message.speaker, None)
            self._interpreter.left(message.speaker)
        self._on_other(peer, message, now)

    def _on_outcome(self, peer: Peer, message: m.ClientMessage, now: float) -> None:
        """What became of what the interpreter has sent or asked for."""
        match message:
            case m.MarkPlayed(name, target):
                self._interpreter.played(target, name)
            case m.AudioCleared(target, played_ms, dropped_ms):
                self._interpreter.cleared(target, played_ms, dropped_ms)
            case m.CallError(target, _, reason):
                self._interpreter.refused(target, reason)
        self._on_other(peer, message, now)

    def _on_other(self, _peer: Peer, message: m.ClientMessage, now: float) -> None:
        """Whatever needs no answer: a sign of life, and a line in the timeline."""
        self.lifecycle.touch(now)
        self._observer.noted(self, message)

    # ---- helpers -----------------------------------------------------------------------------------

    def _meet(self, peer: Peer, speaker: str) -> bool:
        """Make sure that the speaker is known and belongs to this stream. False: refused."""
        if speaker not in self.speakers:
            if not (0 < len(speaker) <= 64 and speaker.isprintable()) or len(self.speakers) >= MAX_SPEAKERS:
                what = f"speaker must have 1–64 printable characters, a session {MAX_SPEAKERS} speakers"
                self._refuse(peer, "invalid_message", what)
                return False
            self.speakers[speaker] = Sequence()
        peer.speakers.add(speaker)
        self._interpreter.joined(speaker)
        return True

    def _refuse(self, peer: Peer, code: str, message: str) -> None:
        self.warn(peer, code, message[:300])
        peer.faults += 1
        if peer.faults >= MAX_FAULTS:
            peer.close(CLOSE_POLICY, "too many bad messages")

    def _step(self, event: Event, now: float, reason: str | None = None) -> None:
        before = self.lifecycle.status
        changed = self.lifecycle.handle(event, now, reason)
        self.count_translation(now)
        if changed:
            self._observer.changed(self, before)

    def _broadcast(self, message: msgspec.Struct, *, audio: bool = False) -> None:
        if self.peers:
            data = _encode(message)
            for peer in tuple(self.peers):
                peer.send(data, audio=audio)


#: msgspec hands the struct over, its type says what to do with it.
_HANDLERS: Final[dict[type, Callable[[LiveSession, Peer, m.ClientMessage, float], None]]] = {
    m.AudioInput: LiveSession._on_audio,
    m.Ping: LiveSession._on_ping,
    m.SessionEnd: LiveSession._on_end,
    m.CallJoined: LiveSession._on_joined,
    m.CallLeft: LiveSession._on_left,
    **dict.fromkeys((m.MarkPlayed, m.AudioCleared, m.CallError), LiveSession._on_outcome),
}
