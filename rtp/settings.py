"""What the rtp process is started with. Durations carry their unit; everything else is a count or a name."""

from __future__ import annotations

from msgspec import Struct


class Settings(Struct, frozen=True):
    """One value per process; a change needs a restart of it.

    bind: local address of media sockets; bind6: of those that IPv6 was asked for, "" for the same.
    ports_first … ports_last: inclusive, RTP on even ports.
    jitter_*: bounds of the adaptive play-out delay. lead_ms: of the return leg. slots_per_frame: into how
    many slots 20 ms are cut; more means less latency and more fixed CPU. scheduler: auto, fifo, other.
    """

    bind: str = "0.0.0.0"
    bind6: str = ""
    ports_first: int = 16384
    ports_last: int = 20479
    quarantine_s: int = 30
    capacity: int = 1000
    jitter_min_ms: int = 20
    jitter_start_ms: int = 40
    jitter_max_ms: int = 200
    lead_ms: int = 60
    slots_per_frame: int = 2
    dtx: bool = False
    vad_events: bool = False
    scheduler: str = "auto"
    priority: int = 20
    cpu: int | None = None
    lock_memory: bool = True
