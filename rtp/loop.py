"""The real-time process: clock and deadlines. What happens to audio is in `tick.py`, to sockets in `legs.py`.

Deadlines are absolute on CLOCK_MONOTONIC: slot n is due at `start + n · slot`, however late the one before was. A slot
has two halves. At its beginning its packets are sent, which depend on nothing that arrives, so they leave on time;
in its middle what has arrived is taken to the jitter rings, and frames go up. So neither waits for the other. Between
these the loop only looks at the sockets: arrivals are known to a quarter of a slot, while work on columns, which costs
much the same for one leg as for a hundred, is done once. With no leg open the loop waits on its command channel and
costs nothing.
"""

from __future__ import annotations

import os
import select
import time
from bisect import bisect_left
from collections import deque
from operator import call, length_hint
from typing import Final

import numpy as np

from rtp import control, host
from rtp.control import CommandChannel
from rtp.errors import LABELS
from rtp.inbox import ROUNDS, Inbox
from rtp.legs import Legs
from rtp.plane import Plane
from rtp.settings import Settings
from rtp.table import Table
from rtp.tick import FRAME_MS, Tick

#: Times in a slot that the sockets are looked at.
LOOKS: Final = 4
#: Frames that are made up for after a stall; a longer one is skipped, for a burst of old audio helps nobody.
CATCH_UP_FRAMES: Final = 5
SECOND_NS: Final = 1_000_000_000
FRAME_NS: Final = FRAME_MS * 1_000_000


class Loop:
    """One process' worth of legs. `run` returns after `Stop`, or raises when the channel's peer has gone."""

    def __init__(self, channel: CommandChannel, plane: Plane, wakeup_fd: int, settings: Settings) -> None:
        self._channel = channel
        self._wakeup_fd = wakeup_fd
        self._settings = settings
        self._look_ns = FRAME_NS // (settings.slots_per_frame * LOOKS)
        self._table = Table(plane, settings)
        self._legs = Legs(self._table, settings, channel.send, self._deliver)
        self._tick = Tick(self._table, self._legs.seldom, dtx=settings.dtx)
        self._legs.epoll.register(channel.fileno(), select.EPOLLIN)
        self._legs.others[channel.fileno()] = lambda _slot, now_ns: self._commands(now_ns)
        self._running = True

        self._inbox = Inbox(plane.capacity)
        self._next = (0, 0)  # the slot that is captured next, and when
        self._packet_views = self._tick.packet_views()

        bounds = len(control.LATENESS_BOUNDS_US) + 1
        self._lateness = [0] * bounds
        self._lateness_sum_ns = 0
        self._interval = [0] * bounds
        self._interval_sum_ns = 0
        self._sent_ns = [0] * settings.slots_per_frame
        self._slots = 0
        self._missed = 0

    def run(self) -> None:
        """Serve until `Stop`. Lets `PeerGone` of the channel out: without a controller there is no call."""
        scheduler, notes = host.prepare(self._settings)
        self._channel.send(control.EngineReady(scheduler, notes))
        while self._running:
            if self._table.open_count:
                self._busy()
            else:
                self._idle()

    def _idle(self) -> None:
        """No leg: wait for a command, report once a second."""
        self._legs.epoll.poll(1.0)
        now = time.monotonic_ns()
        self._commands(now)
        self._report(now)

    def _busy(self) -> None:
        """Serve slots until there is no leg any more."""
        slots = self._settings.slots_per_frame
        start = time.monotonic_ns()
        report_ns = start + SECOND_NS
        number = 0  # of the look
        self._sent_ns = [0] * slots
        while self._running and self._table.open_count:
            deadline = start + number * self._look_ns
            now = time.monotonic_ns()
            if now < deadline:
                time.sleep((deadline - now) / SECOND_NS)
                now = time.monotonic_ns()
            late = now - deadline
            if late > CATCH_UP_FRAMES * FRAME_NS:
                frames = late // FRAME_NS
                self._tick.skip(frames)
                self._missed += frames * slots
                number += frames * slots * LOOKS
                continue
            slot, look = divmod(number, LOOKS)
            if look == 0:
                self._lateness[bisect_left(control.LATENESS_BOUNDS_US, late / 1000)] += 1
                self._lateness_sum_ns += late
                self._slots += 1
                self._render(slot, now)
            elif look == LOOKS // 2:
                self._capture(slot, now)
            else:
                self._look(slot, now)
            if now >= report_ns:
                report_ns = now + SECOND_NS
                self._report(now)
            number += 1

    def _render(self, number: int, now_ns: int) -> None:
        """The first half of a slot: send, then look at the sockets."""
        slot = number % self._settings.slots_per_frame
        rendered = self._tick.render(slot)
        if len(rendered.rows):
            self._note_interval(slot, now_ns, len(rendered.rows))
            self._send(rendered.rows.tolist(), rendered.special)
        self._legs.begin_slot(now_ns, time.time_ns())
        self._look(number, now_ns)

    def _capture(self, number: int, now_ns: int) -> None:
        """The second half: everything that has arrived, and frames for the controller."""
        slot = number % self._settings.slots_per_frame
        self._drain(number, now_ns)
        self._next = (slot, now_ns)
        self._take()
        if slot == 0 and self._table.waiting:
            self._table.schedule_waiting(now_ns)
        # Also when nothing went up: where a leg's frames were played, its stream has room again.
        if self._tick.capture(slot, now_ns) or len(self._table.rows_of_slot[slot]):
            os.eventfd_write(self._wakeup_fd, 1)
        self._next = ((slot + 1) % self._settings.slots_per_frame, now_ns + LOOKS * self._look_ns)

    def _note_interval(self, slot: int, now_ns: int, legs: int) -> None:
        """How far the time since this slot last sent is from 20 ms: what its legs' peers see as our jitter."""
        before, self._sent_ns[slot] = self._sent_ns[slot], now_ns
        if before:
            error = abs(now_ns - before - FRAME_NS)
            self._interval[bisect_left(control.LATENESS_BOUNDS_US, error / 1000)] += legs
            self._interval_sum_ns += error * legs

    def _send(self, rows: list[int], special: dict[int, list[bytes]]) -> None:
        views = self._packet_views[: len(rows)]
        senders = list(map(self._legs.send_to.__getitem__, rows))
        for i, datagrams in special.items():
            send = senders[i]
            senders[i] = _send_nothing
            for datagram in datagrams:
                try:
                    send(datagram)
                except OSError as error:
                    self._legs.failed(rows[i], error)
        left, packets = iter(senders), iter(views)
        while True:
            try:  # one call after the other without a step of the interpreter in between
                deque(map(call, left, packets), 0)
                return
            except OSError as error:
                self._legs.failed(rows[len(rows) - length_hint(packets) - 1], error)

    def _drain(self, number: int, now_ns: int) -> None:
        """Take what has arrived, one datagram per socket a round.

        After the first round only sockets that still hold something are read on (a burst): what arrived
        meanwhile on others waits for the next look, for a round costs much the same for one leg as for many.
        """
        burst = set(self._look(number, now_ns))
        for _ in range(ROUNDS - 1):
            ready = [event for event in self._legs.epoll.poll(0) if event[0] in burst]
            if not ready:
                return
            burst = set(self._read(ready, number, now_ns))

    def _look(self, number: int, now_ns: int) -> list[int]:
        """One datagram from each socket that has one; returns the sockets of media that were read."""
        return self._read(self._legs.epoll.poll(0), number, now_ns)

    def _read(self, ready: list[tuple[int, int]], number: int, now_ns: int) -> list[int]:
        legs, inbox = self._legs, self._inbox
        fds = [fd for fd, _events in ready]
        try:
            rows = list(map(legs.row_of.__getitem__, fds))
        except KeyError:
            self._read_others(fds, number, now_ns)
            fds = [fd for fd in fds if fd in legs.row_of]
            rows = list(map(legs.row_of.__getitem__, fds))
        if not rows:
            return fds
        if legs.secure or np.count_nonzero(inbox.depth[rows]):
            for row in rows:
                self._read_one(row, now_ns)
            return fds
        # Nearly always: the first datagram of each of these legs in this slot, not sealed.
        first = inbox.rounds[0]
        begin = len(first.rows)
        views = iter(first.views[begin : begin + len(rows)])
        receivers = map(legs.receive_from.__getitem__, rows)
        try:
            first.lengths.extend(map(call, receivers, views))
        except OSError as error:
            done = len(first.lengths) - begin
            legs.failed(rows[done], error)
            later, rows = rows[done + 1 :], rows[:done]
        else:
            later = []
        first.rows.extend(rows)
        first.arrivals.extend([now_ns] * len(rows))
        inbox.depth[rows] = 1
        for row in later:
            self._read_one(row, now_ns)
        return fds

    def _read_others(self, fds: list[int], number: int, now_ns: int) -> None:
        """Sockets that are no leg's media: RTCP, strangers, and the commands, which may close any of the others."""
        for fd in fds:
            handler = self._legs.others.get(fd)
            if handler is not None:
                handler(number, now_ns)

    def _read_one(self, row: int, now_ns: int) -> None:
        legs, inbox = self._legs, self._inbox
        depth = int(inbox.depth[row])
        if depth == ROUNDS:
            return
        into = inbox.rounds[depth]
        n = len(into.rows)
        try:
            length = legs.receive_from[row](into.views[n])
        except OSError as error:
            legs.failed(row, error)
            return
        if row in legs.secure:
            length = legs.unseal(row, into.pointers[n], into.views[n][1], length)
            if length < 0:
                return
        inbox.depth[row] = depth + 1
        into.rows.append(row)
        into.lengths.append(length)
        into.arrivals.append(now_ns)

    def _take(self) -> None:
        """Give the media path what has arrived."""
        for batch in self._inbox.batches():
            self._tick.receive(batch, *self._next)

    def _deliver(self, row: int, length: int, now_ns: int) -> None:
        """One datagram that came another way than through `_read`."""
        self._inbox.put(row, self._legs.scratch[0, :length], length, now_ns)

    def _commands(self, now_ns: int) -> None:
        self._channel.flush()
        commands = self._channel.receive()
        if commands:
            self._take()  # a command may give a row to another leg
        for command in commands:
            self._legs.command(command, now_ns)
            if isinstance(command, control.Stop):
                self._running = False

    def _report(self, now_ns: int) -> None:
        self._legs.ports.release(now_ns)
        rejected = self._table.rejected.tolist()
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
                ports_free=self._legs.ports.free,
                ports_quarantined=self._legs.ports.quarantined,
            )
        )


def _send_nothing(datagram: memoryview | bytes) -> int:
    """In the place of a packet that others were sent for."""
    return len(datagram)
