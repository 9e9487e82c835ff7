"""Who may: API keys, scopes, credits and rates, as FastAPI dependencies.

Owns what a request needs before a route sees it, and the headers that tell of it. Whose key it is, is
`service.py`'s to find out.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from gateway.errors import Fault, PeerFault
from gateway.sessions.openapi import IDEMPOTENCY
from gateway.sessions.service import Service
from gateway.sessions.store import Principal

#: Shown as what is left when an organization has no limit.
UNLIMITED: Final = 999_999_999

_bearer = HTTPBearer(auto_error=False, description="`sk_live_…` or `sk_test_…`")
_api_key = APIKeyHeader(name="X-API-Key", auto_error=False)


def service_of(request: Request) -> Service:
    """The service behind the application that serves this request."""
    service: Service = request.app.state.service
    return service


async def _reader(
    request: Request,
    bearer: Annotated[Any, Security(_bearer)],
    api_key: Annotated[str | None, Security(_api_key)],
) -> Principal:
    """Who asks. Leaves credits and rate in the answer's headers."""
    key = bearer.credentials if bearer is not None else api_key
    if not key:
        raise PeerFault(Fault.INVALID_API_KEY, "an API key is needed: Authorization: Bearer sk_…")
    principal, allowance = await service_of(request).authenticate(key)
    if allowance is not None:
        headers = request.scope["state"]["headers"]
        headers["X-RateLimit-Limit"] = str(allowance.limit)
        headers["X-RateLimit-Remaining"] = str(allowance.remaining)
        headers["X-RateLimit-Reset"] = str(allowance.reset)
        tell_credits(request, principal, principal.credits_used)
        if allowance.refused:
            raise PeerFault(
                Fault.RATE_LIMITED,
                f"more than {allowance.limit} requests in a minute",
                retry_after_s=allowance.retry_after_s,
            )
    return principal


async def _writer(principal: Annotated[Principal, Depends(_reader)]) -> Principal:
    if principal.scope == "read":
        raise PeerFault(Fault.NO_PERMISSION, "this API key may only read")
    return principal


Reader = Annotated[Principal, Depends(_reader)]
Writer = Annotated[Principal, Depends(_writer)]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", description=IDEMPOTENCY)]


def tell_credits(request: Request, principal: Principal, used: int) -> None:
    """Put into the answer's headers what was used and what is left."""
    left = UNLIMITED if principal.credits_limit is None else max(0, principal.credits_limit - used)
    headers = request.scope["state"]["headers"]
    headers["X-API-Credits-Remaining"] = str(left)
    headers["X-API-Credits-Used"] = str(used)
