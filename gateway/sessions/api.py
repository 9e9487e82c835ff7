"""The REST API (contract §1) on FastAPI: routes, envelope, headers, OpenAPI.

Owns HTTP and nothing behind it: each route reads, validates and hands on to `service.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Fault, GatewayError, PeerFault
from gateway.sessions import language_list, openapi, peers, results
from gateway.sessions.access import IdempotencyKey, Reader, Writer, service_of, tell_credits
from gateway.sessions.ids import new_id
from gateway.sessions.orders import Order, Verb
from gateway.sessions.peers import Neighbours
from gateway.sessions.replies import Reply
from gateway.sessions.results import Audio
from gateway.sessions.schema import Dial, SessionCreate, SessionEnd, Transfer
from gateway.sessions.service import Service
from gateway.sessions.store import Principal
from gateway.sessions.validation import HttpFault, parse, problem, read_body

_log = structlog.get_logger(__name__)
_encode: Final = msgspec.json.Encoder().encode

_HTTP_CODES: Final = {404: "not_found", 405: "method_not_allowed"}


class _Frame:
    """Around every answer: an id, and the headers that the route's access check has left."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = new_id("req", self._clock())
        state["headers"] = headers = {"X-Request-ID": request_id}

        started = False

        async def framed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                extra = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self._app(scope, receive, framed)
        except Exception:
            # Starlette raises again what `_on_bug` has logged and answered.
            if not started:
                raise


def answer(reply: Reply) -> Response:
    return Response(reply.body, reply.status, reply.headers, "application/json")


def _refuse(request: Request, status: int, error: dict[str, Any], headers: dict[str, str]) -> Response:
    error = {name: value for name, value in error.items() if value is not None}
    error["request_id"] = request.scope["state"]["request_id"]
    return Response(_encode({"error": error}), status, headers, "application/json")


async def _on_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    outcome = error.fault.value
    retry_after = error.retry_after_s if error.retry_after_s is not None else (5 if outcome.retry else None)
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if outcome.http == 401:
        headers["WWW-Authenticate"] = "Bearer"
    told = {
        "type": outcome.type,
        "code": outcome.code,
        "message": error.message,
        "param": error.param,
        "retry_after": retry_after,
    }
    return _refuse(request, outcome.http, told, headers)


async def _on_http_fault(request: Request, error: Exception) -> Response:
    if isinstance(error, HttpFault):
        told = {"type": "invalid_request_error", "code": error.code, "message": error.message}
        return _refuse(request, error.status, told, {})
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, "invalid_request")
    kind = "not_found_error" if error.status_code == 404 else "invalid_request_error"
    message = {404: "there is nothing at this path", 405: "this path knows no such method"}.get(
        error.status_code, str(error.detail)
    )
    return _refuse(
        request,
        error.status_code,
        {"type": kind, "code": code, "message": message},
        dict(error.headers or {}),
    )


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [dict(item, loc=item["loc"][1:]) for item in error.errors()]  # without "query" or "header"
    return await _on_fault(request, problem(errors))


async def _on_database(request: Request, error: Exception) -> Response:
    _log.warning("database_unavailable", path=request.url.path, error=str(error)[:200])
    return await _on_fault(request, GatewayError(Fault.SERVICE_UNAVAILABLE, "the database is away"))


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("request_failed", path=request.url.path, exc_info=error)
    return await _on_fault(request, GatewayError(Fault.INTERNAL, "the request failed here"))


def create_app(
    service: Service, neighbours: Neighbours, data_dir: Path, ready: Callable[[], bool] = lambda: True
) -> ASGIApp:
    """The application. data_dir: where recordings are; ready: what /readyz answers by."""
    app = FastAPI(
        title="Sessions API",
        version="v1",
        summary="Live translation sessions: calls and streams, transcripts, recordings.",
        redirect_slashes=False,
        redoc_url=None,
        responses=openapi.COMMON,
    )
    app.state.service = service
    app.add_exception_handler(GatewayError, _on_fault)
    app.add_exception_handler(HttpFault, _on_http_fault)
    app.add_exception_handler(HTTPException, _on_http_fault)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(OperationalError, _on_database)
    app.add_exception_handler(Exception, _on_bug)
    _add_session_routes(app)
    _add_order_route(app, neighbours)
    results.add_routes(app, Audio(data_dir))
    language_list.add_routes(app)
    _add_health_routes(app, ready)
    openapi.complete(app)
    return _Frame(app, service.clock)


def _add_session_routes(app: FastAPI) -> None:
    @app.post("/v1/sessions", **openapi.CREATE)
    async def create_session(request: Request, principal: Writer, idempotency_key: IdempotencyKey = None) -> Response:
        """Create a session. Costs one credit."""
        body = await read_body(request)
        asked = parse(SessionCreate, body)
        service = service_of(request)
        ticket = service.ticket(principal, "POST /v1/sessions", idempotency_key, body)
        reply = await service.create(principal, asked, ticket)
        if reply.credits_used is not None:
            tell_credits(request, principal, reply.credits_used)
        return answer(reply)

    @app.get("/v1/sessions/{session_id}", **openapi.SHOW)
    async def retrieve_session(request: Request, principal: Reader, session_id: str) -> Response:
        """Retrieve a session, with a fresh stream token until it has ended."""
        return answer(await service_of(request).show(principal, session_id))

    @app.post("/v1/sessions/{session_id}/end", **openapi.END)
    async def end_session(
        request: Request, principal: Writer, session_id: str, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """End a session: its calls are hung up, transcript and recording completed."""
        return await _order(request, principal, "end", session_id, SessionEnd, key=idempotency_key)

    @app.post("/v1/sessions/{session_id}/calls/{call_id}/hangup", **openapi.HANG_UP)
    async def hang_up(request: Request, principal: Writer, session_id: str, call_id: str) -> Response:
        """Hang up one call of a session; `call.left` on the stream tells when it has ended."""
        return await _order(request, principal, "hang_up", session_id, SessionEnd, call_id)

    @app.post("/v1/sessions/{session_id}/calls/{call_id}/transfer", **openapi.TRANSFER)
    async def transfer(request: Request, principal: Writer, session_id: str, call_id: str) -> Response:
        """Have the other end of a call call somebody else (REFER); `call.error` on the stream tells of a failure."""
        return await _order(request, principal, "transfer", session_id, Transfer, call_id)

    @app.post("/v1/sessions/{session_id}/dial", **openapi.DIAL)
    async def dial(
        request: Request, principal: Writer, session_id: str, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Place a call; the answered leg joins the session. Answers once it rings."""
        return await _order(request, principal, "dial", session_id, Dial, key=idempotency_key)


async def _order(
    request: Request,
    principal: Principal,
    verb: Verb,
    session_id: str,
    model: type[BaseModel],
    call_id: str = "",
    key: str | None = None,
) -> Response:
    """What only the session's holder can do. A body may be left out where no field of it is needed."""
    body = await read_body(request)
    asked = parse(model, body or (b"{}" if verb in ("end", "hang_up") else b""))
    service = service_of(request)
    ticket = service.ticket(principal, f"POST /v1/sessions/{session_id}/{verb}", key, body)
    fields = asked.model_dump(by_alias=True, exclude_none=True)
    order = Order(verb, session_id, principal.organization_id, fields, call_id, ticket)
    return answer(await service.orders.carry_out(order))


def _add_order_route(app: FastAPI, neighbours: Neighbours) -> None:
    """The other nodes' door."""

    @app.post(peers.PATH, include_in_schema=False)
    async def passed_on(request: Request) -> Response:
        """An order that another node got and that this one is to carry out."""
        body = await read_body(request)
        order = neighbours.read(request.headers.get(peers.HEADER, ""), body)
        try:
            told = peers.replied(await service_of(request).orders.carry_out(order, passed_on=True))
        except GatewayError as error:
            told = peers.refused(error)
        return Response(told, media_type="application/json")


def _add_health_routes(app: FastAPI, ready: Callable[[], bool]) -> None:
    @app.get("/livez", **openapi.HEALTH)
    async def livez() -> Response:
        """The process answers."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    @app.get("/readyz", **openapi.HEALTH)
    async def readyz() -> Response:
        """The service takes sessions."""
        if not ready():
            raise PeerFault(Fault.DRAINING, "the service is stopping")
        return Response(b'{"status":"ready"}', media_type="application/json")
