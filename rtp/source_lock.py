"""Which remote address a leg believes, and who may change that.

A leg begins by believing the address of the SDP. Its packets reach the leg without coming here (a
connected socket lets the kernel filter them); this module judges the *strangers*: packets from elsewhere
that are well-formed, of an accepted payload type and, with SRTP, authentic. A stranger is believed when

* it was consistent: 4 packets of one source and SSRC with consecutive sequence numbers, not all in one burst;
* nobody better is there, by mode:
  off   never;
  auto  the believed source is silent, and the SDP is older, for 500 ms;
  on    the believed source has not been heard since the SDP, or has been silent for 500 ms.

So nobody takes over a stream that flows, whatever he copies from it. And whoever was first, the SDP's own
address is taken back at once when it is consistent. A changed SDP address is believed at once too; the
source believed before it is no candidate for 500 ms, for its last packets are still under way.
Owns the decision. Refuses to touch sockets and clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from rtp.serial import delta16

Address = tuple[str, int]  #: host, port

CONSISTENT: Final = 4  #: packets before a stranger can be believed
SILENCE_NS: Final = 500_000_000
MAX_CANDIDATES: Final = 32  #: strangers followed per leg at a time
MAX_TOLD: Final = 8  #: strangers reported per leg
MODES: Final = ("off", "auto", "on")

_NOWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # RFC 3264 §8.4: the old way to say hold


class Stranger(NamedTuple):
    """What `SourceLock.stranger` makes of a packet."""

    adopt: Address | None  # believe this address from now on, beginning with this packet
    unheard_of: bool  # worth an event: the first packet from this address, a bounded number of times per leg


@dataclass(slots=True)
class _Candidate:
    ssrc: int
    sequence: int
    slot: int  # of its last packet
    seen_ns: int
    run: int = 1
    spread: bool = False  # more than one burst: a long one takes several slots to read, without a pause


class SourceLock:
    """One leg. believed: where its packets come from and go to; None until the first SDP."""

    def __init__(self) -> None:
        self.believed: Address | None = None
        self._mode = "off"
        self._sdp: Address | None = None
        self._rtcp: Address | None = None
        self._expected_ns = 0
        self._former: Address | None = None
        self._candidates: dict[Address, _Candidate] = {}
        self._told: set[Address] = set()

    @property
    def learned(self) -> bool:
        """Whether the believed address is another than the SDP's."""
        return self.believed != self._sdp

    @property
    def rtcp_target(self) -> Address | None:
        """Where our RTCP goes: as the SDP says, or next to the learned RTP address. None: nowhere."""
        if self._rtcp is None or self.believed is None or not self.learned:
            return self._rtcp
        if self._rtcp == self._sdp:
            return self.believed  # rtcp-mux
        return (self.believed[0], self.believed[1] + 1)

    def expect(self, sdp: Address, rtcp: Address | None, mode: str, now_ns: int) -> bool:
        """Take what SDP says; whether `believed` changed by it.

        rtcp: where the SDP puts RTCP, None when there is none. The same address again (hold, session refresh)
        keeps what was learned, and so does an unspecified one.
        """
        if mode not in MODES:
            raise ValueError(f"no such mode: {mode}")
        self._mode = mode
        if sdp[0] in _NOWHERE or sdp[1] == 0:
            return False
        self._rtcp = rtcp
        if sdp == self._sdp and (mode != "off" or not self.learned):
            return False
        self._former = self.believed if self.believed != sdp else None
        self._sdp = sdp
        self._expected_ns = now_ns
        self._candidates.clear()
        changed = self.believed != sdp
        self.believed = sdp
        return changed

    def stranger(
        self, source: Address, ssrc: int, sequence: int, slot: int, now_ns: int, last_valid_ns: int
    ) -> Stranger:
        """Judge a packet from an address that is not `believed`.

        slot: a number that never repeats, of the slot in which it was read. last_valid_ns: when the believed
        source was last heard; anything before the last SDP counts as never.
        """
        unheard_of = source not in self._told and len(self._told) < MAX_TOLD
        if unheard_of:
            self._told.add(source)
        if self._mode == "off" or self._sdp is None:
            return Stranger(None, unheard_of)
        if source == self._former and now_ns - self._expected_ns < SILENCE_NS:
            return Stranger(None, unheard_of)
        candidate = self._follow(source, ssrc, sequence, slot, now_ns)
        consistent = candidate.run >= CONSISTENT and candidate.spread
        if not consistent or not self._open_to(source, now_ns, last_valid_ns):
            return Stranger(None, unheard_of)
        self.believed = source
        self._candidates.clear()
        return Stranger(source, unheard_of)

    def rtcp_is_from_peer(self, source: Address, sender_ssrc: int, stream_ssrc: int | None) -> bool:
        """Whether an RTCP packet is the peer's. stream_ssrc: of the RTP that the leg accepts, None before any.

        From the SDP's RTCP address or (rtcp-mux) the believed one. Behind a NAT its port is anybody's guess:
        then the believed host will do, if it also names the SSRC of the stream.
        """
        if self.believed is None or (stream_ssrc is not None and sender_ssrc != stream_ssrc):
            return False
        if source == self.believed or (source == self._rtcp and not self.learned):
            return True
        return self._mode != "off" and source[0] == self.believed[0] and sender_ssrc == stream_ssrc

    def _follow(self, source: Address, ssrc: int, sequence: int, slot: int, now_ns: int) -> _Candidate:
        """The candidate of this source, with this packet counted."""
        known = self._candidates.get(source)
        if known is None or known.ssrc != ssrc or delta16(sequence, known.sequence) != 1:
            if known is None and len(self._candidates) >= MAX_CANDIDATES:
                # The least consistent goes first: a stream survives a flood of odd packets.
                del self._candidates[
                    min(self._candidates, key=lambda a: (self._candidates[a].run, self._candidates[a].seen_ns))
                ]
            known = self._candidates[source] = _Candidate(ssrc, sequence, slot, now_ns)
            return known
        known.sequence = sequence
        known.seen_ns = now_ns
        known.run += 1
        known.spread |= slot > known.slot + 1
        known.slot = slot
        return known

    def _open_to(self, source: Address, now_ns: int, last_valid_ns: int) -> bool:
        """Whether the mode allows to believe a consistent stranger now."""
        if source == self._sdp:
            return True
        if self._mode == "on" and last_valid_ns < self._expected_ns:
            return True
        return now_ns - max(last_valid_ns, self._expected_ns) >= SILENCE_NS
