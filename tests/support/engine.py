"""The engine without sockets: a table, its tick, and a virtual clock that serves slot after slot."""

from __future__ import annotations

import os
import struct
from typing import Any

import numpy as np

from rtp import plane
from rtp.inbox import Batch
from rtp.plane import Plane
from rtp.seldom import Seldom
from rtp.settings import Settings
from rtp.table import KINDS, Table
from rtp.tick import Tick

SLOT_NS = 20_000_000 // Settings().slots_per_frame
MTU = 1500


def rtp_packet(
    sequence: int, timestamp: int, payload: bytes, payload_type: int = 0, ssrc: int = 1, marker: bool = False
) -> bytes:
    """One RTP datagram."""
    second = payload_type | (0x80 if marker else 0)
    head = struct.pack(">BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return head + payload


class Engine:
    """`deliver` datagrams, `step` slots; read `heard` (uplink) and `sent` (packets), each per row."""

    def __init__(self, capacity: int = 4, **settings: Any) -> None:
        self.settings = Settings(capacity=capacity, **settings)
        self._fd = plane.create(capacity)
        self.plane = Plane(self._fd, capacity)
        self.events: list[Any] = []
        self.table = Table(self.plane, self.settings)
        self.seldom = Seldom(self.table, self.events.append, vad_events=self.settings.vad_events)
        self.tick = Tick(self.table, self.seldom, dtx=self.settings.dtx)
        self.number = 0
        self.sent: dict[int, list[bytes]] = {}
        self.heard: dict[int, list[bytes]] = {}
        self._tail = np.zeros(capacity, np.uint64)
        self._waiting: list[tuple[int, bytes, int]] = []

    @property
    def now_ns(self) -> int:
        return 1_000_000_000 + self.number * SLOT_NS

    def open(self, codec: str = "PCMU", accept: dict[int, str] | None = None, slot: int | None = 0) -> int:
        row = self.table.open(self.now_ns, np.random.default_rng(7))
        assert row is not None
        t = self.table
        self.seldom.open(row)
        t.sending[row] = t.receiving[row] = True
        t.law[row] = KINDS[codec]
        t.payload_type[row] = {"PCMU": 0, "PCMA": 8}[codec]
        t.dtmf_type[row] = 101
        t.noise_type[row] = 13 if self.settings.dtx else -1
        wanted = accept or {0: "PCMU", 8: "PCMA", 101: "telephone-event", 13: "CN"}
        for number, name in wanted.items():
            t.accept[row, number] = KINDS[name]
        t.configured_ns[row] = self.now_ns
        if slot is None:
            t.waiting.append(row)
        else:
            t.schedule(row, slot)
        self.sent[row], self.heard[row] = [], []
        return row

    def deliver(self, row: int, datagram: bytes, arrival_ns: int | None = None) -> None:
        """It is taken in the next slot; without a time it arrives in it."""
        self._waiting.append((row, datagram, self.now_ns if arrival_ns is None else arrival_ns))

    def step(self, slots: int = 1) -> None:
        for _ in range(slots):
            self._serve()

    def frames(self, count: int) -> None:
        """Whole frames of time."""
        self.step(count * self.table.slots)

    def say(self, row: int, audio: bytes) -> None:
        """What the controller queues for a leg."""
        p, start = self.plane, int(self.plane.written[row])
        for i, byte in enumerate(audio):
            p.downlink[row, (start + i) % plane.DOWNLINK_BYTES] = byte
        p.written[row] = start + len(audio)

    def close(self) -> None:
        os.close(self._fd)

    def _serve(self) -> None:
        slot = self.number % self.table.slots
        self.seldom.unix_ns = 1_700_000_000_000_000_000 + self.number * SLOT_NS
        rendered = self.tick.render(slot)
        for i, row in enumerate(rendered.rows.tolist()):
            self.sent[row] += rendered.special.get(i, [rendered.packets[i].tobytes()])
        self.seldom.poll(self.now_ns)
        while self._waiting:  # rounds of one datagram per leg, as the loop drains its sockets
            batch: dict[int, tuple[bytes, int]] = {}
            rest = []
            for row, datagram, arrival_ns in self._waiting:
                if row in batch:
                    rest.append((row, datagram, arrival_ns))
                else:
                    batch[row] = datagram, arrival_ns
            self._waiting = rest
            matrix = np.zeros((len(batch), MTU), np.uint8)
            for i, (datagram, _) in enumerate(batch.values()):
                matrix[i, : len(datagram)] = np.frombuffer(datagram[:MTU], np.uint8)
            lengths = np.array([len(datagram) for datagram, _ in batch.values()], np.int64)
            arrivals = np.array([arrival_ns for _, arrival_ns in batch.values()], np.int64)
            self.tick.receive(Batch(np.array(list(batch), np.intp), matrix, lengths, arrivals), slot, self.now_ns)
        if slot == 0:
            self.table.schedule_waiting(self.now_ns)
        self.tick.capture(slot, self.now_ns)
        for row in np.flatnonzero(self.plane.uplink_head != self._tail).tolist():
            for n in range(int(self._tail[row]), int(self.plane.uplink_head[row])):
                self.heard.setdefault(row, []).append(self.plane.uplink[row, n % plane.UPLINK_FRAMES].tobytes())
            self._tail[row] = self.plane.uplink_head[row]
        self.number += 1
