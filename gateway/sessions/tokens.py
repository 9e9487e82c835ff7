"""Stream tokens: `kst_…`, signed, valid for five minutes, good for one session.

A token carries its session, its expiry and an HMAC-SHA256 over both, so a handshake is checked without
a query and a token outlives a restart. It is looked at only while a stream connects. The secret is made
once per installation and lives in the database; this module never reads it nor a clock.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from typing import Final

from gateway.errors import Fault, PeerFault

LIFETIME_S: Final = 300
_PREFIX: Final = "kst_"
_MAC_BYTES: Final = 20
_EXPIRY: Final = struct.Struct("!I")


def _mac(secret: bytes, session_id: str, expiry: bytes) -> bytes:
    return hmac.digest(secret, b"stream-token\0" + expiry + session_id.encode(), "sha256")[:_MAC_BYTES]


def issue(secret: bytes, session_id: str, now: float) -> tuple[str, float]:
    """A token for this session and the Unix time at which it expires."""
    expires_at = int(now) + LIFETIME_S
    expiry = _EXPIRY.pack(expires_at)
    raw = expiry + _mac(secret, session_id, expiry)
    return _PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("="), float(expires_at)


def check(secret: bytes, session_id: str, token: str, now: float) -> None:
    """Pass, or raise PeerFault: INVALID_TOKEN (also for another session's), EXPIRED_TOKEN."""
    body = token.removeprefix(_PREFIX)
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    expiry, mac = raw[: _EXPIRY.size], raw[_EXPIRY.size :]
    if (
        not token.startswith(_PREFIX)
        or len(mac) != _MAC_BYTES
        or not hmac.compare_digest(mac, _mac(secret, session_id, expiry))
    ):
        raise PeerFault(Fault.INVALID_TOKEN, "the stream token is not valid for this session")
    if now >= _EXPIRY.unpack(expiry)[0]:
        raise PeerFault(Fault.EXPIRED_TOKEN, "the stream token has expired; retrieve the session to get a fresh one")
