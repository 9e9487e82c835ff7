"""SRTP and SRTCP of one leg (RFC 3711, keyed by SDES: RFC 4568), by libsrtp as pylibsrtp brings it.

pylibsrtp makes the sessions. The packet path then calls the same library without its copies: packets are
opened in place in the receive matrix and sealed in one scratch buffer, at half the cost. Four documented
functions of libsrtp that pylibsrtp does not wrap are called in its shared object: they give AES-256 and
carry the roll-over counter over to a new key.
Owns sessions and error codes. Refuses to make keys, which is the SDP side's business.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import cffi
import pylibsrtp._binding
from pylibsrtp import Policy, Session

from rtp.errors import RejectReason

Buffer = bytes | bytearray | memoryview
Pointer = Any  # a cffi pointer to octets; from `pointer_to`, moved with `+`

MAX_PACKET: Final = 1600  #: octets that `protect` takes
MAX_SOURCES: Final = 32  #: SSRCs that a peer may use in one call: libsrtp searches them one by one
_TRAILER: Final = 256  # more than tag, index and MKI can take

_ffi: Final[Any] = pylibsrtp._binding.ffi
_lib: Final[Any] = pylibsrtp._binding.lib
_protect: Final = _lib.srtp_protect
_unprotect: Final = _lib.srtp_unprotect
_length: Final = _ffi.new("int *")  # libsrtp's in-out argument; one thread owns all legs
_scratch: Final = _ffi.new("unsigned char[]", MAX_PACKET + _TRAILER)
_scratch_view: Final = _ffi.buffer(_scratch)

_more: Final[Any] = cffi.FFI()
_more.cdef(
    """
    void srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(void *policy);
    void srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32(void *policy);
    int srtp_set_stream_roc(void *session, uint32_t ssrc, uint32_t roc);
    int srtp_get_stream_roc(void *session, uint32_t ssrc, uint32_t *roc);
    """
)
_extra: Final[Any] = _more.dlopen(pylibsrtp._binding.__file__)
_roc: Final = _more.new("uint32_t *")

# srtp_err_status_t of libsrtp's srtp.h; what is not listed cannot be helped either.
_CODES: Final = {
    7: RejectReason.BAD_AUTH,  # auth_fail
    9: RejectReason.REPLAYED,  # replay_fail
    10: RejectReason.REPLAYED,  # replay_old
    26: RejectReason.REPLAYED,  # pkt_idx_old
}


class Suite(NamedTuple):
    """key: octets of master key and salt. set_rtp, set_rtcp: of libsrtp, for what pylibsrtp lacks."""

    profile: int
    key: int
    set_rtp: str = ""
    set_rtcp: str = ""


_SHORT_TAG: Final = "srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32"
_LONG_TAG: Final = "srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80"  # SRTCP always has this one: RFC 6188 §4

#: By their names in SDP (RFC 4568 §6.2, RFC 6188 §4).
SUITES: Final = {
    "AES_CM_128_HMAC_SHA1_80": Suite(Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AES_CM_128_HMAC_SHA1_32": Suite(Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
    "AES_256_CM_HMAC_SHA1_80": Suite(Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 46, _LONG_TAG, _LONG_TAG),
    "AES_256_CM_HMAC_SHA1_32": Suite(Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 46, _SHORT_TAG, _LONG_TAG),
}


def pointer_to(buffer: object) -> Pointer:
    """The address of a writable, contiguous buffer: a uint8 matrix, a bytearray. It keeps the buffer alive.

    Row r of a matrix is at `pointer_to(matrix) + r * row_octets`, which must be divisible by 4.
    """
    return _ffi.from_buffer("unsigned char[]", buffer, require_writable=True)


class Srtp:
    """Both directions of a leg. suite: one of `SUITES`; keys: master key || salt; ssrc: what we send.

    Raises ValueError on an unknown suite or a key of the wrong length: the SDP side has checked both.
    """

    def __init__(self, suite: str, receive_key: bytes, send_key: bytes, ssrc: int) -> None:
        self._ssrc = ssrc
        self._sources: set[bytes] = set()  # SSRCs of the peer, in network order
        self._pending: dict[bytes, int] = {}  # of these the counter to go on with under a new key
        self._receiver = Session()
        self._sender = Session()
        self._receive_mark = b""
        self._send_mark = b""
        self.rekey(suite, receive_key, send_key, next_sequence=1)

    def rekey(self, suite: str, receive_key: bytes, send_key: bytes, next_sequence: int) -> None:
        """Take what a new SDP says. A direction whose suite and key are the same goes on undisturbed.

        A new key starts with the present roll-over counter (RFC 3711 §3.3.1). next_sequence: of the RTP packet
        that will be protected next.
        """
        for key in (receive_key, send_key):
            if suite not in SUITES or len(key) != SUITES[suite].key:
                raise ValueError(f"unknown SRTP suite {suite!r}, or not its key length")
        mark = _mark(suite, receive_key)
        if mark != self._receive_mark:
            self._receive_mark = mark
            self._pending = {ssrc: _get_roc(self._receiver, ssrc) for ssrc in self._sources}
            self._receiver = Session(_policy(suite, receive_key, Policy.SSRC_ANY_INBOUND))
            for ssrc, roc in self._pending.items():
                specific = _policy(suite, receive_key, Policy.SSRC_SPECIFIC, int.from_bytes(ssrc, "big"))
                self._receiver.add_stream(specific)
                _set_roc(self._receiver, ssrc, roc)
        mark = _mark(suite, send_key)
        if mark != self._send_mark:
            self._send_mark = mark
            ours = self._ssrc.to_bytes(4, "big")
            roc = _get_roc(self._sender, ours)
            self._sender = Session(_policy(suite, send_key, Policy.SSRC_SPECIFIC, self._ssrc))
            _set_roc(self._sender, ours, roc + (next_sequence == 0))

    def protect(self, packet: Buffer) -> bytes:
        """Seal an RTP packet of our SSRC. Empty when libsrtp refuses it (a packet that was sealed before)."""
        return self._seal(_protect, packet)

    def protect_rtcp(self, packet: Buffer) -> bytes:
        """Seal an RTCP packet of our SSRC. Empty when libsrtp refuses it."""
        return self._seal(_lib.srtp_protect_rtcp, packet)

    def unprotect(self, at: Pointer, length: int) -> int:
        """Open the RTP packet of `length` octets at `at`, in place. Its new length, or −RejectReason."""
        if length < 12:
            return -RejectReason.SHORT
        source = _ffi.buffer(at + 8, 4)[:]
        if source not in self._sources and len(self._sources) >= MAX_SOURCES:
            return -RejectReason.BAD_SRTP
        _length[0] = length
        status = _unprotect(self._receiver._srtp[0], at, _length)
        if status == 7 and source in self._pending:
            status = self._find_counter(source, at, length)
        if status:
            return -_CODES.get(status, RejectReason.BAD_SRTP)
        if source not in self._sources:
            self._sources.add(source)
        elif self._pending:
            self._pending.pop(source, None)
        return int(_length[0])

    def unprotect_rtcp(self, at: Pointer, length: int) -> int:
        """Open the RTCP packet of `length` octets at `at`, in place. Its new length, or −RejectReason."""
        if length < 8:
            return -RejectReason.SHORT
        source = _ffi.buffer(at + 4, 4)[:]
        if source not in self._sources and len(self._sources) >= MAX_SOURCES:
            return -RejectReason.BAD_SRTP
        _length[0] = length
        status = _lib.srtp_unprotect_rtcp(self._receiver._srtp[0], at, _length)
        if status:
            return -_CODES.get(status, RejectReason.BAD_SRTP)
        self._sources.add(source)
        return int(_length[0])

    def _seal(self, function: Any, packet: Buffer) -> bytes:
        size = len(packet)
        _scratch_view[0:size] = packet
        _length[0] = size
        if function(self._sender._srtp[0], _scratch, _length):
            return b""
        sealed: bytes = _scratch_view[0 : _length[0]]
        return sealed

    def _find_counter(self, source: bytes, at: Pointer, length: int) -> int:
        """The first packets under a new key: the sequence may have wrapped meanwhile, or the peer begun at 0."""
        kept = self._pending[source]
        status = 7
        for roc in (kept + 1, 0, kept):
            _set_roc(self._receiver, source, roc)
            _length[0] = length
            status = _unprotect(self._receiver._srtp[0], at, _length)
            if status != 7:
                break
        return status


def _policy(suite: str, key: bytes, kind: int, ssrc: int = 0) -> Policy:
    wanted = SUITES[suite]
    policy = Policy(key=key, ssrc_type=kind, ssrc_value=ssrc, srtp_profile=wanted.profile)
    for setter, part in ((wanted.set_rtp, policy._policy.rtp), (wanted.set_rtcp, policy._policy.rtcp)):
        if setter:
            getattr(_extra, setter)(_more.cast("void *", int(_ffi.cast("intptr_t", _ffi.addressof(part)))))
    return policy


def _mark(suite: str, key: bytes) -> bytes:
    """Tells whether a key is the same as before, without keeping it."""
    return hashlib.sha256(suite.encode() + b" " + key).digest()


def _address(session: Session) -> Any:
    return _more.cast("void *", int(_ffi.cast("intptr_t", session._srtp[0])))


def _get_roc(session: Session, ssrc: bytes) -> int:
    """The roll-over counter; 0 when there is no such stream yet."""
    _roc[0] = 0
    _extra.srtp_get_stream_roc(_address(session), int.from_bytes(ssrc, "big"), _roc)
    return int(_roc[0])


def _set_roc(session: Session, ssrc: bytes, roc: int) -> None:
    _extra.srtp_set_stream_roc(_address(session), int.from_bytes(ssrc, "big"), roc)
