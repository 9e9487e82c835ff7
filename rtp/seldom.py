"""What a leg does once in a while: key presses in and out, and RTCP. Objects per leg, but not per packet of audio.

`tick.py` hands over the packets that are not audio and asks, in frames of legs that are dialling, what to send
instead. Owns these objects and their events. Refuses to touch sockets and clocks; `legs.py` sends what it makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from rtp import control, packet, rtcp
from rtp.errors import RejectReason
from rtp.inbox import Batch
from rtp.plane import FRAME
from rtp.table import EVENT, NOISE, Table
from rtp.telephone_event import EventReceiver, EventSender, Press

Rows = npt.NDArray[np.intp]
Bytes = npt.NDArray[np.uint8]

#: Presses whose end was lost are looked for this often.
POLL_NS: Final = 50_000_000


class _Leg:
    def __init__(self, generation: int, ssrc: int) -> None:
        self.generation = generation
        self.rtcp = rtcp.Rtcp(ssrc, "")
        self.pressed = EventReceiver()
        self.dialling = EventSender()


class Seldom:
    """The rare side of every open leg. `emit` gets the events for the controller."""

    def __init__(self, table: Table, emit: Callable[[control.Event], object], *, vad_events: bool = False) -> None:
        self._table = table
        self._vad_events = vad_events
        self._emit = emit
        self._legs: dict[int, _Leg] = {}
        self._pressing: set[int] = set()
        self._polled_ns = 0
        self.unix_ns = 0  #: wall-clock time of the present slot, set by who drives this

    def open(self, row: int) -> None:
        self._legs[row] = _Leg(int(self._table.generation[row]), int(self._table.ssrc[row]))

    def close(self, row: int) -> None:
        del self._legs[row]
        self._pressing.discard(row)

    def name(self, row: int, cname: str) -> None:
        """CNAME of the leg's RTCP (RFC 3550 §6.5.1)."""
        self._legs[row].rtcp.cname = cname

    def dial(self, row: int, digits: str, duration_ms: int, gap_ms: int) -> None:
        """Send digits, after those that already wait. More than fit are dropped."""
        self._legs[row].dialling.queue(digits, duration_ms, gap_ms)
        self._table.dialling[row] = self._legs[row].dialling.active

    def instead(self, rows: Rows, packets: Bytes, which: Rows) -> dict[int, list[bytes]]:
        """Event packets for the entries `which` of a rendered slot: what is sent in place of their audio.

        rows (k,) · packets (k, 172), with the headers that the audio would have had.
        """
        t = self._table
        special: dict[int, list[bytes]] = {}
        for i in which.tolist():
            row = int(rows[i])
            leg = self._legs[row]
            head = packets[i : i + 1, : packet.HEADER]
            columns = packet.parse(head, np.array([packet.HEADER]))
            event = leg.dialling.frame(int(columns.timestamp[0]))
            if event is not None:
                packet.build(
                    head, t.dtmf_type[row], event.marker, columns.sequence, event.timestamp & 0xFFFFFFFF, columns.ssrc
                )
                special[i] = [head.tobytes() + event.payload]
                t.bytes_sent[row] -= np.uint64(FRAME - len(event.payload))
            t.dialling[row] = leg.dialling.active
            t.plane.stats["digits_sent"][row] = leg.dialling.sent
        return special

    def take(self, batch: Batch, headers: packet.Headers, kind: npt.NDArray[np.int8]) -> None:
        """Packets that are not audio: telephone events, comfort noise, RTCP on the RTP port."""
        for i, row in enumerate(batch.rows.tolist()):
            begin = int(headers.payload_offset[i])
            payload = batch.octets[i, begin : begin + int(headers.payload_length[i])]
            if headers.reject[i]:
                self.take_rtcp(row, batch.octets[i, : batch.lengths[i]].tobytes(), self._of_stream(row))
                continue
            self._table.last_packet_ns[row] = batch.arrival_ns[i]  # who holds a key is not silent
            if kind[i] == EVENT:
                self._event(row, int(headers.timestamp[i]), payload.tobytes(), int(batch.arrival_ns[i]))
            elif kind[i] == NOISE:
                self._table.comfort_noise(row, payload)

    def speech(self, rows: Rows, speaking: npt.NDArray[np.bool_]) -> None:
        """Somebody began or ceased to speak. Told when `vad_events` is on."""
        if not self._vad_events:
            return
        for row, now in zip(rows.tolist(), speaking.tolist(), strict=True):
            at_ms = int(self._table.media_ms[row])
            self._emit(control.SpeechChanged(row, self._legs[row].generation, now, at_ms))

    def poll(self, now_ns: int) -> None:
        """Finish presses of which all ends were lost."""
        if not self._pressing or now_ns - self._polled_ns < POLL_NS:
            return
        self._polled_ns = now_ns
        for row in list(self._pressing):
            press = self._legs[row].pressed.poll(now_ns)
            if press is not None:
                self._pressed(row, [press])

    def take_rtcp(self, row: int, data: bytes, from_peer: Callable[[int], bool]) -> None:
        """A datagram with RTCP. from_peer: whether this sender SSRC may be believed from where it came."""
        compound = rtcp.parse(data)
        stats = self._table.plane.stats
        if compound.reject != RejectReason.OK or not from_peer(compound.ssrc):
            self._table.rejected[compound.reject or RejectReason.STRANGER] += np.uint64(1)
            return
        leg = self._legs[row].rtcp
        leg.take(compound, self.unix_ns)
        stats["rtcp_received"][row] = leg.received
        stats["remote_loss"][row] = leg.remote_loss
        stats["remote_jitter_ms"][row] = leg.remote_jitter_ms
        stats["rtt_ms"][row] = leg.rtt_ms

    def report(self, row: int, bye: bool = False) -> bytes:
        """The leg's next RTCP datagram."""
        t = self._table
        leg = self._legs[row].rtcp
        packets = int(t.packets_sent[row])
        data = leg.report(
            self.unix_ns, int(t.timestamp[row]), packets, int(t.bytes_sent[row]), t.reception.report(row), bye
        )
        t.plane.stats["rtcp_sent"][row] = leg.sent
        return data

    def next_report(self, row: int, now_ns: int, random: float) -> int:
        """When it is due."""
        return self._legs[row].rtcp.next_due(now_ns, random)

    def _of_stream(self, row: int) -> Callable[[int], bool]:
        """RTCP where RTP is (RFC 5761) comes through the connected socket: only its SSRC is left to check."""
        known = int(self._table.reception.ssrc[row])
        return lambda ssrc: known < 0 or ssrc == known

    def _event(self, row: int, timestamp: int, payload: bytes, now_ns: int) -> None:
        heard = self._legs[row].pressed.feed(timestamp, payload, now_ns)
        if heard.bad:
            self._table.rejected[RejectReason.BAD_PAYLOAD] += np.uint64(1)
            return
        if heard.tone is not None:
            self._table.ring.silence(row, heard.tone.timestamp, heard.tone.samples)
        if self._legs[row].pressed.receiving:
            self._pressing.add(row)
        self._pressed(row, heard.presses)

    def _pressed(self, row: int, presses: list[Press]) -> None:
        leg, ring = self._legs[row], self._table.ring
        for press in presses:
            self._table.plane.stats["digits_received"][row] += 1
            away = ring.position_of(row, press.timestamp) - int(ring.cursor[row])
            at_ms = max(0, int(self._table.media_ms[row]) + away // 8)
            self._emit(control.DigitReceived(row, leg.generation, press.digit, press.samples // 8, at_ms))
        if not leg.pressed.receiving:
            self._pressing.discard(row)
