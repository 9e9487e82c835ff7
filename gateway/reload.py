"""Reading the configuration again under running calls: what is taken at once, and what waits for a restart.

Every key is one or the other, by the table below; a test asks it for every key there is, so a new key has to be
thought about. What is taken goes to the processes as one whole configuration, in which the keys that must wait
still have their old values: a process that is replaced later gets the same. Pure but for reading the file.

    now      from the next call, stream or decision on; what runs keeps the terms that it began with
    restart  part of what was set up once: sockets, shared memory, the database
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from gateway import certificates
from gateway.config import Config
from gateway.configfile import ConfigError, load
from gateway.section import KeyPath, dotted


class Effect(Enum):
    NOW = "now"
    RESTART = "restart"


_NOW, _RESTART = Effect.NOW, Effect.RESTART

#: The longest path that a key begins with decides.
KEYS: Final[dict[str, Effect]] = {
    "sip": _NOW,
    "sip.bind": _RESTART,
    "sip.advertise": _RESTART,
    "sip.keepalive_s": _RESTART,
    "sip.trace": _RESTART,
    "media": _RESTART,
    "media.advertise": _NOW,
    "media.advertise6": _NOW,
    "media.playout.queue_s": _NOW,
    "media.playout.when_full": _NOW,
    "media.symmetric": _NOW,
    "media.no_rtp_timeout_s": _NOW,
    "media.original_gain_db": _NOW,
    "stream": _NOW,
    "stream.frame_ms": _RESTART,
    "stream.ca_file": _RESTART,
    "sessions": _RESTART,
    "sessions.on_last_leg": _NOW,
    "sessions.max_legs": _NOW,
    "speech": _RESTART,
    "trunks": _NOW,
    "routes": _NOW,
    "admin": _RESTART,
    "logging.level": _NOW,
    "logging.format": _RESTART,
    "logging.call_records": _NOW,
    "drain": _NOW,
    "overload": _NOW,
}


class Change(NamedTuple):
    """A key that has another value than what runs."""

    path: str
    effect: Effect


class Reload(NamedTuple):
    """What came of reading the file. config: what is in force from now on, None when the file is not taken."""

    problems: list[str]
    changes: list[Change]
    config: Config | None

    def paths(self, effect: Effect) -> list[str]:
        return [change.path for change in self.changes if change.effect is effect]


def read(file: Path, running: Config, now_unix: float) -> Reload:
    """Read the file again. A problem, also with a certificate that it names, leaves everything as it was."""
    try:
        fresh = load(file)
    except ConfigError as error:
        return Reload([str(problem) for problem in error.problems], [], None)
    config, changes = merge(running, fresh)
    if problems := certificates.problems(config, str(file), now_unix):
        return Reload([str(problem) for problem in problems], [], None)
    return Reload([], changes, config)


def merge(running: Config, fresh: Config) -> tuple[Config, list[Change]]:
    """What is in force of a fresh configuration, and every key in which it differs from the running one."""
    changes = list(_differences(running, fresh, ()))
    waiting = {change.path for change in changes if change.effect is _RESTART}
    merged: Config = _merged(running, fresh, (), waiting)
    return merged, changes


def effect(path: KeyPath) -> Effect:
    """Of a key. Raises KeyError for one that the table does not know."""
    for length in range(len(path), 0, -1):
        if found := KEYS.get(dotted(path[:length])):
            return found
    raise KeyError(dotted(path))


def leaves(model: type[BaseModel], path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key that holds a value; a list is one value."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, (*path, name))
        else:
            yield (*path, name)


def _differences(running: BaseModel, fresh: BaseModel, path: KeyPath) -> Iterator[Change]:
    for name in type(fresh).model_fields:
        before, after = getattr(running, name), getattr(fresh, name)
        inner = (*path, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            yield from _differences(before, after, inner)
        elif before != after:
            yield Change(dotted(inner), effect(inner))


def _merged(running: Any, fresh: Any, path: KeyPath, waiting: set[str]) -> Any:
    """The fresh section, with the running one's values where they have to wait."""
    values = {}
    for name in type(fresh).model_fields:
        before, after = getattr(running, name), getattr(fresh, name)
        inner = (*path, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            values[name] = _merged(before, after, inner, waiting)
        else:
            values[name] = before if dotted(inner) in waiting else after
    return fresh.model_copy(update=values)
