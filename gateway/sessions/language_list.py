"""The route that lists languages (extension of the contract): GET /v1/languages.

Owns HTTP for it. What is listed is `speech/abilities.py`'s.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response

from gateway.sessions import openapi
from gateway.sessions.access import Reader, service_of

_encode: Final = msgspec.json.Encoder().encode


def add_routes(app: FastAPI) -> None:
    @app.get("/v1/languages", **openapi.LANGUAGES)
    async def list_languages(request: Request, principal: Reader) -> Response:
        """What the installed engines can do with which language (extension)."""
        view: dict[str, Any] = {"object": "list", "data": service_of(request).languages()}
        return Response(_encode(view), media_type="application/json")
