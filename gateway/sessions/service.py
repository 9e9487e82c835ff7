"""What the REST routes do: create, show and end sessions, whatever the HTTP framework.

Owns the order of things within a request: what is checked first, what is written together, what is answered.
Composed of a hub, a database and a clock.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from gateway.errors import Fault, PeerFault
from gateway.sessions import chronicle, idempotency, keys, nodes, recordings, store, tokens, transcripts, views
from gateway.sessions.egress import Guard
from gateway.sessions.hub import Hub
from gateway.sessions.idempotency import Running, Ticket
from gateway.sessions.ids import new_id
from gateway.sessions.live import LiveSession
from gateway.sessions.nodes import Membership
from gateway.sessions.principals import Principals
from gateway.sessions.ratelimit import Allowance, RateLimiter
from gateway.sessions.schema import Dial, Recording, SessionCreate, Transcription
from gateway.sessions.store import Principal, Session, Stored
from gateway.sessions.telephony import Telephony
from gateway.speech.terms import Terms

_encode: Final = msgspec.json.Encoder().encode
#: Quarter seconds that another node has to end a session of its own.
_WAIT_FOR_NODE: Final = 40
#: How long a request waits for a database that is away.
_PATIENCE_S: Final = 10.0


@dataclass(frozen=True)
class Reply:
    """An answer: HTTP status, headers beyond the usual, JSON body."""

    status: int
    body: bytes
    headers: dict[str, str]
    #: Of the organization, where the request took one.
    credits_used: int | None = None


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
        telephony: Telephony,
        *,
        token_secret: bytes,
        internal_key: str,
    ) -> None:
        self.hub = hub
        self.database = hub.database
        self._guard = guard
        self._telephony = telephony
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
        replay = self._replay(connection, ticket, now)
        if replay is not None:
            return _Created(replay)
        organization_id = principal.organization_id or keys.DEFAULT_ORGANIZATION
        session = self._new_session(connection, organization_id, asked, now)
        headers = {"Deprecation": "true"} if asked.provider is not None else {}
        body = self._view(session, now)
        told = chronicle.created(connection, self.hub.teller, session, now)
        if ticket is not None:
            stored = Stored(ticket.digest, 201, headers, body)
            if not store.remember(connection, organization_id, ticket.route, ticket.key, stored, now):
                raise idempotency.conflict()  # another node was faster
        used = None
        if principal.organization_id is not None:
            # Last, for it locks the organization's row until the commit.
            used = store.spend_credit(connection, principal.organization_id)
        return _Created(Reply(201, body, headers, used), session, told)

    async def show(self, principal: Principal, session_id: str) -> Reply:
        """GET /v1/sessions/{id}."""
        live = self.hub.sessions.get(session_id)
        if live is not None and principal.organization_id in (None, live.record.organization_id):
            session = self.hub.record_of(live, self.clock())
        else:
            session = await self.database.read(store.find_session, session_id, principal.organization_id)
        return Reply(200, self._view(session, self.clock()), {})

    async def end(self, principal: Principal, session_id: str, reason: str | None, ticket: Ticket | None) -> Reply:
        """POST /v1/sessions/{id}/end. Ending again gives the same summary."""
        with self._running.one(ticket):
            now = self.clock()
            replay = await self.database.read(self._replay, ticket, now)
            if replay is not None:
                return replay
            stored = await self.database.read(store.find_session, session_id, principal.organization_id)
            if stored.status != "ended" and session_id in self.hub.sessions:
                stored = await self.hub.end(session_id, reason, self.clock())
            elif stored.status != "ended":
                stored = await self._end_elsewhere(stored, reason)
            if stored.ended_at is None:
                raise _held_elsewhere(stored)
            reply = Reply(200, _encode(views.summary_view(stored, now)), {})
            await self._remember(ticket, reply, now)
            return reply

    async def hang_up(self, principal: Principal, session_id: str, call_id: str, reason: str | None) -> Reply:
        """POST …/calls/{call_id}/hangup: the gateway that has the call is told over its stream."""
        live, speaker = await self._call(principal, session_id, call_id)
        live.end_call(speaker, reason)
        return _call_reply(session_id, call_id, "ending")

    async def transfer(self, principal: Principal, session_id: str, call_id: str, to: str) -> Reply:
        """POST …/calls/{call_id}/transfer: likewise."""
        live, speaker = await self._call(principal, session_id, call_id)
        live.transfer(speaker, to)
        return _call_reply(session_id, call_id, "transferring")

    async def dial(self, principal: Principal, session_id: str, asked: Dial, ticket: Ticket | None) -> Reply:
        """POST …/dial: the gateway places the call; its answer is ours."""
        with self._running.one(ticket):
            now = self.clock()
            if (replay := await self.database.read(self._replay, ticket, now)) is not None:
                return replay
            stored = await self.database.read(store.find_session, session_id, principal.organization_id)
            live = self.hub.sessions.get(session_id)
            if stored.status in ("ending", "ended") or (live is not None and live.has_ended):
                raise PeerFault(Fault.SESSION_ENDED, f"session {session_id} has ended")
            if live is None:
                raise _held_elsewhere(stored)
            order = {"session_id": session_id} | asked.model_dump(by_alias=True, exclude_none=True)
            if headers := ((live.record.options["routing"] or {}).get("sip") or {}).get("headers"):
                order["headers"] = headers  # the session's own, also those that its first call brought along
            call = await self._telephony.dial(order)
            self.hub.dialled(live, call)
            reply = Reply(202, _encode(call), {})
            await self._remember(ticket, reply, now)
            return reply

    async def _call(self, principal: Principal, session_id: str, call_id: str) -> tuple[LiveSession, str]:
        """The session and the speaker of a call that is up. Raises PeerFault."""
        stored = await self.database.read(store.find_session, session_id, principal.organization_id)
        live = self.hub.sessions.get(session_id)
        if live is None and stored.status != "ended":
            raise _held_elsewhere(stored)
        speaker = None if live is None else live.speaker_of(call_id)
        if live is None or speaker is None:
            raise PeerFault(Fault.SESSION_NOT_FOUND, f"session {session_id} has no call {call_id}", param="call_id")
        return live, speaker

    async def _remember(self, ticket: Ticket | None, reply: Reply, now: float) -> None:
        """Keep a successful answer for who asks the same again."""
        if ticket is not None:
            answer = Stored(ticket.digest, reply.status, {}, reply.body)
            where = (ticket.organization_id, ticket.route, ticket.key)
            if not await self.database.run(store.remember, *where, answer, now):
                raise idempotency.conflict()  # another node has done it just now

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

    async def _end_elsewhere(self, stored: Session, reason: str | None) -> Session:
        """Another node's session, or one that ended between the query and here: wait for its end."""
        if stored.node != self.hub.teller.node:
            await self.database.run(nodes.request_end, stored.id, reason or "explicit_end")
        for _ in range(_WAIT_FOR_NODE):
            stored = await self.database.read(store.find_session, stored.id, None)
            if stored.status == "ended":
                break
            await asyncio.sleep(0.25)
        return stored

    async def _check_webhook(self, url: str, param: str) -> None:
        try:
            await self._guard.check(url)
        except (PermissionError, ValueError) as error:
            raise PeerFault(Fault.INVALID_FIELD, f"{param}: {error}", param=param) from None

    def _replay(self, connection: Connection, ticket: Ticket | None, now: float) -> Reply | None:
        if ticket is None:
            return None
        since = now - store.KEEP_ANSWERS_S
        stored = store.recall(connection, ticket.organization_id, ticket.route, ticket.key, since)
        if stored is None:
            return None
        idempotency.check(ticket, stored)
        return Reply(stored.status, stored.body, stored.headers | {"Idempotent-Replayed": "true"})

    def _view(self, session: Session, now: float) -> bytes:
        stream: dict[str, Any] | None = None
        if session.status not in ("ending", "ended"):
            token, expires_at = tokens.issue(self._token_secret, session.id, now)
            stream = {
                "url": f"{self._members.base_of(session.node)}/v1/sessions/{session.id}/stream",
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


def _held_elsewhere(session: Session) -> PeerFault:
    held = f"session {session.id} is held by node {session.node}"
    return PeerFault(Fault.SERVICE_UNAVAILABLE, held, retry_after_s=5)


def _call_reply(session_id: str, call_id: str, status: str) -> Reply:
    return Reply(200, _encode({"id": call_id, "object": "call", "session_id": session_id, "status": status}), {})


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
