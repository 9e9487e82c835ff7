"""The label values of the metrics: every list is closed, so the number of series is bounded."""

from __future__ import annotations

from typing import Final

from gateway.errors import Fault

PROCESSES: Final = ("supervisor", "sip", "rtp", "controller", "sessions")

#: How a call ended: as it should, or by which fault.
OUTCOMES: Final = ("ok", *(fault.label for fault in Fault))

#: Who or what ended a call that was answered.
END_REASONS: Final = (
    "peer_bye",
    "session_ended",
    "stream_lost",
    "no_rtp",
    "hangup",
    "draining",
    "sip_lost",
    "rtp_lost",
    "failed",
)

#: Status codes that this user agent sends.
SIP_CODES: Final = tuple(
    str(code)
    for code in sorted(
        {*(100, 180, 183, 200, 202, 400, 401, 403, 405, 408, 413, 415, 416, 420, 422, 481, 482, 483, 486)}
        | {*(491, 501, 513, 603), *(fault.value.sip for fault in Fault if fault.value.sip)}
    )
)

#: Why a frame for the stream, or audio from it, did not get through.
STREAM_DROPS: Final = (
    "queue_full",
    "not_connected",
    "too_old",
    "playout_full",
    "no_such_target",
    "uplink_overrun",
)
STREAM_RESULTS: Final = ("ok", "refused", "timeout", "tls", "unreachable", "not_ready", "failed")
STREAM_CLOSES: Final = ("session_ended", "clean", "going_away", "too_large", "ping_timeout", "error")
BAD_MESSAGES: Final = (
    "not_json",
    "not_text",
    "unknown_type",
    "bad_fields",
    "bad_base64",
    "bad_audio_format",
    "too_large",
    "unknown_target",
)
#: Message types that a stream's server sends (contract §2).
SERVER_TYPES: Final = (
    "session.ready",
    "pong",
    "transcript.partial",
    "transcript.final",
    "turn.timing",
    "session.mode",
    "audio.output",
    "audio.clear",
    "mark",
    "dtmf.send",
    "call.dial",
    "call.transfer",
    "call.hangup",
    "session.ended",
    "session.error",
)

UNDERRUN_LADDER: Final = ("20ms", "60ms", "200ms", "1s")
AUDIO_FAULTS: Final = (
    "no_packets",
    "stranger",
    "bad_payload_type",
    "only_silence",
    "srtp_failures",
    "icmp_refused",
    "unknown",
)
