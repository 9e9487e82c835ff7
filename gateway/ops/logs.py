"""Log lines: JSON for machines, colours for a terminal, no secret in either, and a bound on repetition.

Every line of a call carries `call_id`, `session_id` and `sip_call_id`: bind them once
(`log = log.bind(call_id=…)`) and hand that logger on. Nothing here is global but the bridge for
libraries that speak `logging`. Owns what a line looks like and what must not stand in it; what is
worth a line is the caller's to know.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from gateway.config import Logging
from gateway.ops.loglevel import LogLevel

Log = FilteringBoundLogger

#: A peer decides what stands in many values; none of them may flood the log.
MAX_VALUE: Final = 2000
HIDDEN: Final = "[hidden]"

_SECRET_KEY: Final = re.compile(
    r"(^|[_-])(token|secret|password|passwd|authorization|api[_-]?key|internal_key|receive_key|send_key|ha1)$",
    re.I,
)
_SECRET_TEXT: Final = re.compile(
    r"(?P<keep>[?&](?:token|api_key|key|secret)=|\bbearer\s+|\bbasic\s+|inline:|://[^/\s:@]*:(?=[^/\s@]*@))"
    r"[^\s&\"'@|,]+|\b(?:sk_(?:live|test)|kst|whsec)_[A-Za-z0-9_-]{4,}",
    re.I,
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def redact(value: Any, key: str = "") -> Any:
    """The value without secrets: by its key's name, or by what is known to be one inside a text."""
    if key and _SECRET_KEY.search(key) and value is not None:
        return HIDDEN
    if isinstance(value, str):
        text = _SECRET_TEXT.sub(lambda match: (match["keep"] or "") + HIDDEN, value)
        return text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + f"… ({len(text)} characters)"
    if isinstance(value, dict):
        return {name: redact(item, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    return value


def make_logger(settings: Logging, process: str, stream: TextIO | None = None, level: LogLevel | None = None) -> Log:
    """A logger that writes to `stream` (default: standard error) and says which process speaks.

    level: one that may change; without it the one of the settings holds for good.
    """
    out = stream if stream is not None else sys.stderr
    return cast(Log, structlog.wrap_logger(structlog.WriteLogger(out), **_form(settings, process, out, level)))


def install(settings: Logging, process: str, stream: TextIO | None = None, level: LogLevel | None = None) -> Log:
    """Make this the form of every line of the process: of `structlog.get_logger`, and of what libraries say
    through `logging` from WARNING on. Once per process, by its composition root."""
    out = stream if stream is not None else sys.stderr
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(out), **_form(settings, process, out, level))
    log = make_logger(settings, process, out, level)
    root = logging.getLogger()
    root.handlers[:] = [_Bridge(log)]
    root.setLevel(logging.WARNING)
    return log


def _form(settings: Logging, process: str, out: TextIO, level: LogLevel | None) -> dict[str, Any]:
    def say_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    processors: list[Processor] = [
        *([] if level is None else [level.keep]),
        say_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,  # text, for a structured traceback would show local variables
        _redact_line,
    ]
    if settings.format == "console" or (settings.format == "auto" and out.isatty()):
        processors += [_escape, structlog.dev.ConsoleRenderer(colors=out.isatty(), timestamp_key="time")]
    else:
        processors.append(_to_json)
    lowest = logging.DEBUG if level is not None else logging.getLevelNamesMapping()[settings.level.upper()]
    return {
        "processors": processors,
        "wrapper_class": structlog.make_filtering_bound_logger(lowest),
        "cache_logger_on_first_use": True,
    }


class OncePerCall:
    """Lets one line through for each cause and call, and counts the others. suppressed: called for each of these.

    Memory is bounded by `calls` × `causes`: the call heard of longest ago is forgotten first, and causes
    beyond the bound count as one.
    """

    def __init__(self, suppressed: Callable[[], None] = lambda: None, calls: int = 4096, causes: int = 32) -> None:
        self._suppressed = suppressed
        self._calls: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._bounds = calls, causes

    def first(self, cause: str, call: str = "") -> bool:
        """Whether this is the first time; every time counts."""
        counts = self._calls.setdefault(call, {})
        self._calls.move_to_end(call)
        if len(self._calls) > self._bounds[0]:
            self._calls.popitem(last=False)
        if cause not in counts and len(counts) >= self._bounds[1]:
            cause = "other"
        counts[cause] = counts.get(cause, 0) + 1
        if counts[cause] > 1:
            self._suppressed()
        return counts[cause] == 1

    def end(self, call: str) -> dict[str, int]:
        """Forget the call. Returns how often each cause came up, for its record."""
        return self._calls.pop(call, {})


class Spaced:
    """Lets a line for a key through at most every `interval_s`; for what belongs to no call."""

    def __init__(self, interval_s: float = 60.0, keys: int = 1024) -> None:
        self._interval_s, self._keys = interval_s, keys
        self._last: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def due(self, key: str, now_s: float) -> int:
        """0: not now. Otherwise how many times it has come up since the last line, this time included."""
        last = self._last.get(key)
        if last is not None and now_s - last[0] < self._interval_s:
            self._last[key] = (last[0], last[1] + 1)
            return 0
        self._last[key] = (now_s, 0)
        self._last.move_to_end(key)
        if len(self._last) > self._keys:
            self._last.popitem(last=False)
        return 1 + (last[1] if last else 0)


class _Bridge(logging.Handler):
    """A line of `logging` as one of ours."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _redact_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: redact(value, key) for key, value in event.items()}


def _escape(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A peer's control characters must not draw lines of their own. Tracebacks are ours."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception":
            event[key] = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", value)
    return event


def _to_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    line = {name: event.pop(name) for name in ("time", "level", "process", "event") if name in event}
    line.update(event)
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except UnicodeEncodeError:  # bytes of a peer that were no UTF-8, kept as lone surrogates
        return json.dumps(line, default=str)
