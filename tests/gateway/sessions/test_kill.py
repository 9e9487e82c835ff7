"""kill -9 at random moments of session life: nothing is lost, stuck or counted twice.

The long run is the same with KILLS=200; KILLS_SEED chooses other moments.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import wave
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from picows import WSError, ws_connect
from sqlalchemy import select

from gateway.sessions import keys, recordings
from gateway.sessions.database import Database
from gateway.sessions.models import deliveries, organizations, sessions
from tests.support.session_process import KEY, ServiceProcess
from tests.support.session_service import StreamClient, audio_input

HOOK = {"url": "http://127.0.0.1:9/nobody", "allow_networks": ["127.0.0.0/8"]}
BODY = {"mode": "bidirectional_translation", "recording": {"enabled": True}}


class Life:
    """Sessions in all their stages, driven by somebody who tries again whenever the service is away."""

    def __init__(self, key: str) -> None:
        self.auth = {"Authorization": f"Bearer {key}"}
        self.acknowledged: dict[str, str] = {}  # idempotency key → session
        self.asked: list[str] = []
        self.numbers = itertools.count()

    async def go(self, rest: str) -> None:
        """One session after another until the service is gone."""
        async with httpx.AsyncClient(base_url=rest, headers=self.auth) as http:
            try:
                while True:
                    await self._one(http)
            except (httpx.HTTPError, OSError, WSError):
                return  # it was killed

    async def _one(self, http: httpx.AsyncClient) -> None:
        key = f"k{next(self.numbers)}"
        self.asked.append(key)
        made = await self.create(http, key)
        stream = made["stream"]
        transport, client = await ws_connect(StreamClient, f"{stream['url']}?token={stream['token']}")
        if not isinstance(client, StreamClient):
            raise OSError("killed during the handshake")
        for n in range(random.randrange(1, 40)):
            client.send(audio_input("customer", n, b"\x10" * 160))
            await asyncio.sleep(0.001)
        if client.closed.done():
            raise OSError("closed")
        if random.random() < 0.6:
            response = await http.post(f"/v1/sessions/{made['id']}/end", json={})
            assert response.status_code == 200, response.text
        transport.disconnect()

    async def create(self, http: httpx.AsyncClient, key: str) -> dict[str, Any]:
        response = await http.post("/v1/sessions", json=BODY, headers={"Idempotency-Key": key})
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        assert self.acknowledged.setdefault(key, made["id"]) == made["id"]
        return made


def test_killed_at_random_moments(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url)
    database.upgrade()
    database.call(keys.ensure_organization, 1.0, rate_limit=10_000_000)
    key, _ = database.call(keys.create, 1.0, name="life")
    life = Life(key)
    moments = random.Random(int(os.environ.get("KILLS_SEED", "7")))

    async def until_killed(service: ServiceProcess) -> None:
        running = [asyncio.create_task(life.go(service.rest)) for _ in range(3)]
        await asyncio.sleep(moments.uniform(0.02, 0.6))
        await asyncio.to_thread(service.kill)
        await asyncio.gather(*running)

    for _ in range(int(os.environ.get("KILLS", "4"))):
        asyncio.run(until_killed(ServiceProcess(database_url, tmp_path, webhooks=HOOK)))

    service = ServiceProcess(database_url, tmp_path, webhooks=HOOK)
    asyncio.run(settle(life, service.rest))
    assert service.stop() == 0

    with database.engine.connect() as connection:
        rows = connection.execute(select(sessions.c.id, sessions.c.status)).all()
        used = connection.execute(select(organizations.c.credits_used)).scalar()
        told = connection.execute(select(deliveries.c.session_id, deliveries.c.type, deliveries.c.body)).all()
    assert set(life.acknowledged.values()) == {row.id for row in rows}
    assert {row.status for row in rows} == {"ended"}
    assert used == len(rows)
    kinds = Counter((row.session_id, row.type) for row in told)
    for row in rows:
        for kind in ("session.created", "transcript.ready", "session.ended"):
            assert kinds[row.id, kind] == 1, (row.id, kind)
        assert kinds[row.id, "session.started"] <= 1
        assert kinds[row.id, "recording.ready"] in (0, 3)
    ids = [json.loads(row.body)["id"] for row in told]
    assert len(ids) == len(set(ids))
    database.close()


def test_a_kill_loses_two_seconds_of_sound_at_most(tmp_path: Path) -> None:
    """And what is on the disk opens as it is."""
    service = ServiceProcess(f"sqlite:///{tmp_path}/s.db", tmp_path)

    async def talk() -> tuple[str, float]:
        """The session, and how many seconds of it were spoken when the service was killed."""
        async with httpx.AsyncClient(base_url=service.rest, headers={"Authorization": f"Bearer {KEY}"}) as http:
            made = (await http.post("/v1/sessions", json=BODY)).json()
        transport, client = await ws_connect(StreamClient, f"{made['stream']['url']}?token={made['stream']['token']}")
        assert isinstance(client, StreamClient)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in range(200):
            client.send(audio_input("customer", n, b"\x10" * 160))
            await asyncio.sleep(max(0.0, began + (n + 1) * 0.02 - loop.time()))
        await client.synced()
        spoken = 200 * 0.02
        service.process.kill()
        await client.close_code()
        transport.disconnect()
        return made["id"], spoken

    session_id, spoken = asyncio.run(talk())
    service.kill()
    file = recordings.master(tmp_path, session_id)
    with av.open(str(file.path)) as opened:  # by a program that knows nothing of its being written
        frames = sum(frame.samples for frame in opened.decode(audio=0))
    assert frames == file.frames()
    sound = np.frombuffer(file.read(0, frames), np.uint8).reshape(-1, file.channels)
    heard = int(np.count_nonzero(sound[:, 0] == 0x10)) / 8000
    assert spoken - 2.0 <= heard <= spoken


async def settle(life: Life, rest: str) -> None:
    """Ask again for everything, end everything, open every recording."""
    async with httpx.AsyncClient(base_url=rest, headers=life.auth, timeout=30) as http:
        for key in life.asked:
            await life.create(http, key)
        for session_id in life.acknowledged.values():
            ended = await http.post(f"/v1/sessions/{session_id}/end", json={})
            assert ended.status_code == 200, ended.text
            listed = (await http.get(f"/v1/sessions/{session_id}/recordings")).json()["data"]
            for one in listed:
                assert one["status"] == "ready", one
                audio = await http.get(one["download_url"])
                with wave.open(BytesIO(audio.content)) as read:
                    assert read.getnframes() == round(one["duration"] * 8000)
