"""The media dialects of Twilio and Telnyx, served on the session stream's URL (contract §2). Sans-IO.

Owns the translation between a vendor's events and the stream's messages, both ways. The two differ in field
names only: Twilio writes `streamSid`, Telnyx `stream_id`. A vendor's connection is one leg: everything it
sends is that leg's speaker, and it is given only what that speaker is to hear. Knows no socket, no session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.stream import messages as m

#: A handshake that shows one of these comes from a vendor, whose client can not send a token with it.
_AGENTS: Final = ("twilio", "telnyx")

_loads: Final = msgspec.json.Decoder(dict[str, Any]).decode
_dumps: Final = msgspec.json.Encoder().encode
_server: Final = msgspec.json.Decoder(m.ServerMessage).decode


def is_vendor(headers: Mapping[str, str]) -> bool:
    """Whether a handshake's headers are a vendor's."""
    agent = headers.get("user-agent", "").lower()
    return bool(headers.get("x-twilio-signature", "")) or any(name in agent for name in _AGENTS)


def speaks(text: bytes | memoryview) -> bool:
    """Whether a first message is a vendor's: it has an `event`, and no `type`."""
    try:
        message = _loads(text)
    except msgspec.DecodeError:
        return False
    return message.get("event") in ("connected", "start") and "type" not in message


class Dialect:
    """One vendor connection. `token`, `wanted_speaker`: as its `start` gave them."""

    def __init__(self) -> None:
        self.speaker = ""
        self.token = ""
        self.wanted_speaker = ""
        self.call_id = ""
        self.stream_id = ""
        self.started = False
        self._telnyx = False
        self._sequence = 0

    def read(self, text: bytes | memoryview) -> m.ClientMessage | None:
        """One message of the vendor. Raises ValueError when it can not be understood.

        After `start`, `token` and `wanted_speaker` are to be looked at and `speaker` to be set.
        """
        try:
            message = _loads(text)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from None
        event = message.get("event")
        if event == "start":
            self._on_start(message)
            return None
        if not self.started:
            return None
        if event == "media":
            return self._on_media(_part(message, "media"))
        if event == "dtmf":
            return m.Dtmf(self.speaker, str(_part(message, "dtmf").get("digit", ""))[:1], 0)
        if event == "mark":
            return m.MarkPlayed(str(_part(message, "mark").get("name", ""))[:200], self.speaker)
        if event == "stop":
            self.started = False
            return m.CallLeft(self.speaker, self.call_id, "stop")
        return None

    def joined(self) -> m.CallJoined:
        """What to tell the session once the leg's speaker is known."""
        return m.CallJoined(self.speaker, self.call_id)

    def write(self, message: bytes) -> bytes | None:
        """A message of the session in the vendor's words; None when it is not for this leg."""
        told = _server(message)
        if isinstance(told, m.AudioOutput):
            mine = told.speaker != self.speaker if told.target is None else told.target == self.speaker
            return self._event("media", media={"payload": told.audio.payload}) if mine else None
        if isinstance(told, m.Mark) and told.target == self.speaker:
            return self._event("mark", mark={"name": told.name})
        if isinstance(told, m.AudioClear) and told.target in (None, self.speaker):
            return self._event("clear")
        return None

    def _on_start(self, message: dict[str, Any]) -> None:
        start = _part(message, "start")
        self._telnyx = "stream_id" in message or "media_format" in start
        self.stream_id = str(message.get("stream_id") or message.get("streamSid") or start.get("streamSid") or "")
        self.call_id = str(start.get("call_control_id") or start.get("callSid") or self.stream_id)[:200]
        form = start.get("media_format") or start.get("mediaFormat") or {}
        encoding = str(form.get("encoding", "audio/x-mulaw")).lower()
        rate = form.get("sample_rate") or form.get("sampleRate") or 8000
        if encoding not in ("audio/x-mulaw", "pcmu") or rate != 8000:
            raise ValueError(f"media must be mu-law at 8000 Hz, not {encoding[:40]} at {rate}")
        given = start.get("customParameters") or start.get("custom_parameters") or {}
        if not isinstance(given, dict):
            raise ValueError("customParameters must be an object")
        self.token = str(given.get("token", ""))
        self.wanted_speaker = str(given.get("speaker", ""))
        self.started = True

    def _on_media(self, media: dict[str, Any]) -> m.AudioInput | None:
        if str(media.get("track", "inbound")).startswith("outbound"):
            return None  # what we sent ourselves, when both tracks are streamed
        payload, at = media.get("payload"), str(media.get("timestamp", ""))
        if not isinstance(payload, str) or not at.isascii() or not at.isdigit() or len(at) > 15:
            raise ValueError("media needs a payload and a timestamp")
        self._sequence += 1
        return m.AudioInput(self._sequence, int(at), self.speaker, m.Audio(payload))

    def _event(self, event: str, **what: Any) -> bytes:
        name = "stream_id" if self._telnyx else "streamSid"
        return _dumps({"event": event, name: self.stream_id, **what})


def _part(message: dict[str, Any], name: str) -> dict[str, Any]:
    part = message.get(name)
    if not isinstance(part, dict):
        raise ValueError(f"{name} is missing")
    return part
