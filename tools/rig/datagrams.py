"""UDP datagrams out of captured packets: link layer, IPv4 or IPv6, UDP.

Owns these headers. Refuses to know files and what a datagram holds. What is no whole UDP datagram is counted by
its reason and left out: a fragment is not put together again, for no RTP packet of a telephone is that long.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rig.pcap import Packet

Address = tuple[str, int]  # host, port

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS = (0x8100, 0x88A8, 0x9100)
_UDP, _FRAGMENT = 17, 44
_EXTENSIONS = (0, 43, 60)  # RFC 8200 §4: hop-by-hop, routing, destination; each says its length in units of 8
_ETHERNET, _NULL, _LOOP, _COOKED, _COOKED_2 = 1, 0, 108, 113, 276
_RAW = (12, 14, 101, 228, 229)


class Datagram(NamedTuple):
    """number and time_ns: of the captured packet."""

    number: int
    time_ns: int
    source: Address
    destination: Address
    payload: bytes


def datagrams(packets: Iterable[Packet], left_out: Counter[str]) -> Iterator[Datagram]:
    """The UDP datagrams among `packets`. left_out: how many others there were, by reason."""
    for packet in packets:
        found = _datagram(packet)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            yield found


def _datagram(packet: Packet) -> Datagram | str:
    """Or why there is none."""
    if packet.cut > 0:
        return "cut short by the capture"
    network = _network(packet.link, packet.data)
    if isinstance(network, str):
        return network
    version = network[0] >> 4 if network else 0
    if version == 4:
        transport = _ipv4(network)
    elif version == 6:
        transport = _ipv6(network)
    else:
        return "not IP"
    if isinstance(transport, str):
        return transport
    source, destination, body = transport
    if len(body) < 8:
        return "damaged"
    source_port, destination_port, length = struct.unpack_from(">HHH", body)
    if not 8 <= length <= len(body):
        return "damaged"
    return Datagram(
        packet.number, packet.time_ns, (source, source_port), (destination, destination_port), body[8:length]
    )


def _network(link: int, data: bytes) -> bytes | str:
    """What stands behind the link layer's header."""
    if link in _RAW:
        return data
    if link in (_NULL, _LOOP):  # four octets that name a family, which differs between systems: IP says it as well
        return data[4:]
    if link == _ETHERNET:
        at = 12
        while struct.unpack(">H", data[at : at + 2].ljust(2, b"\0"))[0] in _VLANS:
            at += 4
    elif link == _COOKED:
        at = 14
    elif link == _COOKED_2:
        return data[20:] if _is_ip(data[:2]) else "not IP"
    else:
        return f"link type {link} is not known"
    return data[at + 2 :] if _is_ip(data[at : at + 2]) else "not IP"


def _is_ip(protocol: bytes) -> bool:
    return int.from_bytes(protocol, "big") in (_IPV4, _IPV6)


def _ipv4(data: bytes) -> tuple[str, str, bytes] | str:
    """RFC 791: source, destination and what it carries; octets behind its length are the link's padding."""
    if len(data) < 20:
        return "damaged"
    header, length, fragment = (data[0] & 0x0F) * 4, *struct.unpack_from(">H2xH", data, 2)
    if not 20 <= header <= length <= len(data):
        return "damaged"
    if fragment & 0x3FFF:
        return "fragment"
    if data[9] != _UDP:
        return "not UDP"
    return str(ipaddress.IPv4Address(data[12:16])), str(ipaddress.IPv4Address(data[16:20])), data[header:length]


def _ipv6(data: bytes) -> tuple[str, str, bytes] | str:
    """RFC 8200 §3, §4."""
    if len(data) < 40 or len(data) < 40 + (length := struct.unpack_from(">H", data, 4)[0]):
        return "damaged"
    source, destination = (str(ipaddress.IPv6Address(data[at : at + 16])) for at in (8, 24))
    following, body = data[6], data[40 : 40 + length]
    while following in _EXTENSIONS:
        if len(body) < 8:
            return "damaged"
        following, body = body[0], body[8 + 8 * body[1] :]
    if following == _FRAGMENT:
        return "fragment"
    return (source, destination, body) if following == _UDP else "not UDP"
