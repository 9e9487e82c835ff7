"""The messages of the session stream (contract §2) as typed structs, for both of its ends.

Owns shapes and nothing else. Unknown fields are ignored, unknown types are the reader's to count.
`ClientMessage` travels to the session service, `ServerMessage` to the gateway. The two that carry
audio are hot: `protocol.py` writes `audio.input` from a template and never builds the struct.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Audio(Struct):
    """One channel of mu-law at 8000 Hz, base64."""

    payload: str
    encoding: str = "mulaw"
    sample_rate_hz: int = 8000


class AudioInput(Struct, tag="audio.input"):
    sequence: int
    timestamp_ms: int
    speaker: str
    audio: Audio


class Ping(Struct, tag="ping"):
    pass


class SessionEnd(Struct, tag="session.end"):
    pass


class Dtmf(Struct, tag="dtmf"):
    speaker: str
    digit: str
    duration_ms: int


class MarkPlayed(Struct, tag="mark.played"):
    name: str
    target: str


class AudioCleared(Struct, tag="audio.cleared"):
    target: str
    played_ms: int
    dropped_ms: int
    marks: list[str]


class AudioPushback(Struct, tag="audio.pushback"):
    target: str
    queued_ms: int


class SpeechStarted(Struct, tag="speech.started"):
    speaker: str
    timestamp_ms: int


class SpeechStopped(Struct, tag="speech.stopped"):
    speaker: str
    timestamp_ms: int


class CallJoined(Struct, tag="call.joined", omit_defaults=True):
    """direction: inbound or outbound. headers: X- headers of the INVITE that its trunk passes on."""

    speaker: str
    call_id: str
    reason: str | None = None
    sip_call_id: str | None = None
    direction: str | None = None
    headers: dict[str, str] | None = None


class CallLeft(Struct, tag="call.left", omit_defaults=True):
    """headers: those of the peer's last message that its trunk passes on, like Reason."""

    speaker: str
    call_id: str
    reason: str | None = None
    headers: dict[str, str] | None = None


class CallHeld(Struct, tag="call.held", omit_defaults=True):
    speaker: str
    call_id: str
    reason: str | None = None


class CallResumed(Struct, tag="call.resumed", omit_defaults=True):
    speaker: str
    call_id: str
    reason: str | None = None


class CallDialed(Struct, tag="call.dialed"):
    """The answer to `call.dial`, by its id. status: ringing, active, or dialing when nothing was heard yet."""

    id: str
    call_id: str
    speaker: str
    status: str
    sip_call_id: str
    to: str


class CallError(Struct, tag="call.error", omit_defaults=True):
    """call_id: of a call that will not come about. id: of the `call.dial` that this answers."""

    target: str
    code: str
    message: str
    call_id: str | None = None
    id: str | None = None


ClientMessage = (
    AudioInput
    | Ping
    | SessionEnd
    | Dtmf
    | MarkPlayed
    | AudioCleared
    | AudioPushback
    | SpeechStarted
    | SpeechStopped
    | CallJoined
    | CallLeft
    | CallHeld
    | CallResumed
    | CallDialed
    | CallError
)


class SessionReady(Struct, tag="session.ready", omit_defaults=True):
    session_id: str
    mode: str = ""
    source_language: str | None = None
    target_language: str | None = None


class Pong(Struct, tag="pong"):
    session_id: str = ""


class Translation(Struct):
    language: str
    text: str


class TranscriptPartial(Struct, tag="transcript.partial"):
    session_id: str
    segment_id: str
    speaker: str
    language: str
    text: str
    timestamp_ms: int


class TranscriptFinal(Struct, tag="transcript.final", omit_defaults=True):
    session_id: str
    segment_id: str
    speaker: str
    language: str
    text: str
    timestamp_ms: int
    confidence: float | None = None
    translation: Translation | None = None


class TurnTiming(Struct, tag="turn.timing"):
    """Where the time of a turn went: milliseconds from the end of speech to each moment that was reached."""

    session_id: str
    segment_id: str
    speaker: str
    timing_ms: dict[str, int]


class SessionMode(Struct, tag="session.mode"):
    """From here on the session acts as one of this mode."""

    session_id: str
    mode: str


class AudioOutput(Struct, tag="audio.output", omit_defaults=True):
    """Number and time are -1 where a sender does not tell them: a default is left out, and 0 must not be."""

    speaker: str
    audio: Audio
    session_id: str = ""
    sequence: int = -1
    timestamp_ms: int = -1
    target: str | None = None


class AudioClear(Struct, tag="audio.clear", omit_defaults=True):
    target: str | None = None


class Mark(Struct, tag="mark"):
    name: str
    target: str


class DtmfSend(Struct, tag="dtmf.send"):
    target: str
    digits: str


class CallDial(Struct, tag="call.dial", omit_defaults=True, rename={"from_": "from"}):
    """Call somebody into this session; answered by `call.dialed` or `call.error` with the same id.

    headers: X- headers for the INVITE, as far as the trunk passes them on.
    """

    id: str
    to: str
    speaker: str | None = None
    from_: str | None = None
    timeout_seconds: int | None = None
    trunk: str | None = None
    headers: dict[str, str] = {}


class CallTransfer(Struct, tag="call.transfer"):
    target: str
    to: str


class CallHangup(Struct, tag="call.hangup", omit_defaults=True):
    target: str
    reason: str | None = None


class SessionEnded(Struct, tag="session.ended"):
    session_id: str = ""
    reason: str = "completed"


class SessionError(Struct, tag="session.error", omit_defaults=True):
    code: str = ""
    message: str = ""
    session_id: str = ""
    error: dict[str, Any] | None = None


class OlderError(Struct, tag="error"):
    """The shape that older services send for `session.error`."""

    code: str = ""
    message: str = ""


ServerMessage = (
    SessionReady
    | Pong
    | TranscriptPartial
    | TranscriptFinal
    | TurnTiming
    | SessionMode
    | AudioOutput
    | AudioClear
    | Mark
    | DtmfSend
    | CallDial
    | CallTransfer
    | CallHangup
    | SessionEnded
    | SessionError
    | OlderError
)
