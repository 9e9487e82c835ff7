"""Why a packet was not used: one enum, used as an array code on the media path and as a metric label.

Bad input is data here: a parser returns a column of these codes, which goes straight into a counter.
Owns the names. Refuses to know what is done about a rejected packet.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np


class RejectReason(IntEnum):
    """A code fits in uint8; 0 means accepted."""

    OK = 0
    SHORT = 1  # fewer than the 12 octets of an RTP header, or than the 8 of an RTCP one
    BAD_VERSION = 2  # not version 2 (STUN and DTLS end here too)
    BAD_HEADER = 3  # CSRC list or header extension runs past the end
    BAD_PADDING = 4  # padding count of zero or longer than the payload
    RTCP = 5  # RTCP on the RTP port (RFC 5761 §4): not an error where rtcp-mux is agreed
    BAD_PAYLOAD_TYPE = 6  # a payload type that was not negotiated
    BAD_PAYLOAD = 7  # a payload that its format does not allow (RFC 4733, RFC 3389)
    OVERSIZE = 8  # longer than the receive buffer
    STRANGER = 9  # from an address that the leg does not believe
    BAD_AUTH = 10  # SRTP authentication failed
    REPLAYED = 11  # SRTP: seen before, or older than the replay window
    BAD_SRTP = 12  # SRTP: cannot be processed for another reason
    BAD_SEQUENCE = 13  # RFC 3550 A.1: a jump that is not yet confirmed by a second packet
    DUPLICATE = 14
    LATE = 15  # after its play time
    NOT_RECEIVING = 16  # the leg is on hold or not yet configured
    BAD_RTCP = 17  # malformed RTCP

    @property
    def label(self) -> str:
        """The metric label."""
        return self.name.lower()


#: Labels by code, for counters that are arrays.
LABELS: Final = tuple(reason.label for reason in RejectReason)

#: (256,) bool: codes that count as `packets_bad` of a leg (malformed, unknown type, authentication).
IS_BAD: Final = np.zeros(256, dtype=np.bool_)
IS_BAD[
    [
        RejectReason.SHORT,
        RejectReason.BAD_VERSION,
        RejectReason.BAD_HEADER,
        RejectReason.BAD_PADDING,
        RejectReason.BAD_PAYLOAD_TYPE,
        RejectReason.BAD_PAYLOAD,
        RejectReason.OVERSIZE,
        RejectReason.BAD_AUTH,
        RejectReason.REPLAYED,
        RejectReason.BAD_SRTP,
        RejectReason.BAD_RTCP,
    ]
] = True
