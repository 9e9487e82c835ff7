"""A party's own voice for those who are to hear it and are connected by another stream.

Legs of one gateway hear each other there (`calls/mixing.py`, ducked where the mode says so). Where the customer's leg
and the agent's are on different streams, nobody mixes: what a mode lets through at full level goes from stream to
stream here. A ducked original does not: behind the translation it would only be queued. Owns that rule, and no audio.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from gateway.stream import messages as m

CUSTOMER: Final = "customer"
_encode: Final = msgspec.json.Encoder().encode


class Peer(Protocol):
    speakers: set[str]

    def send(self, message: bytes, *, audio: bool = False) -> None: ...


def hears(mode: str, listener: str) -> bool:
    """Whether a listener hears the originals of the others at full level."""
    if mode == "assistive_translation":
        return listener != CUSTOMER
    return mode in ("ai_agent", "help_chat_voice")


def forward(
    mode: str, session_id: str, peers: Iterable[Peer], source: Peer, message: m.AudioInput, mulaw: bytes
) -> None:
    """One frame of a party, to the other streams' listeners."""
    for peer in peers:
        if peer is source:
            continue
        for listener in peer.speakers:
            if listener != message.speaker and hears(mode, listener):
                payload = binascii.b2a_base64(mulaw, newline=False).decode()
                audio = m.AudioOutput(
                    message.speaker, m.Audio(payload), session_id, message.sequence, message.timestamp_ms, listener
                )
                peer.send(_encode(audio), audio=True)
