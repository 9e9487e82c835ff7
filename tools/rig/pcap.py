"""Packet captures: pcap and pcapng files, packet by packet.

Owns the two file formats. Refuses to know what a packet holds (`datagrams.py`). A file is read as a stream, so its
size does not matter; one that ends in the middle of a packet, as a capture that was killed does, just ends there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

#: Of a packet or block. Captures hold at most 256 kB; a larger figure is a damaged file.
MAX_LENGTH = 1 << 20

_PCAP = {  # magic number as it stands in the file: byte order, ns per tick of the fraction
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_RESOLUTION, _OFFSET = 9, 14  # options of an interface block


class NotACapture(ValueError):
    """The file is none, or it is damaged; the message says which."""


class Packet(NamedTuple):
    """number: from 1, as Wireshark counts. time_ns: since 1970. link: LINKTYPE. cut: octets the capture left out."""

    number: int
    time_ns: int
    link: int
    data: bytes
    cut: int


class _Interface(NamedTuple):
    link: int
    ticks_per_s: int
    offset_s: int
    snap_length: int


def packets(file: BinaryIO) -> Iterator[Packet]:
    """Every packet of a capture. Raises NotACapture."""
    magic = file.read(4)
    if magic in _PCAP:
        return _pcap(file, *_PCAP[magic])
    if magic == _SECTION_MAGIC:
        return _pcapng(file)
    raise NotACapture("this is neither a pcap nor a pcapng file")


def _pcap(file: BinaryIO, order: str, tick_ns: int) -> Iterator[Packet]:
    header = file.read(20)
    if len(header) < 20:
        raise NotACapture("the file ends within its header")
    link = struct.unpack(order + "16xI", header)[0] & 0xFFFF  # the rest says whether there is a checksum
    record = struct.Struct(order + "IIII")
    number = 0
    while len(head := file.read(record.size)) == record.size:
        seconds, fraction, captured, length = record.unpack(head)
        if captured > MAX_LENGTH:
            raise NotACapture(f"damaged: packet {number + 1} is said to have {captured} octets")
        data = file.read(captured)
        if len(data) < captured:
            return
        number += 1
        yield Packet(number, seconds * 1_000_000_000 + fraction * tick_ns, link, data, length - captured)


def _pcapng(file: BinaryIO) -> Iterator[Packet]:
    """Blocks of `type, length, body, length`; a section block says the byte order of those behind it."""
    order = _section(file)
    interfaces: list[_Interface] = []
    number = 0
    while len(head := file.read(8)) == 8:
        if head[:4] == _SECTION_MAGIC:  # reads the same in both orders
            file.seek(-4, 1)
            order, interfaces = _section(file), []
            continue
        kind, length = struct.unpack(order + "II", head)
        if length < 12 or length % 4 or length > MAX_LENGTH:
            raise NotACapture(f"damaged: a block behind packet {number} is said to have {length} octets")
        body = file.read(length - 8)
        if len(body) < length - 8:
            return
        body = body[:-4]
        if kind == _INTERFACE:
            interfaces.append(_interface(order, body))
        elif kind in (_PACKET, _OLD_PACKET, _SIMPLE_PACKET):
            number += 1
            packet = _packet(order, kind, body, interfaces, number)
            if packet is None:
                raise NotACapture(f"damaged: packet {number} does not fit its block")
            yield packet


def _section(file: BinaryIO) -> str:
    """Read a section block, from behind its type; its byte order."""
    head = file.read(8)
    order = _BYTE_ORDERS.get(head[4:])
    if order is None:
        raise NotACapture("damaged: a section without a byte order")
    length = struct.unpack(order + "I", head[:4])[0]
    if length < 28 or length % 4 or length > MAX_LENGTH:
        raise NotACapture(f"damaged: a section header of {length} octets")
    file.read(length - 12)
    return order


def _interface(order: str, body: bytes) -> _Interface:
    if len(body) < 8:
        raise NotACapture("damaged: an interface block that is too short")
    link, snap_length = struct.unpack_from(order + "H2xI", body)
    ticks, offset, at = 1_000_000, 0, 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + length]
        if code == _RESOLUTION and length == 1:  # a power of 10, or, with the top bit set, of 2
            ticks = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** min(value[0], 18)
        elif code == _OFFSET and len(value) == 8:
            offset = struct.unpack(order + "q", value)[0]
        at += 4 + (length + 3 & ~3)
    return _Interface(link, ticks, offset, snap_length)


def _packet(order: str, kind: int, body: bytes, interfaces: list[_Interface], number: int) -> Packet | None:
    """A packet block of any of three kinds; None when it contradicts itself."""
    if kind == _SIMPLE_PACKET:
        if len(body) < 4 or not interfaces:
            return None
        length = struct.unpack_from(order + "I", body)[0]
        captured = min(length, interfaces[0].snap_length or length)
        index, ticks, at = 0, 0, 4
    else:
        if len(body) < 20:
            return None
        layout = "IIIII" if kind == _PACKET else "H2xIIII"
        index, high, low, captured, length = struct.unpack_from(order + layout, body)
        ticks, at = high << 32 | low, 20
    if index >= len(interfaces) or at + captured > len(body):
        return None
    interface = interfaces[index]
    time_ns = ticks * 1_000_000_000 // interface.ticks_per_s + interface.offset_s * 1_000_000_000
    return Packet(number, time_ns, interface.link, body[at : at + captured], length - captured)
