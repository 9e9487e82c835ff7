"""SIP messages as they stood on the wire: the latest of each call in a bounded memory, and copies for Homer.

What strangers send may fill an eighth of the memory only: a call that was told to the controller is kept apart from
the INVITEs of a scanner, and goes by the rule "heard of longest ago, forgotten first". Nothing leaves this module with
a password or a media key in it. Owns memory, redaction and the export's socket; reads no clock.
"""

from __future__ import annotations

import re
import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from gateway.section import split_host_port
from gateway.sip import hep
from gateway.sip.events import Traced, TraceWanted, WireMessage
from gateway.sip.stack import Wire
from gateway.transports import Trace

HIDDEN: Final = "[hidden]"
#: What a kept message costs beyond its text.
_OVERHEAD: Final = 600
_STRANGERS: Final = 8
#: Values that prove who somebody is (RFC 3261 §20.7, §20.28), and SDES keys (RFC 4568 §9.2).
_SECRET: Final = re.compile(
    r"(?P<keep>^(?:proxy-)?authorization[ \t]*:[ \t]*\w*)[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*|(?P<key>\binline:)[^\s|;]+",
    re.I | re.M,
)


def redact(text: str) -> str:
    """The message without what must not be seen."""
    return _SECRET.sub(lambda match: f"{match['keep']} {HIDDEN}" if match["keep"] else f"{match['key']}{HIDDEN}", text)


class _Shelf:
    """Calls with their messages, within `octets` in all and `each` messages a call."""

    def __init__(self, octets: int, each: int) -> None:
        self._bound, self._each = octets, each
        self._calls: OrderedDict[str, deque[WireMessage]] = OrderedDict()
        self.octets = 0

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._calls

    def open(self, call_id: str) -> deque[WireMessage]:
        """The place of a call, from now on the one heard of last."""
        if call_id not in self._calls:
            self._calls[call_id] = deque()
            self.octets += _OVERHEAD
        self._calls.move_to_end(call_id)
        return self._calls[call_id]

    def add(self, call_id: str, *messages: WireMessage) -> None:
        its = self.open(call_id)
        for message in messages:
            its.append(message)
            self.octets += _cost(message)
            if len(its) > self._each:
                self.octets -= _cost(its.popleft())
        while self.octets > self._bound:
            oldest, its = next(iter(self._calls.items()))
            if its:
                self.octets -= _cost(its.popleft())
            else:
                self.take(oldest)

    def of(self, call_id: str) -> list[WireMessage]:
        return list(self._calls.get(call_id, ()))

    def take(self, call_id: str) -> list[WireMessage]:
        """Its messages, and it is forgotten."""
        if call_id not in self._calls:
            return []
        messages = list(self._calls.pop(call_id))
        self.octets -= _OVERHEAD + sum(map(_cost, messages))
        return messages


def _cost(message: WireMessage) -> int:
    return len(message.text) + _OVERHEAD


class Memory:
    """octets: bound for all calls; 0 keeps nothing. each: messages a call."""

    def __init__(self, octets: int, each: int) -> None:
        self._strangers = _Shelf(octets // _STRANGERS, each)
        self._calls = _Shelf(octets - octets // _STRANGERS, each)

    @property
    def octets(self) -> int:
        return self._strangers.octets + self._calls.octets

    def add(self, call_id: str, message: WireMessage) -> None:
        """Keep a message of an INVITE dialog; those of others (OPTIONS, REGISTER) are not kept."""
        if call_id in self._calls:
            self._calls.add(call_id, message)
        elif call_id in self._strangers or message.text.startswith("INVITE "):
            self._strangers.add(call_id, message)

    def admit(self, call_id: str) -> None:
        """The dialog is a call, or is going to be: its messages are kept among those of calls."""
        self._calls.add(call_id, *self._strangers.take(call_id))

    def of(self, call_id: str) -> list[WireMessage]:
        """The messages that are kept of a call, the oldest first, without secrets."""
        return [
            WireMessage(m.time_us, m.sent, m.transport, m.local, m.remote, redact(m.text))
            for m in self._calls.of(call_id) or self._strangers.of(call_id)
        ]


class Exporter:
    """Copies for Homer. Never waits: what the kernel does not take, or what is too long, is dropped and counted."""

    def __init__(self, address: tuple[str, int], agent: int) -> None:
        """Raises OSError when the address has no meaning here."""
        family, kind, protocol, _, where = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._where = where
        self._agent = agent
        self.sent = self.dropped = 0

    def send(self, wire: Wire, time_us: int) -> None:
        source, destination = (wire.local, wire.remote) if wire.sent else (wire.remote, wire.local)
        payload = redact(wire.raw).encode(errors="surrogateescape")
        transport = wire.transport.lower()
        try:
            packet = hep.encode(payload, source, destination, transport, time_us, self._agent, wire.call_id)
            self._socket.sendto(packet, self._where)
        except (OSError, ValueError):
            self.dropped += 1
        else:
            self.sent += 1

    def close(self) -> None:
        self._socket.close()


#: What fits into one message to the controller, in characters.
MAX_ANSWER: Final = 60_000


def tracer(section: Trace, warn: Callable[[str], None]) -> Tracer:
    """What the configuration asks for. Homer is done without when its address has no meaning."""
    exporter = None
    if section.homer.address is not None:
        try:
            exporter = Exporter(split_host_port(section.homer.address), section.homer.agent)
        except OSError as error:
            warn(f"no export to {section.homer.address}: {error}")
    return Tracer(Memory(section.memory_kb * 1024, section.messages_per_call), exporter)


class Tracer:
    """Both at once. exporter: None without Homer."""

    def __init__(self, memory: Memory, exporter: Exporter | None) -> None:
        self.memory = memory
        self._exporter = exporter

    def take(self, wire: Wire, time_us: int) -> None:
        local, remote = (
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in (wire.local, wire.remote)
        )
        message = WireMessage(time_us, wire.sent, wire.transport.lower(), local, remote, wire.raw)
        self.memory.add(wire.call_id, message)
        if self._exporter is not None:
            self._exporter.send(wire, time_us)

    def answer(self, wanted: TraceWanted) -> Traced:
        """What is kept of a call, the latest of it when it is too long for a message."""
        messages: list[WireMessage] = []
        room = MAX_ANSWER
        for message in reversed(self.memory.of(wanted.sip_call_id)):
            room -= len(message.text)
            if room < 0:
                break
            messages.insert(0, message)
        return Traced(wanted.request, messages)

    @property
    def exported(self) -> dict[str, int]:
        """Counters of the export."""
        exporter = self._exporter
        return {
            "homer_sent": 0 if exporter is None else exporter.sent,
            "homer_dropped": 0 if exporter is None else exporter.dropped,
        }
