"""Which address of ours a peer is told to send its RTP to.

What the configuration says, if it says one; else the address that the host's routing table takes towards the
peer, which is what a PBX in the same network can reach. Owns that choice and nothing else.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections import OrderedDict
from typing import Final

from gateway.config import Media

#: Peers whose answer is remembered; routes change seldom, and a restart asks again.
MAX_REMEMBERED: Final = 1024


_CONNECTION: Final = re.compile(r"^c=IN IP[46] ([^\s/]+)", re.M)


class Addresses:
    """The address for each call: of the family that the peer offers, where we have one of it."""

    def __init__(self, media: Media) -> None:
        first = Advertiser(media.bind, media.advertise)
        second = None if media.bind6 is None else Advertiser(media.bind6, media.advertise6)
        self._of: dict[bool, Advertiser] = {":" in media.bind: first}
        if second is not None:
            self._of[True] = second
        self._else = first

    def towards(self, source: str, offer: str | None) -> str:
        """source: whom the INVITE came from, or goes to. offer: its SDP, whose address decides on the family."""
        offered = _offered_address(offer)
        signalling = host_of(source)
        peer = offered or signalling or ""
        chosen = self._of.get(":" in peer, self._else)
        # A signalling address of the other family says nothing of the way that media will take.
        same = signalling is not None and (":" in signalling) == (":" in peer)
        return chosen.towards(signalling if same and signalling else peer)


def _offered_address(offer: str | None) -> str | None:
    """The connection address of an SDP's first medium; None when it has none that is an address."""
    session, _, media = (offer or "").partition("\nm=")
    found = _CONNECTION.search(media) or _CONNECTION.search(session)
    try:
        return None if found is None else str(ipaddress.ip_address(found[1]))
    except ValueError:
        return None


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
