"""Latency of each frame through the gateway, from what a tap saw on both of its sides. Pure functions.

A packet is known again by its bytes, so only those that hold sound count: silence looks the same everywhere.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from rig.tap import Message, Rtp, audio_of

OCTETS_PER_MS = 8
#: Different byte values that a packet must hold to be told from every other one.
DISTINCT = 24


def _telling(payload: bytes) -> bool:
    return len(set(payload)) >= DISTINCT


def rtp_to_stream(packets: Sequence[Rtp], messages: Sequence[Message], callers: Container[int]) -> list[float]:
    """ms from each of the caller's packets to the audio.input that holds its first byte."""
    stream = bytearray()
    starts: list[tuple[int, int]] = []  # (position of a message's first byte, when it was sent)
    for message in messages:
        if message.from_gateway and message.content.get("type") == "audio.input":
            starts.append((len(stream), message.at_ns))
            stream += audio_of(message)
    found: list[float] = []
    cursor, index = 0, 0
    for packet in packets:
        if packet.source not in callers or not _telling(packet.payload):
            continue
        at = stream.find(packet.payload, cursor)
        if at < 0:
            continue
        cursor = at + len(packet.payload)
        while index + 1 < len(starts) and starts[index + 1][0] <= at:
            index += 1
        found.append((starts[index][1] - packet.at_ns) / 1e6)
    return found


def stream_to_rtp(packets: Sequence[Rtp], messages: Sequence[Message], callers: Container[int]) -> list[float]:
    """ms by which each packet to the caller is later than the earliest moment at which it could be played.

    That moment is the arrival of its audio.output, or, where that holds more than one frame or follows one that is
    not over yet, the end of the audio before it: a sentence that comes at once takes its own length to be heard.
    """
    stream = bytearray()
    due: list[tuple[int, float]] = []  # (position of a message's first byte, when it may be played)
    end = 0.0
    for message in messages:
        if not message.from_gateway and message.content.get("type") == "audio.output":
            audio = audio_of(message)
            start = max(float(message.at_ns), end)
            due.append((len(stream), start))
            end = start + len(audio) / OCTETS_PER_MS * 1e6
            stream += audio
    found: list[float] = []
    cursor, index = 0, 0
    for packet in packets:
        if packet.target not in callers or not _telling(packet.payload):
            continue
        at = stream.find(packet.payload, cursor)
        if at < 0:
            continue
        cursor = at + len(packet.payload)
        while index + 1 < len(due) and due[index + 1][0] <= at:
            index += 1
        position, start = due[index]
        found.append((packet.at_ns - start) / 1e6 - (at - position) / OCTETS_PER_MS)
    return found


def quantile(values: Sequence[float], q: float) -> float:
    """The value that the fraction `q` does not exceed. Raises ValueError when there are none."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
