"""RTP headers (RFC 3550 §5.1), many at a time: a batch of datagrams is one uint8 matrix.

`parse` turns the batch into columns and never raises, whatever the octets; `build` stamps a matrix.
Owns the header. Refuses to know what the payload means and whether a sequence number makes sense.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rtp.errors import RejectReason

HEADER: Final = 12  #: octets of a header without CSRC list and extension

Bytes = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]

_PLAIN: Final = np.uint8(0x80)  # version 2, no padding, no extension, no CSRC
_MARKER: Final = np.uint8(0x80)
_TYPE: Final = np.uint8(0x7F)
_SEVEN: Final = np.uint8(7)
_TOP_THREE: Final = np.uint8(0xE0)
_RTCP: Final = np.uint8(0xC0)  # RFC 5761 §4: a second octet of 192…223 is an RTCP packet type
_REACH: Final = HEADER + 4 * 15 + 4  # octets that a CSRC list and the head of an extension can take


class Headers(NamedTuple):
    """Columns, one entry per datagram. Where `reject` is not 0 the payload is empty, the rest means nothing.

    The payload always lies inside the datagram; padding is not part of it. A length of 0 is legal
    (RFC 6263 keepalive).
    """

    reject: Bytes  # (n,) uint8, RejectReason
    payload_type: Bytes  # (n,) uint8, 0…127
    marker: Bytes  # (n,) uint8, 0 or 1
    sequence: npt.NDArray[np.uint16]  # (n,)
    timestamp: npt.NDArray[np.uint32]  # (n,)
    ssrc: npt.NDArray[np.uint32]  # (n,)
    payload_offset: I32  # (n,)
    payload_length: I32  # (n,)

    def only(self, which: npt.NDArray[np.intp]) -> Headers:
        """The same columns for these entries."""
        return Headers(
            self.reject[which],
            self.payload_type[which],
            self.marker[which],
            self.sequence[which],
            self.timestamp[which],
            self.ssrc[which],
            self.payload_offset[which],
            self.payload_length[which],
        )


def parse(batch: Bytes, lengths: npt.NDArray[np.integer]) -> Headers:
    """Read the headers of a batch.

    batch: (n, mtu) uint8, one datagram a row, mtu ≥ 12, a row's octets contiguous; lengths: (n,) octets that
    came in each (more than mtu: it was cut off; octets of the row past it are stale and not believed).
    The columns are fresh arrays.
    """
    words = batch[:, :HEADER].view(">u4").astype(np.uint32)  # (n, 3)
    first = batch[:, 0]
    second = batch[:, 1]
    payload_type = second & _TYPE
    offset = np.full(len(batch), HEADER, dtype=np.int32)
    length = np.subtract(lengths, HEADER, dtype=np.int32, casting="unsafe")
    reject = np.zeros(len(batch), dtype=np.uint8)
    room = np.uint32(batch.shape[1] - HEADER)  # as unsigned, a negative length is beyond it too
    # Nearly every datagram of a telephone is plain; one comparison says that the whole batch is.
    usual = (first == _PLAIN) & (length.view(np.uint32) <= room) & (second & _TOP_THREE != _RTCP)
    if np.count_nonzero(usual) < len(batch):
        rows = np.flatnonzero(~usual)
        _parse_unusual(batch, rows, reject, offset, length)
    return Headers(
        reject,
        payload_type,
        second >> _SEVEN,
        words[:, 0].astype(np.uint16),  # the low half: sequence
        words[:, 1],
        words[:, 2],
        offset,
        length,
    )


def _parse_unusual(
    batch: Bytes,
    rows: npt.NDArray[np.intp],
    reject: Bytes,
    offset: I32,
    length: I32,
) -> None:
    """Fill the entries `rows` of the three columns. All positions are clipped before they are used."""
    octets = batch[:, :_REACH][rows]  # (k, 76)
    room = batch.shape[1]
    k = np.arange(len(rows))
    first = octets[:, 0]
    received = length[rows] + HEADER
    ends = np.minimum(received, room)

    starts = HEADER + 4 * (first & 0x0F).astype(np.int32)
    # §5.3.1: the extension begins with a 16-bit identifier and its length in 32-bit words.
    extended = (first & 0x10) != 0
    at = np.where(extended & (starts + 4 <= ends), starts, 0)
    words = octets[k, at + 2].astype(np.int32) << 8 | octets[k, at + 3]
    starts = starts + np.where(extended, 4 + 4 * words, 0)
    # §5.1: the last octet counts the padding octets, itself included.
    padded = (first & 0x20) != 0
    count = np.where(padded, batch[rows, np.maximum(ends, 1) - 1].astype(np.int32), 0)

    version = first >> 6 == 2
    codes = np.zeros(len(rows), dtype=np.uint8)  # what stands later outranks
    codes[padded & ((count == 0) | (starts + count > ends))] = RejectReason.BAD_PADDING
    codes[starts > ends] = RejectReason.BAD_HEADER
    codes[~version] = RejectReason.BAD_VERSION
    codes[received < HEADER] = RejectReason.SHORT
    codes[version & (octets[:, 1] & _TOP_THREE == _RTCP) & (received >= 8)] = RejectReason.RTCP
    codes[received > room] = RejectReason.OVERSIZE
    reject[rows] = codes
    good = codes == RejectReason.OK
    offset[rows] = np.where(good, starts, 0)
    length[rows] = np.where(good, ends - starts - count, 0)


def build(
    out: Bytes,
    payload_type: npt.ArrayLike,
    marker: npt.ArrayLike,
    sequence: npt.ArrayLike,
    timestamp: npt.ArrayLike,
    ssrc: npt.ArrayLike,
) -> None:
    """Stamp plain headers into the first 12 octets of each row.

    out: (n, ≥ 12) uint8, a row's octets contiguous; the rest: (n,) or scalar, payload_type 0…127,
    marker 0 or 1 (bool will do), sequence uint16, timestamp and ssrc uint32.
    """
    header = out[:, :HEADER]
    words = header.view(">u4")
    header[:, 0] = _PLAIN
    header[:, 1] = np.multiply(marker, _MARKER, dtype=np.uint8, casting="unsafe")
    header[:, 1] |= np.asarray(payload_type, np.uint8)
    header[:, 2:4].view(">u2")[:, 0] = sequence
    words[:, 1] = timestamp
    words[:, 2] = ssrc
