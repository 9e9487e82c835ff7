"""The real-time process: sockets, clock, deadlines. What happens to audio is in `tick.py`.

Deadlines are absolute on CLOCK_MONOTONIC: slot n is due at `start + n · slot`, however late the one before
was. A slot sends first (its packets depend on nothing that arrives in it, so they leave on time), then
drains the sockets that epoll reports, in rounds of one datagram per socket, then captures. With no leg open
the loop waits on its command channel and costs nothing.
"""

from __future__ import annotations

import os
import select
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from rtp import control, host
from rtp.errors import LABELS, RejectReason
from rtp.plane import STATS, Plane
from rtp.ports import PortPool
from rtp.settings import Settings
from rtp.sockets import LegSockets
from rtp.table import KINDS, NOT_ACCEPTED, Table
from rtp.tick import FRAME_MS, Tick

if TYPE_CHECKING:
    from rtp.engine import CommandChannel

MTU: Final = 1501  #: one more than is accepted, so that a longer datagram is seen to be too long
#: Datagrams taken from one socket in one slot; more wait in the kernel. Bounds what a flood can cost.
ROUNDS: Final = 8
#: Frames that are made up for after a stall; a longer one is skipped, for a burst of old audio helps nobody.
CATCH_UP_FRAMES: Final = 5
#: Addresses of strangers reported per leg.
STRANGERS: Final = 8
SECOND_NS: Final = 1_000_000_000


class Loop:
    """One process' worth of legs. `run` returns after `Stop`, or raises when the channel's peer has gone."""

    def __init__(self, channel: CommandChannel, plane: Plane, wakeup_fd: int, settings: Settings) -> None:
        self._channel = channel
        self._plane = plane
        self._wakeup_fd = wakeup_fd
        self._settings = settings
        self._slot_ns = FRAME_MS * 1_000_000 // settings.slots_per_frame
        self._table = Table(plane, settings)
        self._tick = Tick(self._table, settings.jitter_start_ms)
        self._ports = PortPool(settings.ports_first, settings.ports_last, settings.quarantine_s * SECOND_NS)
        self._rng = np.random.default_rng()
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self._running = True

        n = plane.capacity
        self._sockets: dict[int, LegSockets] = {}
        self._strangers: dict[int, set[tuple[str, int]]] = {}
        self._row_of: dict[int, int] = {}  # media socket → row
        self._others: dict[int, Callable[[int], None]] = {channel.fileno(): self._commands}
        self._send_to: list[Callable[[memoryview | bytes], int]] = [_send_nowhere] * n
        self._receive_from: list[Callable[[memoryview], int]] = [_receive_nothing] * n
        self._batch = np.zeros((n, MTU), np.uint8)
        self._batch_views = [memoryview(row) for row in self._batch]  # type: ignore[arg-type]
        self._packet_views = self._tick.packet_views()
        self._scratch = bytearray(MTU)

        self._lateness = [0] * (len(control.LATENESS_BOUNDS_US) + 1)
        self._lateness_sum_ns = 0
        self._interval = [0] * (len(control.LATENESS_BOUNDS_US) + 1)
        self._interval_sum_ns = 0
        self._sent_ns = [0] * settings.slots_per_frame
        self._slots = 0
        self._missed = 0

    def run(self) -> None:
        """Serve until `Stop`. Lets `PeerGone` of the channel out: without a controller there is no call."""
        scheduler, notes = host.prepare(self._settings)
        self._channel.send(control.EngineReady(scheduler, notes))
        while self._running:
            if self._table.open_count == 0:
                self._idle()
                continue
            self._busy()
        for row in list(self._sockets):
            self._close(row)

    def _idle(self) -> None:
        """No leg: wait for a command, report once a second."""
        self._epoll.poll(1.0)
        self._commands(time.monotonic_ns())
        self._report(time.monotonic_ns())

    def _busy(self) -> None:
        """Serve slots until there is no leg any more."""
        slots = self._settings.slots_per_frame
        start = time.monotonic_ns()
        report_ns = start + SECOND_NS
        number = 0
        self._sent_ns = [0] * slots
        while self._running and self._table.open_count:
            deadline = start + number * self._slot_ns
            now = time.monotonic_ns()
            if now < deadline:
                time.sleep((deadline - now) / SECOND_NS)
                now = time.monotonic_ns()
            late = now - deadline
            if late > CATCH_UP_FRAMES * FRAME_MS * 1_000_000:
                frames = late // (FRAME_MS * 1_000_000)
                self._tick.skip(frames)
                self._missed += frames * slots
                number += frames * slots
                continue
            self._lateness[bisect_left(control.LATENESS_BOUNDS_US, late / 1000)] += 1
            self._lateness_sum_ns += late
            self._slots += 1
            self._serve(number % slots, now)
            if now >= report_ns:
                report_ns = now + SECOND_NS
                self._report(now)
            number += 1

    def _serve(self, slot: int, now_ns: int) -> None:
        tick = self._tick
        rendered = tick.render(slot)
        if len(rendered.rows):
            self._note_interval(slot, now_ns, len(rendered.rows))
            self._send(rendered.rows.tolist(), rendered.special)
        self._drain(slot, now_ns)
        if slot == 0 and self._table.waiting:
            tick.start_waiting(now_ns)
        if tick.capture(slot) or len(rendered.rows):
            os.eventfd_write(self._wakeup_fd, 1)

    def _note_interval(self, slot: int, now_ns: int, legs: int) -> None:
        """How far the time since this slot last sent is from 20 ms: what its legs' peers see as our jitter."""
        before, self._sent_ns[slot] = self._sent_ns[slot], now_ns
        if before:
            error = abs(now_ns - before - FRAME_MS * 1_000_000)
            self._interval[bisect_left(control.LATENESS_BOUNDS_US, error / 1000)] += legs
            self._interval_sum_ns += error * legs

    def _send(self, rows: list[int], special: dict[int, list[bytes]]) -> None:
        views = self._packet_views
        send_to = self._send_to
        for i, row in enumerate(rows):
            try:
                if special and i in special:
                    for datagram in special[i]:
                        send_to[row](datagram)
                else:
                    send_to[row](views[i])
            except OSError as error:
                self._failed(row, error)

    def _drain(self, slot: int, now_ns: int) -> None:
        """Take what has arrived, one datagram per socket a round.

        After the first round only sockets that still hold something are read on (a burst): what arrived
        meanwhile on others waits for the next slot, for a round costs much the same for one leg as for many.
        """
        ready = self._epoll.poll(0)
        if not ready:
            return
        burst = self._round(ready, slot, now_ns)
        for _ in range(ROUNDS - 1):
            ready = [event for event in self._epoll.poll(0) if event[0] in burst]
            if not ready:
                return
            burst = self._round(ready, slot, now_ns)

    def _round(self, ready: list[tuple[int, int]], slot: int, now_ns: int) -> set[int]:
        """One datagram from each of these sockets; returns the sockets."""
        row_of, views, receive_from = self._row_of, self._batch_views, self._receive_from
        rows: list[int] = []
        lengths: list[int] = []
        fds = set()
        for fd, _events in ready:
            fds.add(fd)
            row = row_of.get(fd, -1)
            if row < 0:
                if fd in self._others:  # a command may just have closed it
                    self._others[fd](now_ns)
                continue
            try:
                lengths.append(receive_from[row](views[len(rows)]))
                rows.append(row)
            except OSError as error:
                self._failed(row, error)
        if rows:
            batch = self._batch[: len(rows)]
            self._tick.receive(np.array(rows, np.intp), batch, np.array(lengths, np.int64), slot, now_ns)
        return fds

    def _failed(self, row: int, error: OSError) -> None:
        """An ICMP refusal of an earlier packet of ours shows as an error of any later call (RFC 1122 §4.1.3.3)."""
        if isinstance(error, BlockingIOError):
            return
        refused = isinstance(error, ConnectionRefusedError)
        self._plane.stats["packets_refused" if refused else "send_errors"][row] += 1

    def _commands(self, now_ns: int) -> None:
        self._channel.flush()
        for command in self._channel.receive():
            match command:
                case control.OpenLeg():
                    self._open(command, now_ns)
                case control.Stop():
                    self._running = False
                case _ if not self._table.holds(command.row, command.generation):
                    continue  # the leg has gone meanwhile: its row may be somebody else's
                case control.ConfigureLeg():
                    self._configure(command, now_ns)
                case control.SetGains():
                    self._table.mixer.set_gains(command.row, command.own_gain, command.sources)
                case control.CloseLeg():
                    self._close(command.row, now_ns)

    def _open(self, command: control.OpenLeg, now_ns: int) -> None:
        sockets = None
        if self._table.open_count < self._table.capacity:
            for _ in range(16):  # a port of ours may be somebody else's, outside our knowledge
                port = self._ports.take(now_ns, command.rtp_port)
                if port is None:
                    break
                try:
                    sockets = LegSockets(self._settings.bind, port)
                    break
                except OSError:
                    self._ports.give_back(port, now_ns)
        if sockets is None:
            reason = "ports" if self._table.open_count < self._table.capacity else "capacity"
            self._channel.send(control.LegRefused(command.request, reason))
            return
        row = self._table.open(now_ns, self._rng)
        assert row is not None  # open_count said so
        self._sockets[row] = sockets
        self._strangers[row] = set()
        self._listen(sockets.wild.fileno(), lambda ns: self._stranger(row, ns))
        self._listen(sockets.rtcp.fileno(), lambda ns: self._rtcp(row, ns))
        generation = int(self._table.generation[row])
        self._channel.send(control.LegOpened(command.request, row, generation, sockets.port))

    def _configure(self, command: control.ConfigureLeg, now_ns: int) -> None:
        table, row = self._table, command.row
        table.payload_type[row] = command.payload_type
        table.law[row] = KINDS[command.codec]
        table.halves[row] = command.ptime_ms == 10
        table.accept[row] = NOT_ACCEPTED
        for number, name in command.accept.items():
            table.accept[row, number & 0x7F] = KINDS.get(name, NOT_ACCEPTED)
        resumed = command.send and not table.sending[row]
        table.sending[row] = command.send and command.remote_port > 0
        table.receiving[row] = command.receive
        if resumed:
            table.marker[row] = 1
        self._believe(row, command.remote_address, command.remote_port)
        if table.configured_ns[row] == 0:
            table.configured_ns[row] = now_ns
            table.waiting.append(row)

    def _believe(self, row: int, address: str, port: int) -> None:
        """Send to, and take packets from, this address only."""
        sockets = self._sockets[row]
        if port == 0 or sockets.remote == (address, port):
            return
        known = sockets.media
        try:
            media = sockets.connect(address, port)
        except OSError as error:
            self._failed(row, error)
            self._table.sending[row] = False
            return
        if known is None:
            self._row_of[media.fileno()] = row
            self._epoll.register(media.fileno(), select.EPOLLIN)
        self._send_to[row] = media.send
        self._receive_from[row] = media.recv_into

    def _listen(self, fd: int, handler: Callable[[int], None]) -> None:
        self._others[fd] = handler
        self._epoll.register(fd, select.EPOLLIN)

    def _stranger(self, row: int, now_ns: int) -> None:
        """A datagram on the leg's port from somebody whom it does not believe: counted, named, dropped."""
        sockets = self._sockets[row]
        try:
            _, source = sockets.wild.recvfrom_into(self._scratch)
        except OSError as error:
            self._failed(row, error)
            return
        self._plane.stats["packets_stranger"][row] += 1
        self._tick.rejected[RejectReason.STRANGER] += np.uint64(1)
        seen = self._strangers[row]
        address, port = str(source[0]), int(source[1])
        if (address, port) not in seen and len(seen) < STRANGERS:
            seen.add((address, port))
            generation = int(self._table.generation[row])
            self._channel.send(control.StrangerSeen(row, generation, address, port))

    def _rtcp(self, row: int, now_ns: int) -> None:
        try:
            self._sockets[row].rtcp.recv_into(self._scratch)
        except OSError as error:
            self._failed(row, error)
            return
        self._plane.stats["rtcp_received"][row] += 1

    def _close(self, row: int, now_ns: int = 0) -> None:
        sockets = self._sockets.pop(row)
        del self._strangers[row]
        for sock in (sockets.media, sockets.wild, sockets.rtcp):
            if sock is not None:
                self._epoll.unregister(sock.fileno())
                self._row_of.pop(sock.fileno(), None)
                self._others.pop(sock.fileno(), None)
        sockets.close()
        self._send_to[row] = _send_nowhere
        self._receive_from[row] = _receive_nothing
        self._ports.give_back(sockets.port, now_ns)
        generation = int(self._table.generation[row])
        final = self._plane.stats[row]
        statistics = {name: float(final[name]) for name in STATS.names or ()}
        self._table.close(row)
        self._channel.send(control.LegClosed(row, generation, sockets.port, statistics))

    def _report(self, now_ns: int) -> None:
        self._ports.release(now_ns)
        rejected = self._tick.rejected.tolist()
        self._channel.send(
            control.LoopCounters(
                legs=self._table.open_count,
                slots=self._slots,
                slots_missed=self._missed,
                rejected={LABELS[i]: n for i, n in enumerate(rejected) if i},
                lateness=self._lateness,
                lateness_sum_s=self._lateness_sum_ns / SECOND_NS,
                interval_error=self._interval,
                interval_error_sum_s=self._interval_sum_ns / SECOND_NS,
                ports_free=self._ports.free,
                ports_quarantined=self._ports.quarantined,
            )
        )


def _send_nowhere(datagram: memoryview | bytes) -> int:
    """Of a leg that has no remote address yet."""
    return 0


def _receive_nothing(buffer: memoryview) -> int:
    raise BlockingIOError
