"""One session stream from the gateway's side (contract §2), sans-IO: what is sent, what is understood.

Owns the bytes of `audio.input`, the reading of what the service sends, what is kept while the stream is
down, and when to ping and when to believe that nobody is there. Refuses to know sockets, clocks (seconds
come as arguments) and what a message does to a call. Bad messages are a `Bad`, never an exception.

`audio.input` is written fifty times a second for each leg, so it is a byte template that was made once;
msgspec reads messages into typed structs and decodes the base64 of `audio.output` on its way.
"""

from __future__ import annotations

import binascii
from collections import deque
from collections.abc import Callable
from enum import Enum, StrEnum
from random import Random
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from gateway.stream import messages

#: The longest message that is read (contract §2). A longer one is counted and left out.
MAX_MESSAGE: Final = 64 * 1024
#: Messages other than audio that wait for a stream that is down; beyond it the oldest is dropped.
MAX_CONTROLS: Final = 256


class Bad(StrEnum):
    """Why a message was not taken. The value is the metric label."""

    NOT_JSON = "not_json"
    NOT_TEXT = "not_text"
    UNKNOWN_TYPE = "unknown_type"
    BAD_FIELDS = "bad_fields"
    BAD_BASE64 = "bad_base64"
    BAD_AUDIO_FORMAT = "bad_audio_format"
    TOO_LARGE = "too_large"


class PlayAudio(Struct, tag="audio.output", gc=False):
    """`audio.output` as it is played: the payload is mu-law bytes, and fields nobody here reads are left out."""

    speaker: str
    audio: MuLaw
    target: str | None = None


class MuLaw(Struct, gc=False):
    payload: bytes
    encoding: Literal["mulaw"] = "mulaw"
    sample_rate_hz: Literal[8000] = 8000


Incoming = (
    PlayAudio
    | messages.SessionReady
    | messages.Pong
    | messages.TranscriptPartial
    | messages.TranscriptFinal
    | messages.TurnTiming
    | messages.SessionMode
    | messages.AudioClear
    | messages.Mark
    | messages.DtmfSend
    | messages.CallDial
    | messages.CallTransfer
    | messages.CallHangup
    | messages.SessionEnded
    | messages.SessionError
    | messages.OlderError
)
#: Reads a message that is not too long, or raises one of `UNREADABLE` (a ValidationError is a DecodeError).
read: Final[Callable[[bytes], Incoming]] = msgspec.json.Decoder(Incoming).decode
UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_encoder: Final = msgspec.json.Encoder()
_TYPES: Final = frozenset(str(t.__struct_config__.tag) for t in Incoming.__args__)


def decode(data: bytes) -> Incoming | Bad:
    """Read one text message."""
    if len(data) > MAX_MESSAGE:
        return Bad.TOO_LARGE
    try:
        return read(data)
    except UNREADABLE:
        return _cause(data)


def _cause(data: bytes) -> Bad:
    """Why `decode` refused a message; the slow way round, for those alone."""
    try:
        message: Any = msgspec.json.decode(data)
    except UNREADABLE:
        return Bad.NOT_JSON
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return Bad.BAD_FIELDS
    if message["type"] not in _TYPES:
        return Bad.UNKNOWN_TYPE
    audio = message.get("audio")
    if message["type"] != "audio.output" or not isinstance(audio, dict):
        return Bad.BAD_FIELDS
    if audio.get("encoding", "mulaw") != "mulaw" or audio.get("sample_rate_hz", 8000) != 8000:
        return Bad.BAD_AUDIO_FORMAT
    try:
        binascii.a2b_base64(audio["payload"], strict_mode=True)
    except binascii.Error:
        return Bad.BAD_BASE64
    except (KeyError, TypeError, ValueError):
        return Bad.BAD_FIELDS
    return Bad.BAD_FIELDS


def encode(message: messages.ClientMessage) -> bytes:
    """Any message but `audio.input`, which has its template."""
    return _encoder.encode(message)


def input_template(speaker: str, octets: int) -> bytes:
    """The bytes of a leg's `audio.input`, for `template % (sequence, timestamp_ms, base64)`.

    octets: audio bytes of each message. The base64 goes in without its padding, which is constant and
    stands in the template, so that one call can encode the frames of many legs side by side.
    """
    name = msgspec.json.encode(speaker).replace(b"%", b"%%")
    return (
        b'{"type":"audio.input","sequence":%%d,"timestamp_ms":%%d,"speaker":%b,"audio":'
        b'{"encoding":"mulaw","sample_rate_hz":8000,"payload":"%%b%b"}}' % (name, b"=" * (-octets % 3))
    )


class Assembler:
    """Joins the fragments of a message (RFC 6455 §5.4), at most `MAX_MESSAGE` bytes of it."""

    def __init__(self) -> None:
        self._parts = bytearray()
        self._text = True
        self._too_large = False

    def add(self, data: bytes, *, first: bool, text: bool, final: bool) -> bytes | Bad | None:
        """A fragment. The whole message once it is complete, None until then."""
        if first:
            self._parts.clear()
            self._text, self._too_large = text, False
        if len(self._parts) + len(data) > MAX_MESSAGE:
            self._too_large = True
            self._parts.clear()
        elif not self._too_large:
            self._parts += data
        if not final:
            return None
        if self._too_large:
            return Bad.TOO_LARGE
        if not self._text:
            return Bad.NOT_TEXT
        whole = bytes(self._parts)
        self._parts.clear()
        return whole


class Backlog:
    """What could not be sent: frames while the stream is down or does not read, in order, oldest dropped first.

    audio_limit: frames that are kept, all speakers together. Messages other than audio are kept apart, so
    that audio never pushes out a `call.joined`; they go first, for they are older news than any frame.
    """

    def __init__(self, audio_limit: int) -> None:
        self.audio_limit = audio_limit
        self.audio_dropped = 0
        self.controls_dropped = 0
        self._audio: deque[bytes] = deque()
        self._controls: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._audio) + len(self._controls)

    def keep_audio(self, message: bytes) -> None:
        self._audio.append(message)
        while len(self._audio) > self.audio_limit:
            self._audio.popleft()
            self.audio_dropped += 1

    def keep_control(self, message: bytes) -> None:
        self._controls.append(message)
        if len(self._controls) > MAX_CONTROLS:
            self._controls.popleft()
            self.controls_dropped += 1

    def take(self) -> tuple[bytes, bool] | None:
        """The next message to send, and whether it is audio."""
        if self._controls:
            return self._controls.popleft(), False
        if self._audio:
            return self._audio.popleft(), True
        return None

    def forget(self) -> int:
        """Nobody will come for it: frames that were kept, now dropped."""
        dropped = len(self._audio)
        self.audio_dropped += dropped
        self._audio.clear()
        self._controls.clear()
        return dropped


class Verdict(Enum):
    """What `Liveness` wants done."""

    NOTHING = 0
    PING = 1
    DEAD = 2


class Liveness:
    """Is the peer there? A half-open connection takes what is sent and answers nothing.

    Silence for `ping_s` asks by a ping; no sign of life for `pong_timeout_s` after it means that nobody is.
    The reader sets `heard` when anything has arrived.
    """

    def __init__(self, ping_s: float, pong_timeout_s: float, now: float) -> None:
        self._ping_s = ping_s
        self._pong_timeout_s = pong_timeout_s
        self._last = now
        self._asked: float | None = None
        self.heard = False

    def check(self, now: float) -> Verdict:
        """Call at least once a second."""
        if self.heard:
            self.heard = False
            self._last = now
            self._asked = None
        if self._asked is not None:
            return Verdict.DEAD if now - self._asked >= self._pong_timeout_s else Verdict.NOTHING
        if now - self._last >= self._ping_s:
            self._asked = now
            return Verdict.PING
        return Verdict.NOTHING


class Retry:
    """When to try again after a loss: doubling from `first_s` to `max_s`, each taken by half to whole at random.

    The jitter keeps the streams of a restarted service from coming back in one wave. A stream that is lost
    again before it has been up for `max_s` goes on where the doubling was. `give_up_s` is counted from the loss.
    """

    def __init__(self, first_s: float, max_s: float, give_up_s: float, random: Random) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._give_up_s = give_up_s
        self._random = random
        self._attempts = 0
        self._up: float | None = None
        self._down: float | None = None

    def lost(self, now: float) -> None:
        """The stream went down. While it is down already this changes nothing."""
        if self._down is None:
            self._down = now
            if self._up is not None and now - self._up >= self._max_s:
                self._attempts = 0

    def restored(self, now: float) -> None:
        """`session.ready` came."""
        self._up, self._down = now, None

    def delay(self, now: float) -> float | None:
        """Seconds to wait before the next attempt, or None: it has been tried for long enough."""
        if self._down is not None and now - self._down >= self._give_up_s:
            return None
        longest = min(self._max_s, self._first_s * 2.0 ** min(self._attempts, 30))
        self._attempts += 1
        return longest * (0.5 + 0.5 * self._random.random())
