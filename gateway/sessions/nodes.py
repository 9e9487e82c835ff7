"""Several service processes on one database: who is alive, whose sessions are whose.

Owns the heartbeat, the take-over of a dead node's sessions, and what one node asks of another through the database:
that it end a session. A node that was taken for dead and comes back finds its sessions elsewhere and lets them go.
Nodes need clocks that agree within seconds, names that differ, and a data_dir that they share if recordings
are to survive one of them.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import OperationalError

from gateway.sessions import store
from gateway.sessions.hub import Hub
from gateway.sessions.models import nodes, sessions

_log = structlog.get_logger(__name__)

#: Seconds between heartbeats, and without one until a node counts as dead: a take-over within 30 s.
BEAT_S: Final = 2.0
DEAD_S: Final = 15.0


class Node(NamedTuple):
    """A node as the others see it: the fronts of its stream URLs, and of its REST URLs for them."""

    name: str
    stream_base: str
    rest_base: str


class Seen(NamedTuple):
    """What a heartbeat finds."""

    bases: dict[str, str]  # by node: the front of its stream URLs
    taken: list[store.Session]  # of nodes that died
    moved: set[str]  # of those asked about: another node's by now
    to_end: dict[str, str]  # another node was asked to end these; the reasons


def find(connection: Connection, name: str) -> Node | None:
    """A node that there is; whether it lives, who asks it finds out."""
    row = connection.execute(select(nodes).where(nodes.c.name == name)).first()
    return None if row is None else Node(row.name, row.stream_base, row.rest_base)


def beat(connection: Connection, node: Node, live: frozenset[str], now: float, unsure: bool = False) -> Seen:
    """Say that this node lives, and look around. unsure: what came of the last beat is not known."""
    name = node.name
    said = node._asdict() | {"beat_at": now}
    missing = not connection.execute(update(nodes).where(nodes.c.name == name).values(**said)).rowcount
    if missing:
        connection.execute(insert(nodes).values(**said))
    mine = (sessions.c.node == name, sessions.c.status != "ended")
    asked = select(sessions.c.id, sessions.c.end_requested).where(*mine, sessions.c.end_requested.is_not(None))
    return Seen(
        bases={row.name: row.stream_base for row in connection.execute(select(nodes))},
        taken=_take_over(connection, name, now),
        # Who takes sessions over strikes their node off the list, so there is seldom anything to ask.
        moved=_moved(connection, name, live) if missing or unsure else set(),
        to_end={row.id: row.end_requested for row in connection.execute(asked)},
    )


def _take_over(connection: Connection, name: str, now: float) -> list[store.Session]:
    dead = (
        select(nodes.c.name)
        .where(nodes.c.name != name, nodes.c.beat_at < now - DEAD_S)
        .with_for_update(skip_locked=True)  # another node may be at it
    )
    gone: list[str] = list(connection.execute(dead).scalars())
    if not gone:
        return []
    theirs = (sessions.c.node.in_(gone), sessions.c.status != "ended")
    ids: list[str] = list(connection.execute(select(sessions.c.id).where(*theirs)).scalars())
    connection.execute(update(sessions).where(*theirs).values(node=name))
    connection.execute(delete(nodes).where(nodes.c.name.in_(gone)))
    return [store.find_session(connection, session_id, None) for session_id in ids]


def _moved(connection: Connection, name: str, live: frozenset[str]) -> set[str]:
    moved: set[str] = set()
    ids = sorted(live)
    for start in range(0, len(ids), 500):
        query = select(sessions.c.id).where(sessions.c.id.in_(ids[start : start + 500]), sessions.c.node != name)
        moved |= set(connection.execute(query).scalars())
    return moved


def leave(connection: Connection, name: str) -> None:
    """This node stops in good order; its sessions wait for it, or for whoever is asked to take them."""
    connection.execute(update(nodes).where(nodes.c.name == name).values(beat_at=0.0))


def request_end(connection: Connection, session_id: str, reason: str) -> None:
    """Ask the session's node to end it."""
    connection.execute(update(sessions).where(sessions.c.id == session_id).values(end_requested=reason))


class Membership:
    """This process among the nodes."""

    def __init__(self, hub: Hub, stream_base: str, rest_base: str) -> None:
        self._hub = hub
        self._me = Node(hub.teller.node, stream_base, rest_base)
        self._bases: dict[str, str] = {}
        self._unsure = False

    def base(self) -> str:
        """The front of this node's stream URLs."""
        return self._me.stream_base

    async def base_of(self, name: str) -> str:
        """The front of a node's stream URLs; of one that is gone, this one's: who asks again, finds its successor."""
        if name == self._me.name:
            return self._me.stream_base
        if name not in self._bases:  # it is here since the last beat
            node = await self._hub.database.read(find, name)
            return self._me.stream_base if node is None else node.stream_base
        return self._bases[name]

    async def step(self) -> None:
        """One heartbeat, and what follows from it."""
        hub = self._hub
        live = frozenset(hub.sessions)
        unsure, self._unsure = self._unsure, True
        seen = await hub.database.run(beat, self._me, live, hub.clock(), unsure)
        self._unsure = False
        self._bases = seen.bases
        hub.abandon(seen.moved)
        for record in seen.taken:
            _log.warning("session_taken_over", session_id=record.id)
            hub.adopt(record)
        for session_id, reason in seen.to_end.items():
            if session_id in hub.sessions:
                hub.sessions[session_id].end(reason, hub.clock(), told="explicit_end")

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self.step()
            except OperationalError as error:
                _log.warning("heartbeat_failed", error=type(error).__name__)
            await asyncio.sleep(BEAT_S)
