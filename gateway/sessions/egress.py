"""Where webhooks may lead: not to this host's own networks, unless the configuration allows them.

Owns the private-network guard and the HTTP request behind it. A name is resolved here, every address is
judged, and the request goes to the address that was judged, so that a name can not change its mind.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

import httpx

from gateway.sessions.webhooks import TIMEOUT_S, Answer

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

#: Octets of an answer that are read. Few use them, but a connection is kept only when all was read.
_ANSWER_LIMIT: Final = 64 * 1024


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


#: IPv6 networks in which an address stands for an IPv4 address: RFC 4291 §2.5.5.1 (deprecated), RFC 6052 §2.1,
#: and RFC 3056 (6to4, four octets further up).
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def _reached(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, else itself: ::ffff:10.0.0.1 is 10.0.0.1."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class Guard:
    """Judges addresses. allowed: networks of our own that webhooks may reach."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = [ipaddress.ip_network(network) for network in allowed]

    def admits(self, text: str) -> bool:
        """Whether a webhook may go to this address."""
        address = _reached(ipaddress.ip_address(text.partition("%")[0]))
        if any(address.version == network.version and address in network for network in self._allowed):
            return True
        elsewhere = address.is_multicast or address.is_reserved or getattr(address, "is_site_local", False)
        return address.is_global and not elsewhere

    async def addresses(self, url: str, resolve: Resolve = resolve) -> list[str]:
        """The addresses to which a request for this URL may go. Raises PermissionError, OSError, ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http:// or https:// address")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = await resolve(parts.hostname, port)
        refused = [address for address in found if not self.admits(address)]
        if refused or not found:
            raise PermissionError(
                f"{parts.hostname} leads to {', '.join(refused) or 'nowhere'}, which sessions.webhooks."
                "allow_networks does not allow"
            )
        return found

    async def check(self, url: str, patience_s: float = 1.0, resolve: Resolve = resolve) -> None:
        """When a URL is given: refuse what is certain. Raises PermissionError, ValueError.

        A name that can not be resolved now passes: it is judged again before each request.
        """
        try:
            async with asyncio.timeout(patience_s):
                await self.addresses(url, resolve)
        except (OSError, TimeoutError) as error:
            if isinstance(error, PermissionError):
                raise


class HttpPost:
    """The `Post` of a running service. insecure TLS is not to be had."""

    def __init__(self, guard: Guard, resolve: Resolve = resolve) -> None:
        self._guard = guard
        self._resolve = resolve
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, limits=httpx.Limits(max_connections=64)
        )

    async def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        answer, _ = await self.ask(url, body, headers, TIMEOUT_S)
        return answer

    async def ask(self, url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> tuple[Answer, bytes]:
        """The same, and what was answered: at most 64 KiB of it."""
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await self._guard.addresses(url, self._resolve)
                return await self._send(url, addresses[0], body, headers)
        except (PermissionError, ValueError, httpx.InvalidURL) as error:
            return Answer(None, str(error), refused=True), b""
        except (OSError, httpx.HTTPError, TimeoutError) as error:
            return Answer(None, f"{type(error).__name__}: {error}".strip(": ")), b""

    async def _send(self, url: str, address: str, body: bytes, headers: dict[str, str]) -> tuple[Answer, bytes]:
        asked = httpx.URL(url)
        request = self._client.build_request(
            "POST",
            asked.copy_with(host=address),
            content=body,
            headers=headers | {"Host": asked.netloc.decode()},
            extensions={"sni_hostname": asked.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            answered = bytearray()
            async for chunk in response.aiter_raw():
                answered += chunk
                if len(answered) > _ANSWER_LIMIT:
                    break
            return Answer(response.status_code, ""), bytes(answered[:_ANSWER_LIMIT])
        finally:
            await response.aclose()

    async def close(self) -> None:
        await self._client.aclose()
