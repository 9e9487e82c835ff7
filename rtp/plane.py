"""The audio plane: one shared-memory block through which audio and statistics cross the process border.

Laid out as plain arrays over `capacity` rows. Each array has one writing process and is read by the
other; counters are monotonic 64-bit and are written after the data they speak of (x86 and ARM64 under
CPython keep that order: a store of a numpy scalar is one aligned store behind a function call). No lock,
no system call per frame. Audio is mu-law at 8000 Hz everywhere on the plane: one byte is one sample.

Owns the layout. Refuses to know what a frame means: `tick.py` writes uplink, the controller reads it;
the controller writes downlink, `playout.py` reads it.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

import numpy as np
import numpy.typing as npt

FRAME: Final = 160  #: samples (= bytes) of a 20 ms frame
UPLINK_FRAMES: Final = 64  #: frames of uplink history a row keeps, 1.28 s; a slower reader loses the oldest
DOWNLINK_BYTES: Final = 32768  #: a row's play-out window, 4.096 s; a power of two, positions are masked with it

#: Flags of an uplink frame.
VOICE: Final = 1  # the energy detector heard speech
CONCEALED: Final = 2  # at least half of the frame was made up
COMFORT_NOISE: Final = 4  # the sender is silent (RFC 3389) and this is noise made here

#: One row of statistics per leg. Written by the rtp process only; counters are since the leg opened.
#: `_ns` is CLOCK_MONOTONIC, levels are dBm0-like dBov (0 = full scale) × 1, 127 = digital silence.
STATS: Final = np.dtype(
    [
        ("generation", "u8"),  # 0: the row is free
        ("opened_ns", "i8"),
        ("first_packet_ns", "i8"),  # 0: none yet
        ("last_packet_ns", "i8"),  # last accepted RTP packet
        ("packets_received", "u8"),
        ("bytes_received", "u8"),  # payload octets
        ("packets_lost", "i8"),  # RFC 3550 A.3 cumulative: expected − received, may be negative
        ("packets_expected", "u8"),
        ("packets_late", "u8"),  # arrived after their play time
        ("packets_duplicate", "u8"),
        ("packets_reordered", "u8"),
        ("packets_stranger", "u8"),  # from an address this leg does not believe
        ("packets_bad", "u8"),  # malformed, unknown payload type, authentication failure
        ("packets_bad_payload", "u8"),  # of these: unknown payload type
        ("packets_bad_auth", "u8"),  # of these: SRTP authentication failure or replay
        ("packets_refused", "u8"),  # our packets refused by ICMP
        ("packets_sent", "u8"),
        ("bytes_sent", "u8"),
        ("send_errors", "u8"),
        ("frames_up", "u8"),  # frames put on the uplink
        ("frames_concealed", "u8"),
        ("frames_noise", "u8"),  # comfort noise frames (sender silent by agreement)
        ("frames_silent", "u8"),  # received frames that were digital silence
        ("frames_trimmed", "u8"),  # of which up to 20 ms were left out to shorten the delay
        ("frames_stretched", "u8"),  # … were said twice to lengthen it
        ("ssrc_changes", "u8"),
        ("resyncs", "u8"),  # timestamp jumps that moved the cursor
        ("jitter_ms", "f4"),  # RFC 3550 A.8
        ("delay_ms", "f4"),  # present play-out delay of the receive side
        ("delay_target_ms", "f4"),
        ("delay_mean_ms", "f4"),  # mean since the leg opened, of the time in which packets came
        ("drift_ppm", "f4"),
        ("level_in_db", "f4"),  # smoothed level of received audio, dBov
        ("level_out_db", "f4"),
        ("underruns", "u8"),  # gaps inside a talkspurt of the return leg
        ("underrun_20ms", "u8"),  # ladder: how long each lasted
        ("underrun_60ms", "u8"),
        ("underrun_200ms", "u8"),
        ("underrun_1s", "u8"),  # 1 s and longer
        ("frames_played", "u8"),  # return frames that carried queued audio
        ("frames_filled", "u8"),  # return frames that were silence for want of audio
        ("digits_received", "u8"),
        ("digits_sent", "u8"),
        ("rtcp_received", "u8"),
        ("rtcp_sent", "u8"),
        ("remote_loss", "f4"),  # fraction 0…1 that the peer reports of our packets
        ("remote_jitter_ms", "f4"),
        ("rtt_ms", "f4"),  # 0: not known
        ("r_factor", "f4"),  # E-model, of the last 5 s; 0: not known
        ("mos", "f4"),
        ("burst_ratio", "f4"),
        ("r_mean", "f4"),  # of all 5 s in which the leg was to hear something; 0: not known
        ("mos_mean", "f4"),  # of that
    ]
)

_ALIGN: Final = 64


class Plane:
    """Views onto the block, one array per field; row index first.

    uplink (legs, 64, 160) u8 · uplink_timestamp_ms (legs, 64) i8 ·
    uplink_flags (legs, 64) u1 · uplink_head (legs,) u8: written by rtp. Frame `n` of a row stands at
    `n % 64`; `uplink_head` is the number of frames written since the row's leg opened.

    downlink (legs, 32768) u8 · written (legs,) u8 · flush_to (legs,) u8 · talkspurt_end (legs,) u8: written
    by the controller. `written` counts bytes; `flush_to` asks that everything before it and not yet played
    be dropped; `talkspurt_end` is the position at which the sender said that its utterance ends (a gap there
    is a pause, not an under-run).

    consumed (legs,) u8 · flushed (legs,) u8 · dropped (legs,) u8: written by rtp. `consumed` is the position
    up to which bytes were played or dropped, `dropped` how many of those were dropped in total, `flushed`
    the last `flush_to` that took effect. Played so far = consumed − dropped.

    view_of: each field but `stats` by name as one flat memoryview, for who reads and writes one number at a time.
    All play-outs share them, so that they stay in the processor's cache.
    """

    uplink: npt.NDArray[np.uint8]
    uplink_timestamp_ms: npt.NDArray[np.int64]
    uplink_flags: npt.NDArray[np.uint8]
    uplink_head: npt.NDArray[np.uint64]
    downlink: npt.NDArray[np.uint8]
    written: npt.NDArray[np.uint64]
    flush_to: npt.NDArray[np.uint64]
    talkspurt_end: npt.NDArray[np.uint64]
    consumed: npt.NDArray[np.uint64]
    flushed: npt.NDArray[np.uint64]
    dropped: npt.NDArray[np.uint64]
    stats: npt.NDArray[np.void]

    def __init__(self, fd: int, capacity: int) -> None:
        """Map an existing block. fd: from `create`; capacity: rows, the same figure on both sides."""
        self.capacity = capacity
        self._map = mmap.mmap(fd, size_of(capacity))
        self.view_of: dict[str, memoryview[int]] = {}
        offset = 0
        for name, shape, dtype in _layout(capacity):
            view = np.ndarray(shape, dtype=dtype, buffer=self._map, offset=offset)
            setattr(self, name, view)
            if dtype is not STATS:
                self.view_of[name] = view.reshape(-1).data
            offset = _aligned(offset + view.nbytes)


def create(capacity: int) -> int:
    """Allocate a block for `capacity` legs, zeroed; returns a file descriptor that children may inherit."""
    fd = os.memfd_create("glotgate-plane", os.MFD_CLOEXEC)
    os.ftruncate(fd, size_of(capacity))
    return fd


def size_of(capacity: int) -> int:
    """Bytes of the block for `capacity` legs."""
    total = 0
    for _, shape, dtype in _layout(capacity):
        total = _aligned(total + int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return total


def _aligned(offset: int) -> int:
    return (offset + _ALIGN - 1) // _ALIGN * _ALIGN


def _layout(n: int) -> list[tuple[str, tuple[int, ...], npt.DTypeLike]]:
    return [
        ("uplink", (n, UPLINK_FRAMES, FRAME), np.uint8),
        ("uplink_timestamp_ms", (n, UPLINK_FRAMES), np.int64),
        ("uplink_flags", (n, UPLINK_FRAMES), np.uint8),
        ("uplink_head", (n,), np.uint64),
        ("downlink", (n, DOWNLINK_BYTES), np.uint8),
        ("written", (n,), np.uint64),
        ("flush_to", (n,), np.uint64),
        ("talkspurt_end", (n,), np.uint64),
        ("consumed", (n,), np.uint64),
        ("flushed", (n,), np.uint64),
        ("dropped", (n,), np.uint64),
        ("stats", (n,), STATS),
    ]
