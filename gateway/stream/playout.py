"""The return leg's audio before the real-time loop has it: a bounded queue in front of a row's ring.

Theory of operation. The ring on the audio plane holds four seconds; whatever a sender that bursts sends
beyond that waits here, at most `queue_octets`, and is topped up by `poll`. Positions are bytes since the
row was taken: `written` is ours, `consumed` and `dropped` are the loop's, so what was heard is known to the
byte: `consumed − dropped`. A mark stands in the queue in its place between audio; on entering the ring it
becomes a position, and is played when `consumed` reaches it. `clear` empties the queue, asks the loop to
drop the ring (`flush_to`) and is answered when the loop has done so (`flushed`). Each report of
`audio.cleared` says what was played and what was dropped since the report before it, so that the sums of
both over a leg's life are exactly what the sender sent.

Owns that account. Refuses to know sockets, clocks and who the sender is.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.stream.messages import AudioCleared, AudioPushback, MarkPlayed
from rtp.plane import DOWNLINK_BYTES, Plane

#: mu-law at 8000 Hz: one octet is one sample.
OCTETS_PER_MS: Final = 8
#: Marks and clears that may wait to be answered; more is a sender gone wrong, the oldest is given up.
MAX_MARKS: Final = 1024
MAX_CLEARS: Final = 64

_MASK: Final = DOWNLINK_BYTES - 1

Report = AudioCleared | AudioPushback | MarkPlayed


class Playout:
    """The play-out of one leg. target: its speaker, as the stream names it.

    pushback: tell the sender when the queue is above half of its bound, and again below a quarter.
    The bound holds either way; with pushback the newest audio is refused, without it the oldest dropped.
    """

    # Slots: fifty times a second for each leg, and always with a cold cache, so what lies apart is what it costs.
    __slots__ = (
        *("cleared", "cut_off", "overflowed", "queue", "target"),
        *("_begin", "_ring", "_room_to", "_row", "_written", "_written_view"),
        *("_consumed_view", "_dropped_view", "_flush_view", "_flushed_view", "_talkspurt_view"),
        *("_clears", "_discarded", "_dropped_start", "_marks", "_pushback", "_pushed", "_queue_octets", "_queued"),
        *("_reported_dropped", "_reported_played", "_ring_dropped", "_start"),
    )

    def __init__(self, plane: Plane, row: int, target: str, queue_octets: int, *, pushback: bool) -> None:
        self.target = target
        self.overflowed = 0  #: octets that did not fit the queue
        self.cleared = 0  #: octets dropped by `clear`
        self.cut_off = 0  #: octets not yet played when the leg ended
        self._row = row
        self._ring = plane.view_of["downlink"]
        self._begin = row * DOWNLINK_BYTES  # of our part of it
        self._written_view = plane.view_of["written"]
        self._flush_view = plane.view_of["flush_to"]
        self._talkspurt_view = plane.view_of["talkspurt_end"]
        self._consumed_view = plane.view_of["consumed"]
        self._flushed_view = plane.view_of["flushed"]
        self._dropped_view = plane.view_of["dropped"]
        # A row outlives its legs and its counters go on: this leg begins where the last one ended.
        self._written: int = self._consumed_view[row]
        self._written_view[row] = self._written
        self._start = self._written
        self._room_to = self._written
        self._dropped_start: int = self._dropped_view[row]
        self._reported_played = 0
        self._reported_dropped = 0
        self._ring_dropped = 0  # of those reported: dropped by the loop
        self._discarded = 0  # octets dropped before they reached the ring
        self.queue: deque[bytes | str] = deque()  #: audio and marks that wait for the ring
        self._queued = 0
        self._queue_octets = queue_octets
        self._pushback = pushback
        self._pushed = False
        self._marks: deque[tuple[int, str]] = deque()
        self._clears: deque[tuple[int, list[str]]] = deque()

    @property
    def busy(self) -> bool:
        """`poll` is wanted every 20 ms or so: something waits to be moved or answered."""
        return bool(self.queue or self._marks or self._clears)

    @property
    def queued_ms(self) -> int:
        """Audio accepted and not yet played."""
        return (self._queued + self._written - self._consumed_view[self._row]) // OCTETS_PER_MS

    def append(self, audio: bytes) -> bool:
        """Play this after all that came before. Never blocks; beyond the bound the policy drops.

        True: some of it waits, `poll` is wanted.
        """
        written = self._written
        end = written + len(audio)
        at = written & _MASK
        if end <= self._room_to and at + len(audio) <= DOWNLINK_BYTES:
            at += self._begin
            self._ring[at : at + len(audio)] = audio
            self._written = self._written_view[self._row] = end
            return False
        return self._append(audio)

    def _append(self, audio: bytes) -> bool:
        """The less usual: at the end of the known room, at the ring's edge, behind others that wait."""
        if not self.queue:
            # `_room_to` is the last known end of the free space: `consumed` is looked at only when it is reached.
            self._room_to = self._consumed_view[self._row] + DOWNLINK_BYTES
            if self._written + len(audio) <= self._room_to:
                self._put(audio)
                return False
        self._room_to = 0  # until the queue is empty
        self._enqueue(audio)
        return bool(self.queue)

    def mark(self, name: str) -> None:
        """Report when everything up to here has been played. The sender's utterance ends here."""
        if self.queue:
            self.queue.append(name)
        else:
            self._place(name)
        if len(self._marks) + len(self.queue) > MAX_MARKS and self._marks:
            self._marks.popleft()

    def clear(self) -> None:
        """Drop what is queued and not yet played. `poll` brings the answer once the loop has done it."""
        names = [item for item in self.queue if isinstance(item, str)]
        self.queue.clear()
        self._discarded += self._queued
        self.cleared += self._queued
        self._queued = 0
        self._flush_view[self._row] = self._written
        self._clears.append((self._written, names))
        if len(self._clears) > MAX_CLEARS:
            self._clears.popleft()

    def poll(self) -> list[Report]:
        """Top up the ring, and say what has happened since the last time."""
        reports: list[Report] = []
        while self._clears and self._flushed_view[self._row] >= self._clears[0][0]:
            reports += self._answer(*self._clears.popleft())
        if not self._clears:  # while a flush is under way a position passed may have been dropped, not played
            consumed = self._consumed_view[self._row]
            while self._marks and self._marks[0][0] <= consumed:
                reports.append(MarkPlayed(self._marks.popleft()[1], self.target))
        self._top_up()
        if self._pushback and (report := self._press()):
            reports.append(report)
        return reports

    def finish(self) -> AudioCleared | None:
        """The leg ends: what was cut off, or None if all had been played and answered."""
        rest = self._queued + self._written - self._consumed_view[self._row]
        marks = [name for _, name in self._marks]
        for _, names in self._clears:
            marks += names
        marks += [item for item in self.queue if isinstance(item, str)]
        if not rest and not marks and not self._clears:
            return None
        self.cut_off = rest
        self._discarded += rest
        return self._account(marks)

    def _place(self, name: str) -> None:
        self._marks.append((self._written, name))
        self._talkspurt_view[self._row] = self._written

    def _enqueue(self, audio: bytes) -> None:
        if self._pushback and self._queued + len(audio) > self._queue_octets:
            self._lose(len(audio))
            return
        self.queue.append(audio)
        self._queued += len(audio)
        while self._queued > self._queue_octets:
            oldest = self.queue.popleft()
            if isinstance(oldest, str):
                self._place(oldest)  # what stood before it is gone, so it is due with what is in the ring
            else:
                self._queued -= len(oldest)
                self._lose(len(oldest))
        self._top_up()

    def _lose(self, octets: int) -> None:
        self._discarded += octets
        self.overflowed += octets

    def _top_up(self) -> None:
        queue = self.queue
        while queue:
            item = queue[0]
            if isinstance(item, str):
                queue.popleft()
                self._place(item)
                continue
            room = DOWNLINK_BYTES - self._written + self._consumed_view[self._row]
            if not room:
                return
            piece = item[:room]
            if len(item) > room:
                queue[0] = item[room:]
            else:
                queue.popleft()
            self._queued -= len(piece)
            self._put(piece)

    def _put(self, audio: bytes) -> None:
        begin = self._begin
        at = self._written & _MASK
        first = min(len(audio), DOWNLINK_BYTES - at)
        self._ring[begin + at : begin + at + first] = audio[:first]
        self._ring[begin : begin + len(audio) - first] = audio[first:]
        self._written = self._written_view[self._row] = self._written + len(audio)

    def _press(self) -> AudioPushback | None:
        if not self._pushed and self._queued > self._queue_octets // 2:
            self._pushed = True
        elif self._pushed and self._queued < self._queue_octets // 4:
            self._pushed = False
        else:
            return None
        return AudioPushback(self.target, self.queued_ms)

    def _answer(self, position: int, names: list[str]) -> list[Report]:
        """The loop has dropped everything before `position`: which marks were reached, which cut off."""
        just_dropped = self._dropped_view[self._row] - self._dropped_start - self._ring_dropped
        heard_to = position - just_dropped
        self.cleared += just_dropped
        reports: list[Report] = []
        cut: list[str] = []
        while self._marks and self._marks[0][0] <= position:
            at, name = self._marks.popleft()
            if at <= heard_to:
                reports.append(MarkPlayed(name, self.target))
            else:
                cut.append(name)
        reports.append(self._account(cut + names))
        return reports

    def _account(self, marks: list[str]) -> AudioCleared:
        ring_dropped = self._dropped_view[self._row] - self._dropped_start
        played = self._consumed_view[self._row] - self._start - ring_dropped
        dropped = ring_dropped + self._discarded
        report = AudioCleared(
            self.target,
            (played - self._reported_played) // OCTETS_PER_MS,
            (dropped - self._reported_dropped) // OCTETS_PER_MS,
            marks,
        )
        self._reported_played += report.played_ms * OCTETS_PER_MS
        self._reported_dropped += report.dropped_ms * OCTETS_PER_MS
        self._ring_dropped = ring_dropped
        return report
