"""A call's SIP messages are asked of the sip process, within bounds, also when the call is over."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.calls import traces
from gateway.calls.traces import Traces, as_text
from gateway.sip import events as sip

MESSAGE = sip.WireMessage(1_700_000_000_000_001, True, "udp", "10.0.0.1:5060", "10.0.0.2:5060", "BYE x\r\n\r\n")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_the_answer_goes_to_the_one_who_asked() -> None:
    async def work() -> None:
        sent: list[sip.TraceWanted] = []
        asked = Traces(sent.append)
        one = asyncio.create_task(asked.ask("call_1", "a"))
        two = asyncio.create_task(asked.ask("call_2", "b"))
        await asyncio.sleep(0)
        assert [wanted.sip_call_id for wanted in sent] == ["a", "b"]
        asked.answered(sip.Traced(sent[1].request, [MESSAGE]))
        asked.answered(sip.Traced(sent[0].request, []))
        asked.answered(sip.Traced(99, [MESSAGE]))
        assert (await one, await two) == ([], [MESSAGE])

    run(work())


def test_a_call_that_is_over_is_known_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MAX_OVER", 2)

    async def work() -> None:
        sent: list[sip.TraceWanted] = []
        asked = Traces(sent.append)
        for number in range(3):
            asked.over(f"call_{number}", f"sip_{number}")
        assert await asked.ask("call_0", None) is None
        waiting = asyncio.create_task(asked.ask("call_2", None))
        await asyncio.sleep(0)
        asked.answered(sip.Traced(sent[0].request, [MESSAGE]))
        assert await waiting == [MESSAGE]
        assert sent[0].sip_call_id == "sip_2"

    run(work())


def test_nobody_waits_for_a_process_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "ANSWER_S", 0.01)
    monkeypatch.setattr(traces, "MAX_WAITING", 1)

    async def work() -> None:
        asked = Traces(lambda wanted: None)
        one, two = await asyncio.gather(asked.ask("call_1", "a"), asked.ask("call_2", "b"))
        assert (one, two) == ([], [])

    run(work())


def test_it_reads_well() -> None:
    came = sip.WireMessage(1, False, "tls", "10.0.0.1:5061", "10.0.0.2:5060", "INVITE y\r\n")
    text = as_text([came, MESSAGE])
    assert text.startswith("--- 00:00:00.000001 UTC  tls  10.0.0.1:5061 ← 10.0.0.2:5060\nINVITE y\n")
    assert "--- 22:13:20.000001 UTC  udp  10.0.0.1:5060 → 10.0.0.2:5060\nBYE x\n" in text
