"""The hot path as one page: what happens to the legs of a slot, without a loop over legs.

Every 20 ms is cut in slots; a leg is served in one of them. A slot is three phases, each given its inputs
and the time, none of them touching a socket: `render` makes the packets to send, `receive` takes what
arrived, `capture` puts one frame of each leg on the uplink. `loop.py` brings the packets and the clock;
`tools/replay` brings a capture file and a clock of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rtp import g711, packet, repair
from rtp.delay import SAMPLE_NS
from rtp.errors import IS_BAD, RejectReason
from rtp.inbox import Batch
from rtp.plane import COMFORT_NOISE, CONCEALED, FRAME, UPLINK_FRAMES, VOICE
from rtp.seldom import Seldom
from rtp.table import EVENT, NO_SLOT, PCMA, Table

Rows = npt.NDArray[np.intp]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]

FRAME_MS: Final = 20
#: Statistics that are kept elsewhere than on the plane are brought there this often (half a second).
PUBLISH_FRAMES: Final = 25
#: The delay of a leg is corrected at most this often: it bounds the change of speed.
PACE_FRAMES: Final = 3
#: Share of a new frame in the smoothed level: a time constant of 160 ms.
SMOOTHING: Final = np.float32(1 / 8)
#: Mean square below which a frame is all zeros and the smallest codes beside it.
DIGITAL_SILENCE: Final = np.float32(1e-8)
#: With DTX: frames of silence that are still sent as audio, and how often comfort noise is said again.
DTX_AFTER: Final = 10
DTX_REPEAT: Final = 25
#: Level of the comfort noise that we ask for, in −dBov (RFC 3389 §3.1): there, and no more.
NOISE_LEVEL: Final = 70
#: The level of what is sent is looked at this often.
LEVEL_FRAMES: Final = 5
#: What a packet waits beyond the time between its look and its capture: half the time between two looks, on
#: average, before it, and after it the way to its stream.
BEYOND_NS: Final = 3_000_000
HALF: Final = 0.501  #: of a slot, and a little for rounding
#: Length of a quality interval (5 s).
RATE_FRAMES: Final = 250


class Rendered(NamedTuple):
    """Packets to send, row i to leg `rows[i]`: (k, 172) uint8, 12 octets of header and 160 of payload."""

    rows: Rows
    packets: Bytes
    special: dict[int, list[bytes]]  # by i: what is sent instead of packet i


_NOTHING_SPECIAL: Final[dict[int, list[bytes]]] = {}
_NO_DATAGRAM: Final[list[bytes]] = []


class Tick:
    """The phases of a slot over one table. Preallocates; raises nothing on input."""

    def __init__(self, table: Table, seldom: Seldom, *, dtx: bool = False) -> None:
        n = table.capacity
        self.table = table
        self._dtx = dtx
        self._seldom = seldom
        self._slot_ns = FRAME_MS * 1_000_000 // table.slots
        self._captured = [0] * table.slots
        self._rendered = [0] * table.slots
        self._packets = np.zeros((n, packet.HEADER + FRAME), np.uint8)

    def render(self, slot: int) -> Rendered:
        """One packet of each sending leg of the slot; the clocks of all its legs move by a frame."""
        t = self.table
        rows = t.rows_of_slot[slot]
        if not len(rows):
            return Rendered(rows, self._packets[:0], _NOTHING_SPECIAL)
        sending = t.sending[rows]
        if np.count_nonzero(sending) < len(rows):
            t.timestamp[rows[~sending]] += np.uint32(FRAME)  # media time goes on while a leg is held
            rows = rows[sending]
        frames, playing = t.playout.render(rows)  # (k, 160), (k,)
        t.frames_played[rows] += playing
        t.frames_filled[rows] += ~playing
        mixing = t.mixer.mixing[rows]
        if np.count_nonzero(mixing):
            frames = self._mix(rows, frames, playing, np.flatnonzero(mixing))
        packets = self._packets[: len(rows)]
        packets[:, packet.HEADER :] = frames
        a_law = t.law[rows] == PCMA
        if np.count_nonzero(a_law):
            packets[a_law, packet.HEADER :] = g711.MULAW_TO_ALAW[frames[a_law]]
        timestamp = t.timestamp[rows]
        sequence = t.sequence[rows]
        packet.build(packets, t.payload_type[rows], t.marker[rows], sequence, timestamp, t.ssrc[rows])
        t.timestamp[rows] = timestamp + np.uint32(FRAME)
        t.sequence[rows] = sequence + np.uint16(1)
        t.marker[rows] = 0
        t.packets_sent[rows] += np.uint64(1)
        t.bytes_sent[rows] += np.uint64(FRAME)
        self._rendered[slot] += 1
        if self._rendered[slot] % LEVEL_FRAMES == 0:
            energy = g711.MU_ENERGY.take(frames).mean(axis=1)
            t.energy_out[rows] += (energy - t.energy_out[rows]) * SMOOTHING
        special = _NOTHING_SPECIAL
        if self._dtx:
            special = self._suppress(rows, packets, playing | mixing)
        if np.count_nonzero(t.dialling[rows]):
            special = special | self._seldom.instead(rows, packets, np.flatnonzero(t.dialling[rows]))
        halves = t.halves[rows]
        if np.count_nonzero(halves):
            halves[list(special)] = False  # what is sent instead of audio is one packet
            special = special | self._halve(rows, packets, np.flatnonzero(halves))
        return Rendered(rows, packets, special)

    def receive(self, batch: Batch, slot: int, due_ns: int) -> None:
        """Datagrams from believed sources, at most one per leg. due_ns: when `slot`, the next one, is captured."""
        t = self.table
        rows, octets, arrival_ns = batch.rows, batch.octets, batch.arrival_ns
        headers = packet.parse(octets, batch.lengths)
        kind = t.accept[rows, headers.payload_type]
        reject = headers.reject
        usual = (reject == 0) & (kind >= 0) & (kind < EVENT) & (headers.payload_offset == packet.HEADER)
        usual &= t.receiving[rows]
        restarted = None
        if np.count_nonzero(usual) == len(rows):
            arrival = t.reception.update(rows, headers.sequence, headers.timestamp, headers.ssrc, arrival_ns)
            reject[:], restarted = arrival.reject, arrival.restarted
        if restarted is None or np.count_nonzero(reject):
            keep, restarted = self._sort_out(batch, headers, kind, restarted)
            if not len(keep):
                return
            rows, octets, arrival_ns = rows[keep], octets[keep], arrival_ns[keep]
            kind, headers = kind[keep], headers.only(keep)
        size = headers.payload_length.astype(np.intp)
        payload = octets[:, packet.HEADER : packet.HEADER + int(size.max())]
        a_law = kind == PCMA
        if np.count_nonzero(a_law):
            payload[a_law] = g711.ALAW_TO_MULAW[payload[a_law]]
        position, late, restart = t.ring.locate(rows, headers.timestamp, size, restarted)
        if np.count_nonzero(restart):
            which = np.flatnonzero(restart)
            position[which] = self._restart(rows[which], arrival_ns[which], slot, due_ns)
        lost = t.delay.observe(rows, arrival_ns, position, size)
        if lost is not None:
            position[lost] = self._restart(rows[lost], arrival_ns[lost], slot, due_ns)
            late[lost] = False
            t.delay.observe(rows[lost], arrival_ns[lost], position[lost], size[lost])
        t.ring.store(rows, headers.timestamp, position, payload, size, late)
        t.bytes_received[rows] += size.astype(np.uint64)
        t.last_packet_ns[rows] = arrival_ns
        t.silent_until[rows] = np.minimum(t.silent_until[rows], position)
        if np.count_nonzero(late):
            t.packets_late[rows[late]] += np.uint64(1)

    def capture(self, slot: int, now_ns: int) -> bool:
        """One frame of each leg of the slot to the uplink; whether there were any."""
        t = self.table
        rows = t.rows_of_slot[slot]
        rows = rows[t.ring.started[rows]]
        begun = t.ring.begun(rows)
        if np.count_nonzero(begun) < len(rows):
            t.ring.advance(rows[~begun])
            rows = rows[begun]
        if not len(rows):
            return False
        plane = t.plane
        frames, missing = t.ring.read(rows)  # (k, 160), (k, 2)
        lost: Mask = missing[:, 0] & missing[:, 1]
        flags = np.zeros(len(rows), np.uint8)
        holes = missing[:, 0] | missing[:, 1] | t.concealer.active[rows]
        if np.count_nonzero(holes):
            which = np.flatnonzero(holes)
            frames[which] = repair.fill(t, rows[which], frames[which], missing[which], now_ns)
            self._note_holes(rows, lost, flags)
        if self._captured[slot] % PACE_FRAMES == 0:
            whole = np.flatnonzero(~holes)
            frames[whole] = repair.pace(t, rows[whole], frames[whole], now_ns)
        energy, speaking, changed, _ = t.vad.hear(rows, frames, g711.MU_ENERGY)
        t.energy_in[rows] += (energy - t.energy_in[rows]) * SMOOTHING
        t.frames_silent[rows] += energy < DIGITAL_SILENCE
        flags[speaking] |= VOICE
        if np.count_nonzero(changed):
            self._seldom.speech(rows[changed], speaking[changed])
        head = plane.uplink_head[rows]
        at = (head % UPLINK_FRAMES).astype(np.intp)
        plane.uplink[rows, at] = frames
        plane.uplink_timestamp_ms[rows, at] = t.media_ms[rows]
        plane.uplink_flags[rows, at] = flags
        t.ring.advance(rows)
        t.media_ms[rows] += FRAME_MS
        t.frames_up[rows] += np.uint64(1)
        plane.uplink_head[rows] = head + np.uint64(1)  # last: the reader looks here first
        t.quality.count(rows, lost & ~t.silent(rows))
        self._captured[slot] += 1
        if self._captured[slot] % PUBLISH_FRAMES == 0:
            t.publish(rows, now_ns)
        if self._captured[slot] % RATE_FRAMES == 0:
            t.rate(rows)
        return True

    def _note_holes(self, rows: Rows, lost: Mask, flags: Bytes) -> None:
        """Count frames that were made up; those of a sender that is silent by agreement are no loss."""
        t = self.table
        agreed = lost & t.silent(rows)
        flags[agreed] |= COMFORT_NOISE
        t.frames_noise[rows] += agreed
        concealed = lost & ~agreed
        flags[concealed] |= CONCEALED
        t.frames_concealed[rows] += concealed
        t.delay.note_loss(rows[concealed])

    def packet_views(self) -> list[memoryview]:
        """Row i of what `render` returns, as something that a socket sends."""
        return [row.data for row in self._packets]

    def skip(self, frames: int) -> None:
        """The loop was stopped for so many frames: move every clock on, without making up for them."""
        t = self.table
        for rows in t.rows_of_slot:
            t.timestamp[rows] += np.uint32(frames * FRAME & 0xFFFFFFFF)
            t.marker[rows] = 1
            t.ring.cursor[rows] += frames * FRAME
            t.media_ms[rows] += frames * FRAME_MS

    def _restart(self, rows: Rows, arrival_ns: Times, slot: int, due_ns: int) -> npt.NDArray[np.int64]:
        """Streams that start, or start again: give the leg its slot, and the packet a position.

        A leg without a slot gets that in which its packets will have waited most nearly the delay that is wanted.
        """
        t = self.table
        wanted_ns = t.delay.target[rows] * SAMPLE_NS - (due_ns - arrival_ns)  # from now on
        wait = (wanted_ns - BEYOND_NS) / self._slot_ns
        fresh = t.slot[rows] == NO_SLOT
        t.schedule_near(rows[fresh], slot + wait[fresh])
        t.first_packet_ns[rows] = np.where(t.first_packet_ns[rows] == 0, arrival_ns, t.first_packet_ns[rows])
        t.resyncs[rows] += t.ring.started[rows]
        until = (t.slot[rows] - slot) % t.slots  # slots until the leg's next capture
        # Half a slot too short is as near as it gets; a leg that has its slot already had better wait longer.
        frames = np.maximum(np.ceil((wait - until - HALF) / t.slots), 0).astype(np.int64)
        short = (wanted_ns - (until + frames * t.slots) * self._slot_ns) // SAMPLE_NS
        t.delay.reset_base(rows)
        t.delay.placed(rows, short)
        return t.ring.restart(rows, frames * FRAME)

    def _suppress(self, rows: Rows, packets: Bytes, playing: Mask) -> dict[int, list[bytes]]:
        """DTX: legs that have long been silent send comfort noise now and then instead of silence (RFC 3389 §4).

        rows (k,) · packets (k, 172) as they would be sent · playing (k,): they carry sound.
        """
        t = self.table
        quiet = np.where(playing | t.dialling[rows], 0, t.quiet[rows] + 1)
        t.quiet[rows] = quiet
        which = np.flatnonzero((quiet > DTX_AFTER) & (t.noise_type[rows] >= 0))
        due = (quiet[which] - DTX_AFTER - 1) % DTX_REPEAT == 0
        row = rows[which]
        t.marker[row] = 1  # the next sound begins a talkspurt
        # A packet that is not sent has no sequence number.
        t.sequence[row[~due]] -= np.uint16(1)
        t.packets_sent[row[~due]] -= np.uint64(1)
        t.bytes_sent[row] -= np.where(due, FRAME - 1, FRAME).astype(np.uint64)
        said = which[due]
        noise = packets[said, : packet.HEADER + 1]
        noise[:, 1] = t.noise_type[row[due]]
        noise[:, packet.HEADER] = NOISE_LEVEL
        special: dict[int, list[bytes]] = dict.fromkeys(which.tolist(), _NO_DATAGRAM)
        return special | dict(zip(said.tolist(), ([datagram] for datagram in _datagrams(noise)), strict=True))

    def _halve(self, rows: Rows, packets: Bytes, which: Rows) -> dict[int, list[bytes]]:
        """Peers whose maxptime is 10 ms get the frame as two packets (RFC 8866 §6.4)."""
        t = self.table
        row = rows[which]
        first = packets[which, : packet.HEADER + FRAME // 2]
        second = first.copy()
        second[:, packet.HEADER :] = packets[which, packet.HEADER + FRAME // 2 :]
        timestamp = t.timestamp[row] - np.uint32(FRAME // 2)
        packet.build(second, t.payload_type[row], 0, t.sequence[row], timestamp, t.ssrc[row])
        t.sequence[row] += np.uint16(1)
        t.packets_sent[row] += np.uint64(1)
        pairs = map(list, zip(_datagrams(first), _datagrams(second), strict=True))
        return dict(zip(which.tolist(), pairs, strict=True))

    def _mix(self, rows: Rows, frames: Bytes, playing: npt.NDArray[np.bool_], which: Rows) -> Bytes:
        t = self.table
        listeners = rows[which]
        sources = t.mixer.sources(listeners)
        last = ((t.plane.uplink_head[sources] - np.uint64(1)) % UPLINK_FRAMES).astype(np.intp)
        originals = t.plane.uplink[sources, last]
        originals[t.plane.uplink_head[sources] == 0] = g711.MU_SILENCE
        frames = frames.copy()
        frames[which] = t.mixer.mix(listeners, frames[which], playing[which], t.generation, originals, sources)
        return frames

    def _sort_out(
        self, batch: Batch, headers: packet.Headers, kind: npt.NDArray[np.int8], restarted: Mask | None
    ) -> tuple[Rows, Mask]:
        """The entries that carry audio to be played, and which of them restart their stream.

        Counts what is refused, hands over what is not audio, and moves payloads behind long headers to where
        they are expected. restarted: None when `Reception` has not seen the batch yet.
        """
        t = self.table
        rows, octets, arrival_ns = batch.rows, batch.octets, batch.arrival_ns
        reject = headers.reject
        if restarted is None:
            reject[(kind < 0) & (reject == 0)] = RejectReason.BAD_PAYLOAD_TYPE
            reject[~t.receiving[rows] & (reject == 0)] = RejectReason.NOT_RECEIVING
            good = np.flatnonzero(reject == 0)
            restarted = np.zeros(len(rows), np.bool_)
            arrival = t.reception.update(
                rows[good],
                headers.sequence[good],
                headers.timestamp[good],
                headers.ssrc[good],
                arrival_ns[good],
                timed=kind[good] < EVENT,  # events repeat their timestamp
            )
            reject[good], restarted[good] = arrival.reject, arrival.restarted
        bad = np.flatnonzero(reject)
        if len(bad):
            np.add.at(t.rejected, reject[bad], np.uint64(1))
            t.packets_bad[rows[bad]] += IS_BAD[reject[bad]]
            t.packets_bad_payload[rows[bad]] += reject[bad] == RejectReason.BAD_PAYLOAD_TYPE
        aside = np.flatnonzero(((reject == 0) & (kind >= EVENT)) | (reject == RejectReason.RTCP))
        if len(aside):
            self._seldom.take(batch.only(aside), headers.only(aside), kind[aside])
        keep = np.flatnonzero((reject == 0) & (kind < EVENT) & (headers.payload_length > 0))
        moved = keep[headers.payload_offset[keep] != packet.HEADER]
        if len(moved):
            _move_payloads(octets, moved, headers)
        return keep, restarted[keep]


def _datagrams(rows: Bytes) -> list[bytes]:
    """Each row as bytes."""
    return [bytes(item) for item in rows]


def _move_payloads(batch: Bytes, which: Rows, headers: packet.Headers) -> None:
    """Behind a CSRC list or an extension: shift each such row so that its payload begins at octet 12."""
    index = np.arange(batch.shape[1] - packet.HEADER) + headers.payload_offset[which][:, None]
    batch[which, packet.HEADER :] = batch[which[:, None], np.minimum(index, batch.shape[1] - 1)]
