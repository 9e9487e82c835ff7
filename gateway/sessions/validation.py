"""From a request's octets to a model, or to the contract's 400 that names the field.

Owns body size, content type and the mapping of pydantic's errors to codes. Knows no route.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from gateway.errors import Fault, PeerFault

M = TypeVar("M", bound=BaseModel)

#: Octets of a request body; the largest legal one (a long system prompt with tools) is far below.
BODY_LIMIT: Final = 256 * 1024


class HttpFault(Exception):
    """A refusal that belongs to HTTP and not to the contract's table: 404 route, 405, 413, 415."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


async def read_body(request: Request) -> bytes:
    """The whole body. Raises HttpFault 413 as soon as it is too long, 415 when it is not JSON."""
    too_large = HttpFault(413, "payload_too_large", f"a request body may have {BODY_LIMIT} bytes at most")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > BODY_LIMIT:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise too_large
    if body:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HttpFault(415, "unsupported_media_type", "the body must be sent as application/json")
    return bytes(body)


def parse(model: type[M], body: bytes) -> M:
    """Validate. Raises PeerFault with the contract's code and `param`."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise problem(error.errors(include_url=False, include_input=False)) from None


def problem(errors: Sequence[Any]) -> PeerFault:
    """The contract's 400 for pydantic's list of errors: the first one is told."""
    first = errors[0]
    kind, message = first["type"], first["msg"]
    path = [str(part) for part in first["loc"] if part != "[key]"]
    param = ".".join(path) or None
    if kind == "value_error" and not path:
        return PeerFault(Fault.MISSING_FIELD, "ai_agent is required when mode is ai_agent", param="ai_agent")
    if kind == "json_invalid":
        return PeerFault(Fault.INVALID_REQUEST, f"the body is not valid JSON: {message}")
    if param is None:
        return PeerFault(Fault.INVALID_REQUEST, "the body must be a JSON object")
    if kind == "missing":
        return PeerFault(Fault.MISSING_FIELD, f"{param} is required", param=param)
    if param == "mode":
        return PeerFault(Fault.INVALID_MODE, f"mode: {message}", param=param)
    if path[-1].endswith("language") and path[0] != "metadata":
        return PeerFault(Fault.INVALID_LANGUAGE, f"{param}: {message}", param=param)
    return PeerFault(Fault.INVALID_FIELD, f"{param}: {message}", param=param)
