"""The configuration: every key, its type, its default and its bounds.

Owns the shape of `etc/glotgate.yaml` and nothing else: it opens no socket and starts nothing.
Reading a file (YAML positions, `${ENV}` and `${file:…}` substitution, errors with key path and
line) is `gateway/configfile.py`. Units are in the names: `_ms`, `_s`, `_kb`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator

from gateway.section import (
    Host,
    HostPort,
    IpAddress,
    Ipv6Address,
    KeyFault,
    KeyFaults,
    KeyPath,
    Network,
    Pattern,
    Section,
    WebAddress,
    dotted,
    split_host_port,
)
from gateway.speech.settings import Speech
from gateway.speech.tools import ToolDefinition
from gateway.transports import Overload, SipBind, Tls, Trace, tls_faults
from gateway.trunks import Admission, Codec, SrtpPolicy, SymmetricPolicy, Trunk, clashes, exposure

#: Calls that the PyPI wheel of pjsua2 accepts (PJSUA_MAX_CALLS 4); a built one takes 4096.
MAX_CAPACITY = 4096

FrameMillis = Literal[20, 40, 60, 80, 100, 120, 140, 160, 180, 200]


def _database(value: str) -> str:
    if not re.match(r"(sqlite|postgresql)(\+\w+)?://", value):
        raise ValueError("a database is named sqlite:////path/to/file or postgresql://…")
    return value


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdigit() else value


class Sip(Section):
    bind: tuple[SipBind, ...] = (SipBind(), SipBind(transport="tcp"))
    advertise: Host | None = None
    codecs: tuple[Codec, ...] = ("PCMU", "PCMA")
    srtp: SrtpPolicy = "disabled"
    max_message_kb: Annotated[int, Field(ge=2, le=64)] = 64
    retry_after_s: Annotated[int, Field(ge=1, le=3600)] = 5
    keepalive_s: Annotated[int, Field(ge=0, le=3600)] = 60
    tls: Tls = Tls()
    trace: Trace = Trace()
    unknown_source: Literal["reject", "drop"] = "reject"
    admission: Admission = Admission()

    @field_validator("bind", "codecs")
    @classmethod
    def _not_empty(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if not value:
            raise ValueError("at least one is needed")
        if len(set(value)) != len(value):
            raise ValueError("the same entry stands here twice")
        return value

    @model_validator(mode="after")
    def _secured(self) -> Self:
        if faults := tls_faults(self.bind, self.tls):
            raise KeyFaults(*faults)
        return self


class Jitter(Section):
    """Playout delay of received RTP, in ms: adaptive between min and max. min = max is a fixed delay."""

    min_ms: Annotated[int, Field(ge=10, le=500)] = 20
    start_ms: Annotated[int, Field(ge=10, le=500)] = 40
    max_ms: Annotated[int, Field(ge=10, le=500)] = 200

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_ms <= self.start_ms <= self.max_ms:
            raise ValueError(f"min_ms {self.min_ms} ≤ start_ms {self.start_ms} ≤ max_ms {self.max_ms} must hold")
        return self


class Playout(Section):
    """The return leg: how much is held before playing, and how much may be queued."""

    lead_ms: Annotated[int, Field(ge=0, le=1000)] = 60
    queue_s: Annotated[int, Field(ge=1, le=300)] = 60
    when_full: Literal["drop_oldest", "pushback"] = "drop_oldest"


class PortRange(Section):
    """RTP ports, even to RTP, the next odd one to RTCP. Inclusive."""

    first: Annotated[int, Field(ge=1024, le=65534)] = 16384
    last: Annotated[int, Field(ge=1025, le=65535)] = 20479
    quarantine_s: Annotated[int, Field(ge=0, le=600)] = 30

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.first % 2:
            raise KeyFaults(KeyFault(("first",), f"{self.first} must be even (RFC 3550 §11: RTP even, RTCP odd)"))
        if self.last <= self.first:
            raise KeyFaults(KeyFault(("last",), f"{self.last} must be above first {self.first}"))
        return self

    @property
    def pairs(self) -> int:
        return (self.last - self.first + 1) // 2


class Realtime(Section):
    """What the real-time loop asks of the host. `auto` takes what it gets and reports what it did not."""

    scheduler: Literal["auto", "fifo", "other"] = "auto"
    priority: Annotated[int, Field(ge=1, le=90)] = 20
    cpu: Annotated[int, Field(ge=0)] | None = None
    lock_memory: bool = True


class Media(Section):
    bind: IpAddress = "0.0.0.0"
    advertise: IpAddress | None = None
    bind6: Ipv6Address | None = None
    advertise6: Ipv6Address | None = None
    ports: PortRange = PortRange()
    capacity: Annotated[int, Field(ge=1, le=MAX_CAPACITY)] = 1000
    jitter: Jitter = Jitter()
    playout: Playout = Playout()
    symmetric: SymmetricPolicy = "auto"
    dtx: bool = False
    vad_events: bool = False
    no_rtp_timeout_s: Annotated[int, Field(ge=0, le=86400)] = 60
    original_gain_db: Annotated[float, Field(ge=-60, le=0)] | Literal["off"] = -18.0
    realtime: Realtime = Realtime()

    @model_validator(mode="after")
    def _enough_ports(self) -> Self:
        if self.ports.pairs < self.capacity:
            held = f"{self.ports.first}–{self.ports.last} hold {self.ports.pairs}"
            fault = f"{self.capacity} legs need as many port pairs; ports {held}"
            raise KeyFaults(KeyFault(("capacity",), fault))
        return self

    @model_validator(mode="after")
    def _one_of_each_family(self) -> Self:
        if self.bind6 and ":" in self.bind:
            raise KeyFaults(KeyFault(("bind6",), f"bind is IPv6 already, {self.bind}", ("bind",)))
        return self


class Reconnect(Section):
    """How a lost stream is sought again while the call stays up."""

    first_ms: Annotated[int, Field(ge=10, le=60_000)] = 200
    max_ms: Annotated[int, Field(ge=10, le=60_000)] = 5_000
    give_up_s: Annotated[int, Field(ge=0, le=3600)] = 60
    keep_s: Annotated[int, Field(ge=0, le=60)] = 5


class Stream(Section):
    frame_ms: Annotated[FrameMillis, BeforeValidator(_number)] = 20
    ready_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    ping_s: Annotated[float, Field(ge=1, le=300)] = 10.0
    pong_timeout_s: Annotated[float, Field(ge=1, le=300)] = 10.0
    send_queue_kb: Annotated[int, Field(ge=16, le=8192)] = 256
    ca_file: Path | None = None
    reconnect: Reconnect = Reconnect()


class Webhooks(Section):
    url: WebAddress | None = None
    secret: SecretStr | None = None
    allow_networks: tuple[Network, ...] = ()


class Sessions(Section):
    """Where sessions live: in the embedded service, or in a hosted one."""

    mode: Literal["embedded", "remote"] = "embedded"
    url: WebAddress | None = None
    api_key: SecretStr | None = None
    bind: HostPort = "127.0.0.1:8080"
    stream_bind: HostPort = "127.0.0.1:8081"
    public_url: WebAddress | None = None
    stream_public_url: Annotated[str, Field(pattern=r"^wss?://[^/?#]+$")] | None = None
    node: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "main"
    node_url: WebAddress | None = None
    database: Annotated[str, AfterValidator(_database)] = "sqlite:////var/lib/glotgate/sessions.db"
    data_dir: Path = Path("/var/lib/glotgate")
    interpreter: Literal["pipeline", "loopback"] = "pipeline"
    on_last_leg: Literal["end", "keep"] = "end"
    max_legs: Annotated[int, Field(ge=1, le=32)] = 16
    reconnect_window_s: Annotated[int, Field(ge=1, le=3600)] = 300
    inactive_timeout_s: Annotated[int, Field(ge=10, le=86400)] = 1800
    recording_retention_days: Annotated[int, Field(ge=0, le=36500)] = 30
    webhooks: Webhooks = Webhooks()

    @model_validator(mode="after")
    def _remote_needs_url(self) -> Self:
        if self.mode == "remote":
            faults: list[KeyFault] = []
            if not self.url:
                faults.append(KeyFault(("url",), "is needed with mode: remote"))
            if self.api_key is None:
                example = "${file:/etc/glotgate/api_key}"
                faults.append(KeyFault(("api_key",), f"is needed with mode: remote, for example {example}"))
            if faults:
                raise KeyFaults(*faults)
        return self


class RouteAgent(Section):
    """The agent of the sessions that a route creates, as `ai_agent` of the sessions API describes it."""

    system_prompt: Annotated[str, Field(min_length=1, max_length=20_000)]
    greeting: Annotated[str, Field(max_length=2_000)] | None = None
    voice: Annotated[str, Field(max_length=200)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    tools: Annotated[tuple[ToolDefinition, ...], Field(max_length=64)] = ()


class Route(Section):
    """A user part that is not a session id: which session to create for it."""

    name: str
    user: Pattern = ".*"
    from_uri: Pattern | None = None
    trunk: Pattern | None = None
    headers: dict[str, Pattern] = Field(default_factory=dict)
    mode: Literal["bidirectional_translation", "assistive_translation", "ai_agent", "help_chat_voice"]
    source_language: str | None = None
    target_language: str | None = None
    speaker: str | None = None
    ai_agent: RouteAgent | None = None
    metadata: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agent_described(self) -> Self:
        if self.mode == "ai_agent" and self.ai_agent is None:
            raise KeyFaults(KeyFault(("ai_agent",), "is needed with mode: ai_agent", ("mode",)))
        return self


class Admin(Section):
    bind: HostPort = "127.0.0.1:9464"


class Logging(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    call_records: Path | None = None


class Drain(Section):
    timeout_s: Annotated[int, Field(ge=0, le=86400)] = 300


class Config(Section):
    """The whole file."""

    sip: Sip = Sip()
    media: Media = Media()
    stream: Stream = Stream()
    sessions: Sessions = Sessions()
    speech: Speech = Speech()
    trunks: tuple[Trunk, ...] = ()
    routes: tuple[Route, ...] = ()
    admin: Admin = Admin()
    logging: Logging = Logging()
    drain: Drain = Drain()
    overload: Overload = Overload()

    @model_validator(mode="after")
    def _trunks_apart(self) -> Self:
        if faults := clashes(self.trunks):
            raise KeyFaults(*(KeyFault(("trunks", *f.path), f.reason, ("trunks", *f.other)) for f in faults))
        return self

    def exposure(self) -> list[str]:
        """What an operator should know of who may call: see `trunks.exposure`."""
        return exposure(self.trunks, (split_host_port(bind.address)[0] for bind in self.sip.bind))

    @model_validator(mode="after")
    def _ports_apart(self) -> Self:
        """No two listeners on one port, and none inside the RTP range: it would lose a leg its port."""
        listeners: list[tuple[KeyPath, str, str]] = [
            *((("sip", "bind", i, "address"), _carrier(b), b.address) for i, b in enumerate(self.sip.bind)),
            (("admin", "bind"), "tcp", self.admin.bind),
        ]
        if self.sessions.mode == "embedded":
            listeners.append((("sessions", "bind"), "tcp", self.sessions.bind))
            listeners.append((("sessions", "stream_bind"), "tcp", self.sessions.stream_bind))
        ports = self.media.ports
        faults: list[KeyFault] = []
        for i, (path, transport, address) in enumerate(listeners):
            host, port = split_host_port(address)
            if ports.first <= port <= ports.last:
                inside = f"port {port} lies inside media.ports {ports.first}–{ports.last}"
                faults.append(KeyFault(path, inside, ("media", "ports")))
            for its_path, its_transport, its_address in listeners[:i]:
                its_host, its_port = split_host_port(its_address)
                if port and (port, transport) == (its_port, its_transport) and _overlap(host, its_host):
                    taken = f"{transport} port {port} is taken by {dotted(its_path)}"
                    faults.append(KeyFault(path, taken, its_path))
        if faults:
            raise KeyFaults(*faults)
        return self


def _carrier(bind: SipBind) -> str:
    """Which ports a transport takes."""
    return "udp" if bind.transport == "udp" else "tcp"


def _overlap(a: str, b: str) -> bool:
    """Whether two addresses to bind can not share a port: equal, or one of them is every address."""
    return a == b or "0.0.0.0" in (a, b) or "::" in (a, b)
