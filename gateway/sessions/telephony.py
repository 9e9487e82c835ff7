"""The gateway as the session service sees it: somebody who places a call when told to.

Owns the request to the gateway's admin address and what its answers mean. Refuses to know calls.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import httpx

from gateway.errors import Fault, LocalFault, heard

#: The gateway waits for the other end to ring before it answers.
ANSWER_S: Final = 45.0
CONNECT_S: Final = 2.0


class Telephony(Protocol):
    """Who can place calls."""

    async def dial(self, order: dict[str, Any]) -> dict[str, Any]:
        """The call object. Raises GatewayError."""


class Gateway:
    """address: `host:port` of the gateway's `admin.bind`. key: what it asks for."""

    def __init__(self, address: str, key: str) -> None:
        host, _, port = address.rpartition(":")
        host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
        self._client = httpx.AsyncClient(
            base_url=f"http://{host}:{port}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            trust_env=False,
        )

    async def dial(self, order: dict[str, Any]) -> dict[str, Any]:
        try:
            response = await self._client.post("/dial", json=order)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            message = f"the gateway does not answer ({type(error).__name__})"
            raise LocalFault(Fault.SERVICE_UNAVAILABLE, message, retry_after_s=5) from None
        if response.status_code == 202:
            call: dict[str, Any] = answer
            return call
        raise heard(answer)

    async def close(self) -> None:
        await self._client.aclose()
