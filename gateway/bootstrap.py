"""What a process is started with: its configuration and secrets in a sealed memory file that it inherits.

Secrets are never in arguments or the environment, where other users and crash reports see them. Everybody
gets the configuration as it was checked at the start, whatever has become of the file since; a process gets
no secret that it has no use for: the one that parses what strangers send gets those of its trunks alone.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import SecretStr

from gateway.config import Config, Sessions
from gateway.speech.settings import Speech

#: Processes that talk to the session service or are it.
TRUSTED: Final = ("controller", "sessions")
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Start(NamedTuple):
    """config: as checked; internal_key: what the controller shows to the embedded session service."""

    config: Config
    internal_key: str

    def __repr__(self) -> str:
        return "Start(…)"


def write(start: Start, role: str) -> int:
    """A file descriptor to hand to the process of this role."""
    key = start.internal_key if role in TRUSTED else ""
    fd = os.memfd_create("glotgate-start", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    data = json.dumps({"config": plain(start.config, role), "internal_key": key}).encode()
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def for_role(config: Config, role: str) -> Config:
    """What a process of this role is to know of a configuration."""
    if role in TRUSTED:
        return config
    blank: dict[str, Any] = {
        "sessions": Sessions(bind="127.0.0.1:0", stream_bind="127.0.0.1:0"),
        "speech": Speech(),
    }
    if role != "sip":
        blank["trunks"] = ()
    return config.model_copy(update=blank)


def plain(config: Config, role: str) -> dict[str, Any]:
    """The same as plain data, secrets in the open."""
    told: dict[str, Any] = _plain(for_role(config, role).model_dump())
    return told


def read(fd: int) -> Start:
    """What `write` wrote. Closes the descriptor."""
    with os.fdopen(fd, "rb") as file:
        data = json.load(file)
    return Start(Config.model_validate(data["config"]), data["internal_key"])


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
