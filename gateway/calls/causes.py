"""Why a call is ended, as a `Reason` header tells a PBX (RFC 3326): the ISDN cause (Q.850) that its reports know.

Owns the table. Refuses to know how the header is sent.
"""

from __future__ import annotations

from typing import Final

#: By what ended an answered call (`labels.END_REASONS`), or by the fault of one that we called. The rest is 16.
_CAUSES: Final = {
    "draining": 41,  # temporary failure
    "stream_lost": 41,
    "rtp_lost": 41,
    "failed": 41,
    "internal": 41,
    "stream_refused": 41,
    "no_rtp": 102,  # recovery on timer expiry
    "capacity": 34,  # no circuit available
    "dial_failed": 19,  # no answer from the user: what we cancel by ourselves
}
NORMAL_CLEARING: Final = 16


def reason(why: str, detail: str) -> str:
    """The header's value. why: the call's end reason, or its outcome when it was never answered."""
    text = detail.replace("\\", "").replace('"', "'")[:100]
    cause = _CAUSES.get(why, NORMAL_CLEARING)
    return f'Q.850;cause={cause};text="{text}"' if text else f"Q.850;cause={cause}"
