"""Faults, and the one table that says what each looks like to a SIP peer, an HTTP client, a stream, a graph.

A `PeerFault` is what somebody else did wrong or has run out of; a `LocalFault` is ours. Code raises
them with a `Fault` and a message for people; only the rims translate, by this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, eq=False)  # two faults may be told alike; equal values would make them one member
class Outcome:
    """How a fault is told. sip, http: status codes (0: never told there). close: WebSocket close code.

    type, code: the REST error envelope of the contract (§1). retry: a Retry-After belongs to it.
    """

    sip: int
    http: int
    close: int
    type: str
    code: str
    retry: bool = False


_R, _A, _P, _N, _C, _L, _U, _S = (
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "rate_limit_error",
    "upstream_error",
    "service_unavailable_error",
)


class Fault(Enum):
    """Every way in which something can be refused. The name in lower case is the metric label."""

    INVALID_REQUEST = Outcome(400, 400, 1008, _R, "invalid_request")
    MISSING_FIELD = Outcome(0, 400, 0, _R, "missing_required_field")
    INVALID_FIELD = Outcome(0, 400, 0, _R, "invalid_field_value")
    INVALID_MODE = Outcome(0, 400, 0, _R, "invalid_mode")
    INVALID_LANGUAGE = Outcome(0, 400, 0, _R, "invalid_language_code")
    IDEMPOTENCY_MISMATCH = Outcome(0, 400, 0, _R, "idempotency_mismatch")
    ROUTING_UNRESOLVED = Outcome(404, 400, 0, _R, "routing_unresolved")
    INVALID_API_KEY = Outcome(503, 401, 0, _A, "invalid_api_key")
    EXPIRED_API_KEY = Outcome(503, 401, 0, _A, "expired_api_key")
    REVOKED_API_KEY = Outcome(503, 401, 0, _A, "revoked_api_key")
    INVALID_TOKEN = Outcome(503, 401, 0, _A, "invalid_token")
    EXPIRED_TOKEN = Outcome(503, 401, 0, _A, "expired_token")
    NO_CREDITS = Outcome(402, 402, 0, _P, "insufficient_api_credits")
    ORGANIZATION_INACTIVE = Outcome(402, 403, 0, _P, "organization_inactive")
    NO_PERMISSION = Outcome(403, 403, 0, _P, "insufficient_permissions")
    SESSION_NOT_FOUND = Outcome(404, 404, 0, _N, "session_not_found")
    RECORDING_NOT_FOUND = Outcome(0, 404, 0, _N, "recording_not_found")
    AI_AGENT_NOT_FOUND = Outcome(0, 404, 0, _N, "ai_agent_not_found")
    IDEMPOTENCY_CONFLICT = Outcome(0, 409, 0, _C, "idempotency_conflict", retry=True)
    SESSION_ENDED = Outcome(410, 409, 1000, _C, "session_ended")
    ENGINE_NOT_AVAILABLE = Outcome(503, 422, 0, _R, "engine_not_available")
    RATE_LIMITED = Outcome(503, 429, 1013, _L, "rate_limit_exceeded", retry=True)
    DIAL_FAILED = Outcome(0, 502, 0, _U, "dial_failed")
    SERVICE_UNAVAILABLE = Outcome(503, 503, 1013, _S, "service_unavailable", retry=True)
    DRAINING = Outcome(503, 503, 1012, _S, "draining", retry=True)
    OVERLOADED = Outcome(503, 503, 1013, _S, "service_unavailable", retry=True)
    CAPACITY = Outcome(503, 503, 1013, _S, "service_unavailable", retry=True)
    SESSION_FULL = Outcome(486, 503, 0, _S, "service_unavailable")
    BAD_SDP = Outcome(488, 0, 0, _R, "invalid_request")
    NO_COMMON_CODEC = Outcome(488, 0, 0, _R, "invalid_request")
    STREAM_REFUSED = Outcome(504, 0, 0, _U, "service_unavailable")
    STREAM_NOT_READY = Outcome(504, 0, 0, _U, "service_unavailable")
    CANCELLED = Outcome(487, 0, 0, _R, "invalid_request")
    INTERNAL = Outcome(500, 500, 1011, _S, "service_unavailable")

    @property
    def label(self) -> str:
        return self.name.lower()


class GatewayError(Exception):
    """A refused request. `fault` says how it is told, the message what was wrong and what to do."""

    def __init__(
        self, fault: Fault, message: str, *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def told(self) -> dict[str, Any]:
        """As one process tells another over HTTP; `heard` is the other end."""
        return {
            "fault": self.fault.label,
            "message": self.message,
            "param": self.param,
            "retry_after_s": self.retry_after_s,
        }


class PeerFault(GatewayError):
    """The other side's doing: bad input, missing rights, or a service of theirs that is away."""


class LocalFault(GatewayError):
    """Our doing: a resource of this host, or a defect."""


_BY_LABEL = {fault.label: fault for fault in Fault}


def heard(told: Any) -> GatewayError:
    """What another process told, to be raised again for an HTTP client. Whatever is not understood is "not now"."""
    fields = told if isinstance(told, dict) else {}
    fault = _BY_LABEL.get(str(fields.get("fault")), Fault.SERVICE_UNAVAILABLE)
    if not fault.value.http:  # what only a caller is told of
        fault = Fault.SERVICE_UNAVAILABLE
    message = str(fields.get("message") or "refused, with no reason given")[:300]
    return PeerFault(fault, message, param=fields.get("param"), retry_after_s=fields.get("retry_after_s"))
