from __future__ import annotations

import asyncio
from collections import Counter

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.ops.metrics import SpeechMetrics
from gateway.sessions.meter import PATH, Meter


async def _echo(request: Request) -> Response:
    if request.path_params["status"] == 599:
        raise RuntimeError("a bug")
    return Response(b"x", request.path_params["status"])


def _ask(*paths: str, key: str = "key", streams: Counter[str] | None = None) -> list[httpx.Response]:
    app = Starlette(routes=[Route("/{status:int}", _echo)])
    counts = streams if streams is not None else Counter()
    meter = Meter(app, "key", lambda: (3, 2), lambda: counts, SpeechMetrics())

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(meter, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
            return [await client.get(path, headers={"Authorization": f"Bearer {key}"}) for path in paths]

    return asyncio.run(main())


def test_requests_are_counted_by_method_and_class_of_status() -> None:
    *answers, told = _ask("/200", "/204", "/404", "/599", PATH)
    assert [answer.status_code for answer in answers] == [200, 204, 404, 500]
    for status, count in (("2xx", 2), ("4xx", 1), ("5xx", 1)):
        assert f'glotgate_sessions_http_requests_total{{method="GET",status="{status}"}} {count}.0' in told.text
    assert "glotgate_sessions_http_request_seconds_count 4.0" in told.text


def test_sessions_and_streams_are_told() -> None:
    (told,) = _ask(PATH, streams=Counter(silent=4))
    assert "glotgate_sessions_active 3.0" in told.text
    assert "glotgate_sessions_streams_open 2.0" in told.text
    assert 'glotgate_sessions_stream_events_total{event="silent"} 4.0' in told.text


def test_nobody_else_is_told() -> None:
    (told,) = _ask(PATH, key="wrong")
    assert (told.status_code, "glotgate" in told.text) == (404, False)
