"""The hot path of the controller: frames from the audio plane to the session streams, and play-out upkeep.

Theory of operation. The real-time loop writes the frames of a slot's legs and signals an eventfd. `wake`
then finds every leg with news by one comparison of `uplink_head` with what has been read (`tails`), takes
one message's worth of frames of all of them in one gather, encodes them by one base64 call (each row padded
to a multiple of three octets, so that rows stay apart), and fills each leg's byte template. What is left
per frame in Python is one `%` and one `send`.

The plane is also the history: after a lost connection `rewind` moves a leg's tail back, and the frames that
the peer may not have read are taken again with their own sequence and media time.

Owns which row feeds which stream. Refuses to know SIP, sessions and what arrives on a stream.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import picows

from gateway.stream.playout import Playout, Report
from gateway.stream.protocol import input_template
from rtp.plane import FRAME, UPLINK_FRAMES, Plane

TEXT: Final = picows.WSMsgType.TEXT
#: Frames of history that are safe to read: the loop may be writing the next ones meanwhile.
HISTORY: Final = UPLINK_FRAMES - 4
FRAME_MS: Final = 20

_NEVER: Final = 1 << 62

Rows = npt.NDArray[np.intp]


class Sender(Protocol):
    """The part of picows' transport that the pump calls."""

    def send(self, msg_type: picows.WSMsgType, message: bytes, /) -> None: ...


class Stream(Protocol):
    """A session stream as the pump sees it. `sender` is None while nothing may be sent: then `keep`."""

    sender: Sender | None

    def keep(self, message: bytes) -> None: ...
    def report(self, report: Report) -> None: ...


class Totals:
    """What the stream side has counted since the start; the controller turns it into metrics each second."""

    def __init__(self) -> None:
        self.frames_sent = 0  #: audio.input messages given to a connection
        self.octets_sent = 0
        self.frames_replayed = 0
        self.frames_received = 0  #: audio.output messages taken
        self.audio_received = 0  #: octets of audio in them
        self.octets_received = 0
        self.frames_dropped = 0  #: of what was kept for a stream that was down, or did not read
        self.frames_overrun = 0  #: lost on the plane: this process was stopped for more than a second


class _Port:
    """What the pump knows of a row that it serves."""

    __slots__ = ("first", "stream", "template")

    def __init__(self, stream: Stream, template: bytes, first: int) -> None:
        self.stream = stream
        self.template = template
        self.first = first


class Pump:
    """Serves the rows that were attached. frame_ms: audio of one message, a multiple of 20."""

    def __init__(self, plane: Plane, frame_ms: int, totals: Totals) -> None:
        n = plane.capacity
        self._totals = totals
        self._per_message = frame_ms // FRAME_MS
        self._octets = self._per_message * FRAME
        padded = self._octets + -self._octets % 3
        self._stride = padded // 3 * 4  # base64 characters from one row to the next
        self._length = -(-self._octets * 4 // 3)  # and of these, how many stand before the padding
        self._frames = plane.uplink.reshape(n * UPLINK_FRAMES, FRAME)
        self._timestamp = plane.uplink_timestamp_ms.reshape(-1)
        self._head = plane.uplink_head.view(np.int64)
        # The number of the next frame to read, per row; beyond all heads where nobody reads.
        self._tails = np.full(n, _NEVER, np.int64)
        self._number_base = np.zeros(n, np.int64)
        self._time_base = np.zeros(n, np.int64)
        self._block = np.zeros((n, padded), np.uint8)
        self._steps = np.arange(self._per_message)
        self._ports: list[_Port | None] = [None] * n
        self._upkeep: dict[Playout, Stream] = {}

    def attach(self, row: int, stream: Stream, speaker: str, sequence: int, timestamp_ms: int) -> None:
        """Send this row's frames, from the next one on, as `speaker`'s.

        sequence, timestamp_ms: of the first message, so that a speaker whose leg is opened anew goes on
        where it was. timestamp_ms is media time from there on.
        """
        head = int(self._head[row])
        self._ports[row] = _Port(stream, input_template(speaker, self._octets), head)
        before = row * UPLINK_FRAMES + (head - 1) % UPLINK_FRAMES
        next_ms = int(self._timestamp[before]) + FRAME_MS if head else 0
        self._number_base[row] = sequence * self._per_message - head
        self._time_base[row] = timestamp_ms - next_ms
        self._tails[row] = head

    def next_of(self, row: int) -> tuple[int, int]:
        """What the row's next message will carry: sequence, timestamp_ms."""
        tail = int(self._tails[row])
        before = row * UPLINK_FRAMES + (tail - 1) % UPLINK_FRAMES
        next_ms = int(self._timestamp[before]) + FRAME_MS if tail else 0
        return (tail + int(self._number_base[row])) // self._per_message, next_ms + int(self._time_base[row])

    def detach(self, row: int) -> None:
        """Serve the row no more."""
        self._ports[row] = None
        self._tails[row] = _NEVER

    def rewind(self, row: int, frames: int) -> int:
        """Take the last `frames` again, as far as the plane and this leg's time here reach. Returns how many."""
        port = self._ports[row]
        if port is None:
            return 0
        tail = int(self._tails[row])
        back = min(frames, tail - port.first, HISTORY - (int(self._head[row]) - tail))
        back = max(0, back - back % self._per_message)
        self._tails[row] = tail - back
        return back

    def wake(self) -> None:
        """Send everything that is new by now. Call it when the eventfd was signalled, and after `rewind`.

        What comes in meanwhile waits for the next call: a host that is too slow must not starve the rest of the loop.
        """
        tails, per_message = self._tails, self._per_message
        head = self._head.copy()
        behind = head - tails
        rows = (behind >= per_message).nonzero()[0]
        while len(rows):
            if behind[rows].max() > HISTORY:
                self._skip(rows[behind[rows] > HISTORY])
            self._send(rows)
            behind = head - tails
            rows = (behind >= per_message).nonzero()[0]

    def watch(self, playout: Playout, stream: Stream) -> None:
        """Keep an eye on a play-out that has become busy; `upkeep` forgets it when it is idle again."""
        self._upkeep[playout] = stream

    def upkeep(self) -> None:
        """Top up rings and answer marks and clears. Call it every 20 ms or so."""
        for playout, stream in list(self._upkeep.items()):
            for report in playout.poll():
                stream.report(report)
            if not playout.busy:
                del self._upkeep[playout]

    def forget(self, playout: Playout) -> None:
        """Its leg has ended."""
        self._upkeep.pop(playout, None)

    def _send(self, rows: Rows) -> None:
        """One message of each of these rows, all of which have one to send."""
        tail = self._tails[rows]
        first = rows * UPLINK_FRAMES
        if self._per_message == 1:
            at = first + tail % UPLINK_FRAMES
            self._block[: len(rows), :FRAME] = self._frames[at]
        else:
            index = first[:, None] + (tail[:, None] + self._steps) % UPLINK_FRAMES  # (k, frames)
            self._block[: len(rows), : self._octets] = self._frames[index].reshape(len(rows), -1)
            at = index[:, 0]
        numbers = ((tail + self._number_base[rows]) // self._per_message).tolist()
        times = (self._timestamp[at] + self._time_base[rows]).tolist()
        text = b2a_base64(self._block[: len(rows)].data, newline=False)
        self._tails[rows] = tail + self._per_message

        ports, stride, length = self._ports, self._stride, self._length
        begin = octets = 0
        for row, number, time in zip(rows.tolist(), numbers, times, strict=True):
            port = ports[row]
            assert port is not None  # its tail would be beyond every head
            message = port.template % (number, time, text[begin : begin + length])
            begin += stride
            octets += len(message)
            stream = port.stream
            sender = stream.sender
            if sender is not None:
                sender.send(TEXT, message)
            else:
                stream.keep(message)
        self._totals.frames_sent += len(rows)
        self._totals.octets_sent += octets

    def _skip(self, rows: Rows) -> None:
        """The loop has overwritten what these rows had not read: go on with what is surely whole."""
        per_message = self._per_message
        lost = self._head[rows] - self._tails[rows] - HISTORY // 2
        lost -= lost % per_message
        self._tails[rows] += lost
        self._totals.frames_overrun += int(lost.sum())
