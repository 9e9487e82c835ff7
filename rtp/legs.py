"""The legs of this process as the outside sees them: opened, configured and closed by command, with sockets.

Owns sockets, ports, and who may send to a leg; answers commands. Refuses to touch audio and to read a clock.
`loop.py` drives it: which sockets to read comes from `epoll`, when comes from the slots.
"""

from __future__ import annotations

import heapq
import select
import socket
from collections.abc import Callable
from typing import Final

import numpy as np

from rtp import control, packet
from rtp.errors import RejectReason
from rtp.inbox import LONGEST, MTU
from rtp.plane import STATS, Plane
from rtp.ports import PortPool
from rtp.seldom import Seldom
from rtp.settings import Settings
from rtp.sockets import LegSockets
from rtp.source_lock import Address, SourceLock
from rtp.srtp import Pointer, Srtp, pointer_to
from rtp.table import KINDS, NOT_ACCEPTED, Table

#: Datagrams from strangers looked at in one slot, all legs together; more wait in the kernel, which drops them.
STRANGERS_PER_SLOT: Final = 16
#: RTCP reports sent in one slot: those of a thousand legs fit in a second.
REPORTS_PER_SLOT: Final = 10
#: Tries to bind a port that somebody outside our knowledge holds.
BIND_TRIES: Final = 16

Receive = Callable[[memoryview], int]
Send = Callable[[memoryview | bytes], int]


class _Leg:
    def __init__(self, sockets: LegSockets) -> None:
        self.sockets = sockets
        self.lock = SourceLock()


class Legs:
    """Every open leg. `deliver(row, length, now_ns)` takes a datagram in `scratch` as if its peer had sent it."""

    def __init__(
        self,
        table: Table,
        settings: Settings,
        emit: Callable[[control.Event], object],
        deliver: Callable[[int, int, int], None],
    ) -> None:
        n = table.capacity
        self.table = table
        self.seldom = Seldom(table, emit, vad_events=settings.vad_events)
        self.ports = PortPool(settings.ports_first, settings.ports_last, settings.quarantine_s * 1_000_000_000)
        self.epoll = select.epoll()
        self.row_of: dict[int, int] = {}  # media socket → row
        self.others: dict[int, Callable[[int, int], None]] = {}  # other sockets → handler(slot number, now_ns)
        self.send_to: list[Send] = [_send_nowhere] * n
        self.receive_from: list[Receive] = [_receive_nothing] * n
        buffer = np.zeros((1, MTU), np.uint8)
        self.scratch = buffer[:, :LONGEST]
        self._scratch_view = buffer[0].data
        self._scratch_at = pointer_to(buffer)
        self.secure: dict[int, Srtp] = {}  # rows whose media is sealed
        self._settings = settings
        self._plane: Plane = table.plane
        self._emit = emit
        self._deliver = deliver
        self._legs: dict[int, _Leg] = {}
        self._reports: list[tuple[int, int, int]] = []  # heap of (due ns, row, generation)
        self._rng = np.random.default_rng()
        self._strangers_left = STRANGERS_PER_SLOT

    def begin_slot(self, now_ns: int, unix_ns: int) -> None:
        """What is due by time alone."""
        self._strangers_left = STRANGERS_PER_SLOT
        self.seldom.unix_ns = unix_ns
        self.seldom.poll(now_ns)
        for _ in range(REPORTS_PER_SLOT):
            if not self._reports or self._reports[0][0] > now_ns:
                return
            _, row, generation = heapq.heappop(self._reports)
            if self.table.holds(row, generation):
                self._report(row)
                self._schedule_report(row, now_ns)

    def command(self, command: control.AnyCommand, now_ns: int) -> None:
        """Carry out a command. One for a leg that has gone is ignored: its row may be somebody else's."""
        match command:
            case control.OpenLeg():
                self._open(command, now_ns)
            case control.Stop():
                for row in list(self._legs):
                    self._close(row, now_ns)
            case _ if not self.table.holds(command.row, command.generation):
                return
            case control.ConfigureLeg():
                self._configure(command, now_ns)
            case control.SetGains():
                self.table.mixer.set_gains(command.row, command.own_gain, command.sources)
            case control.SendDigits():
                self.seldom.dial(command.row, command.digits, command.duration_ms, command.gap_ms)
            case control.CloseLeg():
                self._close(command.row, now_ns)

    def failed(self, row: int, error: OSError) -> None:
        """An ICMP refusal of an earlier packet of ours shows as an error of any later call (RFC 1122 §4.1.3.3)."""
        if isinstance(error, BlockingIOError):
            return
        refused = isinstance(error, ConnectionRefusedError)
        self._plane.stats["packets_refused" if refused else "send_errors"][row] += 1

    def unseal(self, row: int, at: Pointer, second_octet: int, length: int) -> int:
        """Open a sealed datagram in place: its new length, or −1 when it is refused, which is counted."""
        is_rtcp = second_octet & 0xE0 == 0xC0  # RFC 5761 §4
        srtp = self.secure[row]
        opened = srtp.unprotect_rtcp(at, length) if is_rtcp else srtp.unprotect(at, length)
        if opened >= 0:
            return opened
        self.table.rejected[-opened] += np.uint64(1)
        self._plane.stats["packets_bad"][row] += 1
        self._plane.stats["packets_bad_auth"][row] += 1
        return -1

    def _open(self, command: control.OpenLeg, now_ns: int) -> None:
        full = self.table.open_count >= self.table.capacity
        sockets = None if full else self._bind(command, now_ns)
        if sockets is None:
            self._emit(control.LegRefused(command.request, "capacity" if full else "ports"))
            return
        row = self.table.open(now_ns, self._rng)
        assert row is not None  # the table was not full
        self._legs[row] = _Leg(sockets)
        self.seldom.open(row)
        self._listen(sockets.wild.fileno(), lambda slot, ns: self._stranger(row, slot, ns))
        self._listen(sockets.rtcp.fileno(), lambda slot, ns: self._rtcp(row))
        self._emit(control.LegOpened(command.request, row, int(self.table.generation[row]), sockets.port))

    def _bind(self, command: control.OpenLeg, now_ns: int) -> LegSockets | None:
        address = (command.ipv6 and self._settings.bind6) or self._settings.bind
        for _ in range(BIND_TRIES):
            port = self.ports.take(now_ns, command.rtp_port)
            if port is None:
                return None
            try:
                return LegSockets(address, port)
            except OSError:  # somebody else's; rests with the used ones and is tried again later
                self.ports.give_back(port, now_ns)
        return None

    def _configure(self, command: control.ConfigureLeg, now_ns: int) -> None:
        table, row, leg = self.table, command.row, self._legs[command.row]
        table.payload_type[row] = command.payload_type
        table.law[row] = KINDS[command.codec]
        table.halves[row] = command.ptime_ms == 10
        table.dtmf_type[row] = max(command.dtmf_type, 0)
        table.noise_type[row] = command.cn_type if self._settings.dtx else NOT_ACCEPTED
        table.accept[row] = NOT_ACCEPTED
        for number, name in command.accept.items():
            table.accept[row, number & 0x7F] = KINDS.get(name, NOT_ACCEPTED)
        self.seldom.name(row, command.cname)
        if command.send and not table.sending[row]:
            table.marker[row] = 1
        table.sending[row] = command.send and command.remote_port > 0
        if table.receiving[row] != command.receive:
            table.quality.reset(row)  # what was to be heard while the leg was on hold, or before, is no loss
        table.receiving[row] = command.receive
        rtcp_port = command.rtcp_port or command.remote_port
        rtcp = None if command.rtcp_port < 0 else (command.rtcp_address or command.remote_address, rtcp_port)
        sdp = (command.remote_address, command.remote_port)
        self._secure(row, command.srtp)
        if leg.lock.expect(sdp, rtcp, command.symmetric, now_ns):
            self._believe(row, sdp)
        elif leg.sockets.media is not None:
            self._send_by(row, leg.sockets.media)
        if table.configured_ns[row] == 0:
            table.configured_ns[row] = now_ns
            table.waiting.append(row)
            self._schedule_report(row, now_ns)

    def _believe(self, row: int, address: Address) -> bool:
        """Send to, and take packets from, this address only. False: the host has no way to it."""
        sockets = self._legs[row].sockets
        known = sockets.media
        try:
            media = sockets.connect(*address)
        except OSError as error:
            self.failed(row, error)
            self.table.sending[row] = False
            return False
        if known is None:
            self.row_of[media.fileno()] = row
            self.epoll.register(media.fileno(), select.EPOLLIN)
        self._send_by(row, media)
        self.receive_from[row] = media.recv_into
        return True

    def _secure(self, row: int, keys: control.Srtp | None) -> None:
        """Keys as the last SDP says. The same keys go on undisturbed; none means plain RTP."""
        if keys is None:
            self.secure.pop(row, None)
        elif row in self.secure:
            next_sequence = int(self.table.sequence[row])
            self.secure[row].rekey(keys.suite, keys.receive_key, keys.send_key, next_sequence)
        else:
            ssrc = int(self.table.ssrc[row])
            self.secure[row] = Srtp(keys.suite, keys.receive_key, keys.send_key, ssrc)

    def _send_by(self, row: int, media: socket.socket) -> None:
        srtp = self.secure.get(row)
        if srtp is None:
            self.send_to[row] = media.send
        else:
            seal, send = srtp.protect, media.send
            self.send_to[row] = lambda datagram: send(seal(datagram))

    def _listen(self, fd: int, handler: Callable[[int, int], None]) -> None:
        self.others[fd] = handler
        self.epoll.register(fd, select.EPOLLIN)

    def _stranger(self, row: int, slot: int, now_ns: int) -> None:
        """A datagram on the leg's port from somebody whom it does not believe. It may earn belief (RFC 4961 NATs)."""
        if self._strangers_left <= 0:
            return
        self._strangers_left -= 1
        leg = self._legs[row]
        try:
            length, source = leg.sockets.wild.recvfrom_into(self._scratch_view)
        except OSError as error:
            self.failed(row, error)
            return
        address = (str(source[0]), int(source[1]))
        if row in self.secure and length > 1:
            length = self.unseal(row, self._scratch_at, int(self.scratch[0, 1]), length)
            if length < 0:
                return
        if address == leg.lock.believed:  # it came before the socket was connected
            self._deliver(row, length, now_ns)
            return
        self._plane.stats["packets_stranger"][row] += 1
        self.table.rejected[RejectReason.STRANGER] += np.uint64(1)
        headers = packet.parse(self.scratch, np.array([length]))
        acceptable = headers.reject[0] == 0 and self.table.accept[row, headers.payload_type[0]] >= 0
        if not acceptable:
            ssrc, sequence = -1, -1  # never consistent with anything
        else:
            ssrc, sequence = int(headers.ssrc[0]), int(headers.sequence[0])
        verdict = leg.lock.stranger(
            address, ssrc, sequence, slot, now_ns, int(self._plane.stats["last_packet_ns"][row])
        )
        generation = int(self.table.generation[row])
        if verdict.unheard_of:
            self._emit(control.StrangerSeen(row, generation, *address))
        if verdict.adopt is not None and self._believe(row, verdict.adopt):
            self._emit(control.RemoteChanged(row, generation, *verdict.adopt))
            self._deliver(row, length, now_ns)

    def _rtcp(self, row: int) -> None:
        try:
            length, source = self._legs[row].sockets.rtcp.recvfrom_into(self._scratch_view)
        except OSError as error:
            self.failed(row, error)
            return
        if row in self.secure:
            length = self.unseal(row, self._scratch_at, 0xC8, length)
            if length < 0:
                return
        address = (str(source[0]), int(source[1]))
        known = int(self.table.reception.ssrc[row])
        stream = None if known < 0 else known
        lock = self._legs[row].lock
        data = self.scratch[0, :length].tobytes()
        self.seldom.take_rtcp(row, data, lambda ssrc: lock.rtcp_is_from_peer(address, ssrc, stream))

    def _report(self, row: int, bye: bool = False) -> None:
        leg = self._legs[row]
        target = leg.lock.rtcp_target
        if target is None or not self.table.configured_ns[row]:
            return
        data = self.seldom.report(row, bye)
        if row in self.secure:
            data = self.secure[row].protect_rtcp(data)
        try:
            if target == leg.lock.believed and leg.sockets.media is not None:  # rtcp-mux (RFC 5761)
                leg.sockets.media.send(data)
            else:
                leg.sockets.rtcp.sendto(data, target)
        except OSError as error:
            self.failed(row, error)

    def _schedule_report(self, row: int, now_ns: int) -> None:
        due = self.seldom.next_report(row, now_ns, float(self._rng.random()))
        heapq.heappush(self._reports, (due, row, int(self.table.generation[row])))

    def _close(self, row: int, now_ns: int) -> None:
        self._report(row, bye=True)
        rows = np.array([row], np.intp)
        self.table.publish(rows, now_ns)
        if not self.table.rated[row]:  # a call of less than 5 s
            self.table.rate(rows)
        sockets = self._legs.pop(row).sockets
        for sock in (sockets.media, sockets.wild, sockets.rtcp):
            if sock is not None:
                self.epoll.unregister(sock.fileno())
                self.row_of.pop(sock.fileno(), None)
                self.others.pop(sock.fileno(), None)
        sockets.close()
        self.send_to[row] = _send_nowhere
        self.receive_from[row] = _receive_nothing
        self.secure.pop(row, None)
        self.ports.give_back(sockets.port, now_ns)
        self.seldom.close(row)
        generation = int(self.table.generation[row])
        final = self._plane.stats[row]
        statistics = {name: float(final[name]) for name in STATS.names or ()}
        self.table.close(row)
        self._emit(control.LegClosed(row, generation, sockets.port, statistics))


def _send_nowhere(datagram: memoryview | bytes) -> int:
    """Of a leg that has no remote address yet."""
    return len(datagram)


def _receive_nothing(buffer: memoryview) -> int:
    raise BlockingIOError
