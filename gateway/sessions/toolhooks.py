"""The webhooks behind an agent's tools, and the calls that an agent places: what its session can reach.

Owns the request's shape (contract §3's envelope and signature, type `tool.call`) and one attempt within the tool's
time: somebody waits on the telephone, and what is tried again may be done twice. Knows no conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from gateway.errors import GatewayError
from gateway.sessions import deliveries
from gateway.sessions.database import Database
from gateway.sessions.ids import new_id
from gateway.sessions.store import Session
from gateway.sessions.telephony import Telephony
from gateway.sessions.views import iso
from gateway.sessions.webhooks import Answer, signature
from gateway.speech.roles import Reach
from gateway.speech.toolbox import Asked, ToolAnswer

_log = structlog.get_logger(__name__)
_encode: Final = msgspec.json.Encoder().encode
#: Who speaks on the leg that an agent calls into its session.
HUMAN: Final = "agent"


class AskWebhook(Protocol):
    async def ask(self, url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> tuple[Answer, bytes]:
        """Make the request; every failure is an Answer."""


class ToolHooks:
    """For all sessions. clock: Unix seconds. secret: for organizations that have none of their own."""

    def __init__(
        self,
        http: AskWebhook,
        telephony: Telephony,
        database: Database,
        clock: Callable[[], float],
        secret: str | None,
    ) -> None:
        self._http = http
        self._telephony = telephony
        self._database = database
        self._clock = clock
        self._secret = secret

    def reach(self, session: Session) -> Reach:
        """What this session's agent can get at."""

        async def ask(asked: Asked) -> ToolAnswer:
            return await self._ask(session, asked)

        async def dial(to: str) -> str:
            return await self._dial(session, to)

        return Reach(ask, dial, greeted=session.started_at is not None)

    async def _ask(self, session: Session, asked: Asked) -> ToolAnswer:
        now = self._clock()
        body = {
            "id": new_id("evt", now),
            "type": "tool.call",
            "api_version": "v1",
            "created_at": iso(now),
            "data": {
                "object": "tool_call",
                "id": asked.call_id,
                "session_id": session.id,
                "tool": asked.tool,
                "arguments": asked.arguments,
                "metadata": session.metadata,
            },
        }
        data = _encode(body)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "glotgate-tools",
            "Kallglot-Webhook-Id": new_id("wh_del", now),
            "Kallglot-Retry-Count": "0",
            "Kallglot-Original-Timestamp": str(int(now)),
        }
        secrets = await self._database.read(deliveries.secrets_of, {session.organization_id})
        secret = secrets.get(session.organization_id, self._secret)
        if secret:
            headers["Kallglot-Signature"] = signature(secret, int(now), data)
        answer, text = await self._http.ask(asked.url, data, headers, asked.timeout_s)
        if answer.good:
            return ToolAnswer(True, text.decode("utf-8", "replace"))
        return ToolAnswer(False, answer.text if answer.status is None else f"the tool answered HTTP {answer.status}")

    async def _dial(self, session: Session, to: str) -> str:
        try:
            await self._telephony.dial({"session_id": session.id, "to": to, "speaker": HUMAN})
        except GatewayError as error:
            _log.warning("hand_over_failed", session_id=session.id, error=error.message)
            return error.message
        return ""
