"""The session directory: the REST API of contract §1 as the gateway uses it, hosted or embedded.

One back end for both: only the address and the key differ. Owns the requests, their bounds (time,
concurrency) and the mapping of what can go wrong to `Fault`. Refuses to know calls and streams.
"""

from __future__ import annotations

import ssl
import uuid
from typing import Any, Final, NamedTuple

import msgspec

from gateway.calls.rest import Answer, Headers, Rest, TooLong, Unreachable
from gateway.config import Config
from gateway.errors import Fault, GatewayError, LocalFault, PeerFault
from gateway.stream.client import Address, tls_context

#: Requests under way at once; more wait, at most `ready_timeout_s`.
CONCURRENCY: Final = 32
#: An answer is a session's representation; it has no reason to be long.
MAX_ANSWER: Final = 1024 * 1024

#: Codes of the error envelope that mean something of their own to a call; else the status decides.
_BY_CODE: Final = {
    fault.value.code: fault
    for fault in Fault
    if fault.value.http and fault not in (Fault.CAPACITY, Fault.SESSION_FULL, Fault.INTERNAL, Fault.BAD_SDP)
}
_BY_STATUS: Final = {
    401: Fault.INVALID_API_KEY,
    402: Fault.NO_CREDITS,
    403: Fault.NO_PERMISSION,
    404: Fault.SESSION_NOT_FOUND,
    409: Fault.SESSION_ENDED,
    410: Fault.SESSION_ENDED,
    429: Fault.RATE_LIMITED,
}


class SessionInfo(NamedTuple):
    """What a call needs of a session. The stream's token in it is a secret."""

    id: str
    mode: str
    stream: Address


class Directory:
    """Requests to the session service. Every method raises GatewayError and nothing else."""

    def __init__(self, base_url: str, key: str, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        shown = (("Authorization", f"Bearer {key}"), ("Accept", "application/json"))
        self._rest = Rest(base_url, shown, timeout_s, CONCURRENCY, MAX_ANSWER, tls)

    async def get(self, session_id: str) -> SessionInfo:
        """A session and a fresh token for its stream."""
        return _session(await self._request("GET", f"/v1/sessions/{session_id}"))

    async def create(self, body: dict[str, Any]) -> SessionInfo:
        """A new session, for a call that came by a route."""
        headers = (("Idempotency-Key", uuid.uuid4().hex),)
        return _session(await self._request("POST", "/v1/sessions", body, headers))

    async def end(self, session_id: str, reason: str) -> None:
        """End a session. One that has ended already is fine."""
        await self._request("POST", f"/v1/sessions/{session_id}/end", {"reason": reason})

    async def reachable(self) -> bool:
        """Whether anything answers there at all."""
        try:
            await self._rest.request("GET", "/livez")
        except Unreachable:
            return False
        except TooLong:
            return True  # something does
        return True

    async def close(self) -> None:
        await self._rest.close()

    async def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: Headers = ()
    ) -> dict[str, Any]:
        try:
            response = await self._rest.request(
                method, path, None if body is None else msgspec.json.encode(body), headers
            )
        except Unreachable as error:
            message = f"the session service does not answer ({error})"
            raise LocalFault(Fault.SERVICE_UNAVAILABLE, message) from None
        except TooLong:
            raise _nonsense("too long an answer") from None
        try:
            answer = msgspec.json.decode(response.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            answer = None
        if 200 <= response.status < 300:
            if not isinstance(answer, dict):
                raise _nonsense("not a JSON object")
            return answer
        raise _fault(response, answer)


def of(config: Config, internal_key: str) -> Directory:
    """The directory that the configuration asks for. internal_key: the embedded service's key for the gateway."""
    timeout_s = config.stream.ready_timeout_s
    if config.sessions.mode == "embedded":
        return Directory(f"http://{config.sessions.bind}", internal_key, timeout_s)
    if config.sessions.url is None or config.sessions.api_key is None:
        raise ValueError("mode remote without url or api_key: the configuration forbids it")
    tls = tls_context(config.stream.ca_file)
    return Directory(config.sessions.url, config.sessions.api_key.get_secret_value(), timeout_s, tls)


def _session(answer: dict[str, Any]) -> SessionInfo:
    if answer.get("status") in ("ending", "ended"):
        raise PeerFault(Fault.SESSION_ENDED, "the session has ended")
    match answer:
        case {"id": str(session_id), "stream": {"url": str(url), "token": str(token)}} if url.startswith(
            ("ws://", "wss://")
        ):
            mode = answer.get("mode")
            return SessionInfo(session_id, mode if isinstance(mode, str) else "", Address(url, token))
    raise _nonsense("no session with a stream")


def _fault(response: Answer, answer: object) -> GatewayError:
    code = message = ""
    if isinstance(answer, dict) and isinstance(error := answer.get("error"), dict):
        code, message = str(error.get("code", "")), str(error.get("message", ""))
    status = response.status
    fault = _BY_CODE.get(code)
    if fault is None or fault.value.http != status:
        fault = _BY_STATUS.get(status, Fault.INVALID_REQUEST if 400 <= status < 500 else Fault.SERVICE_UNAVAILABLE)
    retry = response.headers.get("retry-after", "")
    retry_after_s = int(retry) if retry.isdecimal() and len(retry) < 6 else None
    return PeerFault(fault, message[:200] or f"the session service answered {status}", retry_after_s=retry_after_s)


def _nonsense(what: str) -> GatewayError:
    return PeerFault(Fault.SERVICE_UNAVAILABLE, f"the session service's answer is not understood: {what}")
