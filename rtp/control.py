"""Commands into and events out of the rtp process, across the process border.

A leg is named by `row` and `generation`: a row is reused after its leg has gone, a generation never,
so a late command can not touch somebody else's leg. Audio does not travel this way (`plane.py`).
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class Command(Struct, frozen=True, tag=True):
    """From the controller to the rtp process."""


class OpenLeg(Command, frozen=True):
    """Take a row and a port pair. Answered by `LegOpened` or `LegRefused` with the same `request`.

    rtp_port: 0 for any free pair, else this one (a leg that is opened again after a restart). ipv6: on the address
    for IPv6, where there is one of its own.
    """

    request: int
    rtp_port: int = 0
    ipv6: bool = False


class Srtp(Struct, frozen=True):
    """SDES keys (RFC 4568): suite name, and key||salt for what we receive and for what we send."""

    suite: str
    receive_key: bytes
    send_key: bytes

    def __repr__(self) -> str:
        return f"Srtp(suite={self.suite!r}, keys hidden)"


class ConfigureLeg(Command, frozen=True):
    """What the SDP negotiation settled. May be sent again at any time (hold, new address, new codec).

    payload_type / codec: what we send, and what we accept (both G.711 laws are accepted whenever their
    static numbers arrive in `accept`). dtmf_type, cn_type: -1 when not negotiated. send / receive: the
    direction from our side. ptime_ms: what we send. symmetric: off, auto, on. srtp: None is plain RTP.
    rtcp_port: 0 means that RTCP is on the RTP port (rtcp-mux), -1 no RTCP.
    """

    row: int
    generation: int
    remote_address: str
    remote_port: int
    rtcp_address: str
    rtcp_port: int
    payload_type: int
    codec: str
    accept: dict[int, str]
    dtmf_type: int = -1
    cn_type: int = -1
    ptime_ms: int = 20
    send: bool = True
    receive: bool = True
    symmetric: str = "auto"
    srtp: Srtp | None = None
    cname: str = ""


class SetGains(Command, frozen=True):
    """What a leg hears besides its own translated stream: other legs' originals, each with its gain.

    sources: (row, generation, linear gain while no translated speech plays, linear gain while it plays).
    own_gain: linear gain of the leg's own translated stream.
    """

    row: int
    generation: int
    own_gain: float
    sources: list[tuple[int, int, float, float]]


class SendDigits(Command, frozen=True):
    """Play digits by RFC 4733, one after the other."""

    row: int
    generation: int
    digits: str
    duration_ms: int = 100
    gap_ms: int = 60


class CloseLeg(Command, frozen=True):
    """Free the row; the port pair goes into quarantine. Answered by `LegClosed`."""

    row: int
    generation: int


class Stop(Command, frozen=True):
    """End the process."""


class Event(Struct, frozen=True, tag=True):
    """From the rtp process to the controller."""


class EngineReady(Event, frozen=True):
    """The loop runs. notes: each thing that the host did not permit, in words for the operator."""

    scheduler: str
    notes: list[str]


class LegOpened(Event, frozen=True):
    request: int
    row: int
    generation: int
    rtp_port: int


class LegRefused(Event, frozen=True):
    """reason: capacity, ports."""

    request: int
    reason: str


class LegClosed(Event, frozen=True):
    """The final statistics, as `plane.STATS` fields by name."""

    row: int
    generation: int
    rtp_port: int
    statistics: dict[str, float]


class RemoteChanged(Event, frozen=True):
    """The leg now believes, and sends to, another address (symmetric RTP)."""

    row: int
    generation: int
    address: str
    port: int


class StrangerSeen(Event, frozen=True):
    """Packets from an address that the leg does not believe; sent once per address, bounded per leg."""

    row: int
    generation: int
    address: str
    port: int


class DigitReceived(Event, frozen=True):
    """A key press (RFC 4733), once per press. timestamp_ms: media time of the stream's `timestamp_ms`."""

    row: int
    generation: int
    digit: str
    duration_ms: int
    timestamp_ms: int


class SpeechChanged(Event, frozen=True):
    """Energy VAD on the leg's received audio."""

    row: int
    generation: int
    speaking: bool
    timestamp_ms: int


class LoopCounters(Event, frozen=True):
    """Monotonic counters and histograms of the loop, each second.

    rejected: packets by RejectReason label. lateness, send_lateness: counts per bound of
    `LATENESS_BOUNDS_US`, the last beyond all; sums in seconds.
    """

    legs: int
    slots: int
    slots_missed: int
    rejected: dict[str, int]
    lateness: list[int]
    lateness_sum_s: float
    interval_error: list[int]
    interval_error_sum_s: float
    ports_free: int
    ports_quarantined: int


#: Upper bounds of the lateness and interval error histograms, in µs.
LATENESS_BOUNDS_US = (50, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12000, 20000, 50000)

AnyCommand = OpenLeg | ConfigureLeg | SetGains | SendDigits | CloseLeg | Stop
AnyEvent = (
    EngineReady
    | LegOpened
    | LegRefused
    | LegClosed
    | RemoteChanged
    | StrangerSeen
    | DigitReceived
    | SpeechChanged
    | LoopCounters
)


class MessageChannel(Protocol):
    """What the engine and the loop need of a channel; the composition root brings one."""

    def fileno(self) -> int: ...
    @property
    def backlog(self) -> int: ...
    def send(self, message: Struct) -> bool: ...
    def flush(self) -> None: ...
    def receive(self, limit: int = 256) -> list[AnyEvent]: ...


class CommandChannel(Protocol):
    """The other end: it receives commands."""

    def fileno(self) -> int: ...
    @property
    def backlog(self) -> int: ...
    def send(self, message: Struct) -> bool: ...
    def flush(self) -> None: ...
    def receive(self, limit: int = 256) -> list[AnyCommand]: ...
