"""HEP version 3, the encapsulation in which Homer takes copies of SIP messages: encoding, and nothing else.

A packet is `HEP3`, its length, and chunks of (vendor 0, type, length, value); numbers are in network order
(HEP3 network protocol specification, rev. 12 or later, "Generic chunk types").
"""

from __future__ import annotations

import ipaddress
import struct
from enum import IntEnum
from typing import Final

MAX_PACKET: Final = 65507  # what fits into a UDP datagram
_HEADER: Final = struct.Struct("!4sH")
_CHUNK: Final = struct.Struct("!HHH")
_SIP: Final = 1
_PROTOCOL: Final = {"udp": 17, "tcp": 6, "tls": 6}
_FAMILY: Final = {4: 2, 6: 10}


class Chunk(IntEnum):
    FAMILY = 0x0001
    PROTOCOL = 0x0002
    SOURCE_4 = 0x0003
    DESTINATION_4 = 0x0004
    SOURCE_6 = 0x0005
    DESTINATION_6 = 0x0006
    SOURCE_PORT = 0x0007
    DESTINATION_PORT = 0x0008
    SECONDS = 0x0009
    MICROSECONDS = 0x000A
    TYPE = 0x000B
    AGENT = 0x000C
    PAYLOAD = 0x000F
    CORRELATION = 0x0011


def encode(
    payload: bytes,
    source: tuple[str, int],
    destination: tuple[str, int],
    transport: str,
    time_us: int,
    agent: int,
    correlation: str,
) -> bytes:
    """One message. Addresses are (IP, port): a name or mixed families become the unspecified address.

    transport: udp, tcp or tls. time_us: Unix time in µs. correlation: the Call-ID. Raises ValueError when the
    message does not fit into a datagram.
    """
    ours, theirs = _address(source[0]), _address(destination[0])
    version = max(ours.version if ours else 4, theirs.version if theirs else 4)
    first, second = (Chunk.SOURCE_4, Chunk.DESTINATION_4) if version == 4 else (Chunk.SOURCE_6, Chunk.DESTINATION_6)
    seconds, micros = divmod(time_us, 1_000_000)
    chunks = (
        (Chunk.FAMILY, struct.pack("!B", _FAMILY[version])),
        (Chunk.PROTOCOL, struct.pack("!B", _PROTOCOL[transport])),
        (first, _octets(ours, version)),
        (second, _octets(theirs, version)),
        (Chunk.SOURCE_PORT, struct.pack("!H", source[1])),
        (Chunk.DESTINATION_PORT, struct.pack("!H", destination[1])),
        (Chunk.SECONDS, struct.pack("!I", seconds)),
        (Chunk.MICROSECONDS, struct.pack("!I", micros)),
        (Chunk.TYPE, struct.pack("!B", _SIP)),
        (Chunk.AGENT, struct.pack("!I", agent)),
        (Chunk.CORRELATION, correlation.encode(errors="surrogateescape")[:256]),
        (Chunk.PAYLOAD, payload),
    )
    length = _HEADER.size + sum(_CHUNK.size + len(value) for _, value in chunks)
    if length > MAX_PACKET:
        raise ValueError(f"{length} octets do not fit into a datagram")
    parts = [_HEADER.pack(b"HEP3", length)]
    for kind, value in chunks:
        parts += (_CHUNK.pack(0, kind, _CHUNK.size + len(value)), value)
    return b"".join(parts)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _octets(address: _Address | None, version: int) -> bytes:
    if address is None or address.version != version:
        return bytes(4 if version == 4 else 16)
    return address.packed
