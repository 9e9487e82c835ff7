"""Which address of ours a peer is told to send its RTP to.

What the configuration says, if it says one; else the address that the host's routing table takes towards the
peer, which is what a PBX in the same network can reach. Owns that choice and nothing else.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import OrderedDict
from typing import Final

#: Peers whose answer is remembered; routes change seldom, and a restart asks again.
MAX_REMEMBERED: Final = 1024


class Advertiser:
    """bind, advertise: `media.bind` and `media.advertise`."""

    def __init__(self, bind: str, advertise: str | None) -> None:
        self._fixed = advertise or (None if ipaddress.ip_address(bind).is_unspecified else bind)
        self._bind = bind
        self._known: OrderedDict[str, str] = OrderedDict()

    def towards(self, source: str) -> str:
        """The address for a peer. source: `host:port`, `[v6]:port` or a bare address, as the sip process tells it."""
        if self._fixed is not None:
            return self._fixed
        host = host_of(source)
        if host is None:
            return self._bind
        address = self._known.get(host)
        if address is None:
            address = self._known[host] = _route_to(host) or self._bind
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return address


def host_of(source: str) -> str | None:
    """The IP address in what the sip process tells of a source; None when there is none."""
    host = source
    if source.startswith("["):
        host = source[1:].partition("]")[0]
    elif source.count(":") == 1:
        host = source.partition(":")[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _route_to(host: str) -> str | None:
    """The local address of a datagram socket that is connected there. Nothing is sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])
