"""What the OpenAPI document says of each route beyond its types: bodies, statuses, headers.

Owns documentation only; the tests hold it against what the routes do.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from gateway.sessions.idempotency import KEY_PATTERN
from gateway.sessions.schema import (
    CallObject,
    CallSummary,
    Dial,
    ErrorView,
    LanguageList,
    RecordingItem,
    RecordingList,
    SessionCreate,
    SessionEnd,
    SessionSummary,
    SessionView,
    Timeline,
    TranscriptView,
    Transfer,
)

IDEMPOTENCY: Final = "The same key and body get the first successful answer again, for 24 hours."
_TEXT_TYPES: Final = ("text/plain", "application/x-subrip", "text/vtt")
_REF: Final = "#/components/schemas/{model}"
_REQUEST_ID: Final = {"X-Request-ID": {"required": True, "schema": {"type": "string", "pattern": "^req_"}}}

_DESCRIPTIONS: Final = {
    400: "Bad request; `param` names the field",
    401: "No valid API key",
    402: "Credits exhausted",
    403: "Not permitted",
    404: "Not found, or another organization's",
    409: "In conflict",
    413: "Body too large",
    415: "Body not JSON",
    429: "Too many requests",
    502: "The call could not be placed; the message has the SIP status",
    503: "Not available now",
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": _DESCRIPTIONS[status], "model": ErrorView, "headers": _REQUEST_ID}
        for status in statuses
    }


def _body(model: str, required: bool) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


#: Added to every route.
COMMON: Final[dict[int | str, dict[str, Any]]] = {}

CREATE: Final[dict[str, Any]] = {
    "status_code": 201,
    "tags": ["sessions"],
    "responses": {201: {"model": SessionView, "headers": _REQUEST_ID}}
    | _errors(400, 401, 402, 403, 409, 413, 415, 429, 503),
    "openapi_extra": _body("SessionCreate", True),
}
SHOW: Final[dict[str, Any]] = {
    "tags": ["sessions"],
    "responses": {200: {"model": SessionView, "headers": _REQUEST_ID}} | _errors(401, 403, 404, 429, 503),
}
END: Final[dict[str, Any]] = {
    "tags": ["sessions"],
    "responses": {200: {"model": SessionSummary, "headers": _REQUEST_ID}}
    | _errors(400, 401, 403, 404, 409, 413, 415, 429, 503),
    "openapi_extra": _body("SessionEnd", False),
}
_READ_ERRORS: Final = _errors(401, 403, 404, 429, 503)
_QUERY_ERRORS: Final = _errors(400, 401, 403, 404, 429, 503)
TRANSCRIPT: Final[dict[str, Any]] = {
    "tags": ["results"],
    "responses": {
        200: {
            "model": TranscriptView,
            "headers": _REQUEST_ID,
            "content": {kind: {"schema": {"type": "string"}} for kind in _TEXT_TYPES},
        }
    }
    | _QUERY_ERRORS,
}
LANGUAGES: Final[dict[str, Any]] = {
    "tags": ["languages"],
    "responses": {200: {"model": LanguageList, "headers": _REQUEST_ID}} | _errors(401, 403, 429, 503),
}
RECORDINGS: Final[dict[str, Any]] = {
    "tags": ["results"],
    "responses": {200: {"model": RecordingList, "headers": _REQUEST_ID}} | _READ_ERRORS,
}
RECORDING: Final[dict[str, Any]] = {
    "tags": ["results"],
    "responses": {200: {"model": RecordingItem, "headers": _REQUEST_ID}} | _READ_ERRORS,
}
_SOUND: Final = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("audio/wav", "audio/mpeg")}
TRACKS: Final = "`all`: four channels, sample-aligned: customer, agent, translation to the customer, to the agent"
AUDIO: Final[dict[str, Any]] = {
    "tags": ["results"],
    "response_class": Response,
    "responses": {
        200: {"description": "The whole", "content": _SOUND, "headers": _REQUEST_ID},
        206: {"description": "The range that was asked for", "content": _SOUND, "headers": _REQUEST_ID},
        416: {"description": "Nothing of the range is there", "headers": _REQUEST_ID},
    }
    | _QUERY_ERRORS,
}
TIMELINE: Final[dict[str, Any]] = {
    "tags": ["results"],
    "responses": {200: {"model": Timeline, "headers": _REQUEST_ID}} | _READ_ERRORS,
}
HANG_UP: Final[dict[str, Any]] = {
    "tags": ["sessions"],
    "responses": {200: {"model": CallSummary, "headers": _REQUEST_ID}}
    | _errors(400, 401, 403, 404, 413, 415, 429, 503),
    "openapi_extra": _body("SessionEnd", False),
}
TRANSFER: Final[dict[str, Any]] = {
    "tags": ["sessions"],
    "responses": {200: {"model": CallSummary, "headers": _REQUEST_ID}}
    | _errors(400, 401, 403, 404, 413, 415, 429, 503),
    "openapi_extra": _body("Transfer", True),
}
DIAL: Final[dict[str, Any]] = {
    "status_code": 202,
    "tags": ["sessions"],
    "responses": {202: {"model": CallObject, "headers": _REQUEST_ID}}
    | _errors(400, 401, 402, 403, 404, 409, 413, 415, 429, 502, 503),
    "openapi_extra": _body("Dial", True),
}
HEALTH: Final[dict[str, Any]] = {"tags": ["health"], "responses": _errors(503)}


def complete(app: FastAPI) -> None:
    """Make `/openapi.json`: the routes' own document with the request bodies that they read themselves."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            _, models = models_json_schema(
                [(body, "validation") for body in (SessionCreate, SessionEnd, Dial, Transfer)], ref_template=_REF
            )
            made["components"]["schemas"].update(models["$defs"])
            for path in made["paths"].values():
                for operation in path.values():
                    _tidy(operation)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _tidy(operation: dict[str, Any]) -> None:
    # FastAPI announces its own 422 wherever there is a parameter; ours is the contract's 400.
    operation["responses"].pop("422", None)
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "Idempotency-Key":
            parameter["schema"] = {"type": "string", "pattern": KEY_PATTERN}
