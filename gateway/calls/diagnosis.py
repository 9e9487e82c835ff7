"""Why a call has no audio, or audio one way only: the likely cause, named while the call still runs.

Theory of operation. Once a second a call's running statistics are compared with those of the second before. What
should grow and does not (the time of the last accepted packet), what should not grow and does (refused packets, by
reason) and what was never there (anything but silence) name the cause. Two seconds in a row make a finding, so a lost
second does not: it is made within three. A cause is found once per call. Who is silent by agreement is not missed.

Owns the rules. Refuses to know where figures come from and who is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

#: Seconds in a row that show the same.
CONFIRM: Final = 2
#: Frames of digital silence since the first packet, without any other, that are no pause: 1.8 s, which need no
#: second look, so that three seconds after the answer this is found too.
SILENT_FRAMES: Final = 90

#: Of `rtp.plane.STATS`, what the rules look at.
WATCHED: Final = (
    "last_packet_ns",
    "packets_stranger",
    "packets_bad_payload",
    "packets_bad_auth",
    "packets_refused",
    "frames_up",
    "frames_noise",
    "frames_silent",
)

#: What to do about each cause, for the person who reads the log at night.
ADVICE: Final = {
    "no_packets": "nothing arrives: look at the firewall and at the address that our SDP names (media.advertise)",
    "stranger": "packets come from another address than the SDP says: NAT; media.symmetric: auto or on follows it",
    "bad_payload_type": "packets carry a payload type that was not negotiated",
    "srtp_failures": "packets can not be decrypted: the keys of the two sides differ",
    "only_silence": "packets arrive and hold nothing but digital silence: a muted or unconnected phone",
    "icmp_refused": "the peer's host refuses our packets: wrong address in its SDP, or it has hung up",
}
#: The same of packets that had come until then.
CEASED: Final = "what came has ceased: the network, or a phone that sends nothing, not even noise, while nobody speaks"


class Finding(NamedTuple):
    """kind: no_audio, one_way_audio. cause: a label of `ops.labels.AUDIO_FAULTS`. detail: in words."""

    kind: str
    cause: str
    detail: str


class Diagnosis:
    """One call's. `stranger` is set by who hears of one."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.stranger = ""
        self._suspected = ""
        self._seconds = 0
        self._last = 0  # number of the second that was looked at last

    def look(self, number: int, now: Mapping[str, float], grown: Mapping[str, float], *, held: bool) -> Finding | None:
        """A second has passed in which all was not surely well. A cause that is new to the call, or None.

        number: of the second; those that were not looked at were well. now, grown: each of WATCHED, and by how much
        it grew in this second.
        """
        cause = "" if held else self._cause(now, grown)
        again = cause == self._suspected and number == self._last + 1
        self._seconds = self._seconds + 1 if cause and again else 1
        self._suspected, self._last = cause, number
        confirm = 1 if cause == "only_silence" else CONFIRM
        if not cause or self._seconds < confirm or any(f.cause == cause for f in self.findings):
            return None
        deaf = grown["last_packet_ns"] == 0
        kind = "no_audio" if deaf and grown["packets_refused"] else "one_way_audio"
        where = f" ({self.stranger})" if cause == "stranger" and self.stranger else ""
        ceased = cause == "no_packets" and now["last_packet_ns"]
        finding = Finding(kind, cause, (CEASED if ceased else ADVICE[cause]) + where)
        self.findings.append(finding)
        return finding

    @staticmethod
    def _cause(now: Mapping[str, float], grown: Mapping[str, float]) -> str:
        if not grown["last_packet_ns"]:
            if grown["packets_bad_auth"]:
                return "srtp_failures"
            if grown["packets_bad_payload"]:
                return "bad_payload_type"
            if grown["frames_noise"]:  # RFC 3389 §4: nothing needs to be sent while nothing changes
                return ""
            if grown["packets_stranger"]:
                return "stranger"
            return "icmp_refused" if grown["packets_refused"] else "no_packets"
        if grown["packets_refused"]:
            return "icmp_refused"
        only_silence = now["frames_up"] >= SILENT_FRAMES and now["frames_silent"] >= now["frames_up"]
        return "only_silence" if only_silence else ""
