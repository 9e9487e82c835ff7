"""What every section of the configuration is made of: the base class, the checked types, the faults of keys.

Owns no section. `gateway/config.py` and the modules whose sections it composes build on this.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"^(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*$")


KeyPath = tuple[str | int, ...]


class KeyFault(NamedTuple):
    """One value that does not go with others. path: the key that is blamed, seen from the section that says
    so; other: the key that it clashes with, for a file that leaves the blamed one at its default."""

    path: KeyPath
    reason: str
    other: KeyPath = ()


class KeyFaults(ValueError):
    """Values that do not go together."""

    def __init__(self, *faults: KeyFault) -> None:
        super().__init__("; ".join(fault.reason for fault in faults))
        self.faults = faults


def _ip(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _ipv6(value: str) -> str:
    return str(ipaddress.IPv6Address(value))


def split_host_port(value: str) -> tuple[str, int]:
    """Split `host:port` or `[v6]:port`. Raises ValueError naming what is wrong."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{value!r} is not host:port")
    host = host.strip("[]")
    try:
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError:
        if not _HOST.match(host):
            raise ValueError(f"{host!r} is neither an IP address nor a host name") from None
        return host, int(port)


def _host_port(value: str) -> str:
    split_host_port(value)
    return value


def _host(value: str) -> str:
    split_host_port(f"{value}:0")
    return value


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value))


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{value!r} is not an http:// or https:// address")
    return value.rstrip("/")


IpAddress = Annotated[str, AfterValidator(_ip)]
Ipv6Address = Annotated[str, AfterValidator(_ipv6)]
HostPort = Annotated[str, AfterValidator(_host_port)]
Host = Annotated[str, AfterValidator(_host)]
Network = Annotated[str, AfterValidator(_network)]
Pattern = Annotated[str, AfterValidator(_pattern)]
WebAddress = Annotated[str, AfterValidator(_web_address)]


def dotted(path: KeyPath) -> str:
    """A key's path as people write it: `sip.bind[0].address`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".")


class Section(BaseModel):
    """A part of the file. Unknown keys are errors: a misspelt key must not pass in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
