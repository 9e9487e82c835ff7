"""The sockets of one leg, and the kernel as its first source filter.

A leg has two sockets on its RTP port: `media`, connected to the address that the leg believes, and `wild`,
which gets what everybody else sends. The kernel prefers the connected one, so a stranger's packet never
reaches the media path, a send needs no address, and an ICMP refusal of our packets comes back as an error
of `media`. A third one takes RTCP on the next port. Nobody else may bind these ports.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import Final

#: Bursts of a peer: 2 s of packets, at about 700 octets of kernel memory each.
_MEDIA_BUFFER: Final = 128 * 1024
_STRANGER_BUFFER: Final = 16 * 1024


def family_of(address: str) -> socket.AddressFamily:
    """The address family of an IP address in text form."""
    return socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET


class LegSockets:
    """Opens `wild` and `rtcp` at once, `media` on the first `connect`. Raises OSError when a port is taken."""

    def __init__(self, bind: str, port: int) -> None:
        self._bind = bind
        self._family = family_of(bind)
        self.port = port
        self.media: socket.socket | None = None
        self.remote: tuple[str, int] | None = None
        self.wild = self._socket(port, _STRANGER_BUFFER)
        try:
            self.rtcp = self._socket(port + 1, _STRANGER_BUFFER)
        except OSError:
            self.wild.close()
            raise

    def connect(self, address: str, port: int) -> socket.socket:
        """Believe this address from now on; returns `media`. Raises OSError when it can not be reached; `media` stays
        what it was then: a first one that is connected to nobody would hear everybody."""
        media = self.media
        if media is None:
            # Sharing the port is allowed for just as long as it takes to bind the second socket of ours.
            self.wild.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                media = self._socket(self.port, _MEDIA_BUFFER, share=True)
            finally:
                self.wild.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
            media.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        try:
            media.connect((address, port))
        except OSError:
            if self.media is None:
                media.close()
            raise
        self.media, self.remote = media, (address, port)
        self._discard(media)  # what came in before the connect may be a stranger's
        return media

    def close(self) -> None:
        for sock in (self.media, self.wild, self.rtcp):
            if sock is not None:
                sock.close()

    def _socket(self, port: int, buffer: int, share: bool = False) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if share:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            with contextlib.suppress(PermissionError):  # DSCP EF (RFC 4594 §4.1); a courtesy of the host
                if self._family == socket.AF_INET:
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)
                else:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xB8)
            sock.bind((self._bind, port))
        except OSError:
            sock.close()
            raise
        return sock

    @staticmethod
    def _discard(sock: socket.socket) -> None:
        for _ in range(1024):
            try:
                sock.recv(1)
            except BlockingIOError:
                return
            except OSError:
                continue  # a pending ICMP error of the address before
