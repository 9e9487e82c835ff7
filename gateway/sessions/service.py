"""What the REST routes do: create, show and end sessions, whatever the HTTP framework.

Owns the order of things within a request: what is checked first, what is written together, what is answered.
Composed of a hub, a database and a clock.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from gateway.errors import Fault, PeerFault
from gateway.sessions import chronicle, idempotency, keys, recordings, replies, store, tokens, transcripts, views
from gateway.sessions.egress import Guard
from gateway.sessions.hub import Hub
from gateway.sessions.idempotency import Running, Ticket
from gateway.sessions.ids import new_id
from gateway.sessions.nodes import Membership
from gateway.sessions.orders import Orders
from gateway.sessions.principals import Principals
from gateway.sessions.ratelimit import Allowance, RateLimiter
from gateway.sessions.replies import Reply
from gateway.sessions.schema import Recording, SessionCreate, Transcription
from gateway.sessions.store import Principal, Session
from gateway.speech.terms import Terms

_encode: Final = msgspec.json.Encoder().encode
#: How long a request waits for a database that is away.
_PATIENCE_S: Final = 10.0


class _Created(NamedTuple):
    """What creating stored. session: None for a replay; told: there is an event to deliver."""

    reply: Reply
    session: Session | None = None
    told: bool = False


class Service:
    """The embedded session service."""

    def __init__(
        self,
        hub: Hub,
        members: Membership,
        guard: Guard,
        orders: Orders,
        *,
        token_secret: bytes,
        internal_key: str,
    ) -> None:
        self.hub = hub
        self.database = hub.database
        self._guard = guard
        self.orders = orders
        self.clock = hub.clock
        self._members = members
        self._token_secret = token_secret
        self._internal_key = internal_key.encode()
        self._principals = Principals(hub.database)
        self._limiter = RateLimiter()
        self._running = Running()
        #: Whether somebody could interpret a session. Raises PeerFault.
        self.admits: Callable[[Terms], None] = lambda terms: None
        #: What the engines can do with which language.
        self.languages: Callable[[], list[dict[str, Any]]] = list

    # ---- who asks ----------------------------------------------------------------------------------

    async def authenticate(self, key: str) -> tuple[Principal, Allowance | None]:
        """Whose key this is, and what is left of its rate. Raises PeerFault, RATE_LIMITED not included."""
        if hmac.compare_digest(key.encode("utf-8", "surrogatepass"), self._internal_key):
            return store.SYSTEM, None
        now = self.clock()
        principal = await self._principals.find(keys.digest(key), now)
        assert principal.organization_id is not None
        return principal, self._limiter.take(principal.organization_id, principal.rate_limit, now)

    def ticket(self, principal: Principal, route: str, key: str | None, body: bytes) -> Ticket | None:
        """An idempotent request's ticket; None without a key."""
        if key is None:
            return None
        return idempotency.ticket(principal.organization_id or keys.DEFAULT_ORGANIZATION, route, key, body)

    # ---- sessions ----------------------------------------------------------------------------------

    async def create(self, principal: Principal, asked: SessionCreate, ticket: Ticket | None) -> Reply:
        """POST /v1/sessions. Session, credit and idempotent answer are one transaction."""
        if asked.webhook_url is not None:
            await self._check_webhook(asked.webhook_url, "webhook_url")
        for place, tool in enumerate((asked.ai_agent and asked.ai_agent.tools) or ()):
            if tool.url is not None:
                await self._check_webhook(tool.url, f"ai_agent.tools.{place}.url")
        languages = {party.type: party.language for party in asked.participants or []}
        self.admits(Terms(asked.mode, asked.source_language, asked.target_language, languages))
        with self._running.one(ticket):
            # By the journal: sessions that are created at the same time share one commit.
            job = self.hub.journal.write(self._create, principal, asked, ticket, self.clock())
            job.add_done_callback(self._adopt)  # also when nobody waits for the answer any more
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    return (await asyncio.shield(job)).reply
            except TimeoutError:
                raise PeerFault(
                    Fault.SERVICE_UNAVAILABLE, "the session could not be stored in time", retry_after_s=5
                ) from None

    def _adopt(self, job: asyncio.Future[_Created]) -> None:
        if job.exception() is None and (created := job.result()).session is not None:
            self.hub.adopt(created.session)
            if created.told:
                self.hub.stored()

    def _create(
        self,
        connection: Connection,
        principal: Principal,
        asked: SessionCreate,
        ticket: Ticket | None,
        now: float,
    ) -> _Created:
        replay = replies.recall(connection, ticket, now)
        if replay is not None:
            return _Created(replay)
        organization_id = principal.organization_id or keys.DEFAULT_ORGANIZATION
        session = self._new_session(connection, organization_id, asked, now)
        headers = {"Deprecation": "true"} if asked.provider is not None else {}
        reply = Reply(201, self._view(session, now, self._members.base()), headers)
        told = chronicle.created(connection, self.hub.teller, session, now)
        replies.remember(connection, ticket, reply, now)  # raises when another node was faster
        # Last, for it locks the organization's row until the commit. A session for a call that came by a route, which
        # the gateway itself creates, costs one as any other.
        used = store.spend_credit(connection, organization_id)
        return _Created(replace(reply, credits_used=used), session, told)

    async def show(self, principal: Principal, session_id: str) -> Reply:
        """GET /v1/sessions/{id}."""
        live = self.hub.sessions.get(session_id)
        if live is not None and principal.organization_id in (None, live.record.organization_id):
            session = self.hub.record_of(live, self.clock())
        else:
            session = await self.database.read(store.find_session, session_id, principal.organization_id)
        return Reply(200, self._view(session, self.clock(), await self._members.base_of(session.node)), {})

    # ---- their results -----------------------------------------------------------------------------

    async def transcript(self, principal: Principal, session_id: str) -> tuple[Session, list[transcripts.Turn]]:
        """GET …/transcript: the session and its turns so far."""

        def both(connection: Connection) -> tuple[Session, list[transcripts.Turn]]:
            session = store.find_session(connection, session_id, principal.organization_id)
            return session, transcripts.load(connection, session_id)

        return await self.database.read(both)

    async def list_recordings(self, principal: Principal, session_id: str) -> list[recordings.Recording]:
        """GET …/recordings."""

        def listed(connection: Connection) -> list[recordings.Recording]:
            store.find_session(connection, session_id, principal.organization_id)
            return recordings.of_session(connection, session_id)

        return await self.database.read(listed)

    async def recording(self, principal: Principal, recording_id: str) -> recordings.Recording:
        """One recording's row."""
        return await self.database.read(recordings.find, recording_id, principal.organization_id)

    # ---- helpers -----------------------------------------------------------------------------------

    async def _check_webhook(self, url: str, param: str) -> None:
        try:
            await self._guard.check(url)
        except (PermissionError, ValueError) as error:
            raise PeerFault(Fault.INVALID_FIELD, f"{param}: {error}", param=param) from None

    def _view(self, session: Session, now: float, stream_base: str) -> bytes:
        stream: dict[str, Any] | None = None
        if session.status not in ("ending", "ended"):
            token, expires_at = tokens.issue(self._token_secret, session.id, now)
            stream = {
                "url": f"{stream_base}/v1/sessions/{session.id}/stream",
                "token": token,
                "expires_at": views.iso(expires_at),
            }
        return _encode(views.session_view(session, now, stream=stream))

    def _new_session(self, connection: Connection, organization_id: str, asked: SessionCreate, now: float) -> Session:
        provider, phone_number = _resolve(connection, organization_id, asked)
        recording = asked.recording or Recording()
        transcription = asked.transcription or Transcription()
        options = {
            "routing": asked.routing.model_dump(exclude_none=True) if asked.routing else None,
            "participants": [{"type": party.type, "language": party.language} for party in asked.participants or []],
            "ai_agent": asked.ai_agent.model_dump(exclude_none=True) if asked.ai_agent else None,
            "recording": {"enabled": recording.enabled, "channels": recording.channels},
            "transcription": {"enabled": transcription.enabled, "partials": transcription.partials},
        }
        return Session(
            id=new_id("sess", now),
            organization_id=organization_id,
            node=self.hub.teller.node,
            status="created",
            mode=asked.mode,
            source_language=asked.source_language,
            target_language=asked.target_language,
            phone_number=phone_number,
            provider=provider,
            options=options,
            webhook_url=asked.webhook_url,
            metadata=asked.metadata or {},
            call=None,
            created_at=now,
            active_at=now,
        )


def _resolve(connection: Connection, organization_id: str, asked: SessionCreate) -> tuple[Any, str | None]:
    """`provider` as it is shown, and the telephone number. The contract's order of resolution."""
    routing, older = asked.routing, asked.provider
    if older is not None and routing is None:
        return older.model_dump(exclude_none=True), older.phone_number
    shown_older = None if older is None else older.model_dump(exclude_none=True)
    number = routing.phone_number if routing else None
    found: store.Connected | None = None
    if routing is not None and routing.connection_id is not None:
        found = store.find_connection(connection, organization_id, connection_id=routing.connection_id)
        if found is None:
            raise PeerFault(
                Fault.ROUTING_UNRESOLVED,
                f"there is no connection {routing.connection_id}",
                param="routing.connection_id",
            )
    elif routing is not None and routing.type == "sip":
        return shown_older or "sip", number
    elif number is not None:
        found = store.find_connection(connection, organization_id, phone_number=number)
    found = found or store.find_connection(connection, organization_id)
    if found is None:
        return shown_older, number
    return shown_older or found.provider, number or found.phone_number
