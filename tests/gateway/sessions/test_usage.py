"""gateway/sessions/usage.py, and where it is counted."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.usage import UsageClock
from tests.support.session_service import Clock, audio_input, service


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=30))
def test_it_adds_up_what_ran(steps: list[tuple[bool, float]]) -> None:
    clock, now, expected, running = UsageClock(5.0), 0.0, 5.0, False
    for run, passed in steps:
        now += passed
        expected += passed if running else 0.0
        clock.run(run, now)
        running = run
        assert clock.running == running
        assert clock.total(now) == pytest.approx(expected)


def test_translation_counts_while_active_and_somebody_listens(database_url: str) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with service(database_url, clock) as kit:
            session = await kit.create(mode="bidirectional_translation")
            plain = await kit.create(mode="help_chat_voice")
            async with kit.stream(session) as client, kit.stream(plain) as other:
                await client.synced()
                clock.now += 10  # connected, nobody has spoken
                for one in (client, other):
                    one.send(audio_input("customer", 0, b"\x55"))
                    await one.synced()
                clock.now += 20
                usage = (await kit.get(f"/v1/sessions/{session['id']}")).json()["usage"]
                assert usage == {"active_seconds": 20, "translation_seconds": 20, "ai_agent_seconds": 0}
                usage = (await kit.get(f"/v1/sessions/{plain['id']}")).json()["usage"]
                assert usage == {"active_seconds": 20, "translation_seconds": 0, "ai_agent_seconds": 0}
                kit.hub.sessions[plain["id"]].processing(True)
                clock.now += 1
                kit.hub.sessions[plain["id"]].processing(False)
            await kit.until(lambda: not kit.streams.streams)
            clock.now += 7  # nobody listens
        async with service(database_url, clock) as kit:
            async with kit.stream((await kit.get(f"/v1/sessions/{session['id']}")).json()) as client:
                await client.synced()
                clock.now += 2
                await kit.post(f"/v1/sessions/{session['id']}/end")
                await kit.post(f"/v1/sessions/{plain['id']}/end")
            usage = (await kit.get(f"/v1/sessions/{session['id']}")).json()["usage"]
            assert usage == {"active_seconds": 30, "translation_seconds": 23, "ai_agent_seconds": 0}
            usage = (await kit.get(f"/v1/sessions/{plain['id']}")).json()["usage"]
            assert usage["ai_agent_seconds"] == 1

    asyncio.run(scenario())
