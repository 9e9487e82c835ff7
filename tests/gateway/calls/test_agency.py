"""News of the sip process itself, and the calls that a process before it left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.sip import events as sip
from tests.support.controller_rig import SipSide, controller_rig
from tests.support.stream_server import until


def test_a_bye_for_a_dialog_that_was_lost_ends_its_call(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            await rig.answered()
            (call,) = rig.controller.calls()
            rig.controller.sip_lost()
            rig.sip = SipSide()
            rig.controller.attach_sip(rig.sip.end)
            rig.sip.ready()
            address = call["source"].rpartition(":")[0]
            rig.sip.channel.send(sip.Stray(call["sip_call_id"], "203.0.113.66"))  # not the one who called
            rig.sip.channel.send(sip.Stray("nobody's", address))
            await asyncio.sleep(0.05)
            assert len(rig.controller.calls()) == 1
            rig.sip.channel.send(sip.Stray(call["sip_call_id"], address))
            await until(lambda: not rig.controller.calls())
            assert rig.records()[0]["end_reason"] == "peer_bye"
            rig.sip.channel.send(sip.Stray(call["sip_call_id"], address))  # once more, too late

    asyncio.run(main())


def test_a_fresh_process_is_told_of_the_calls_that_go_on_by_trunk(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            await rig.answered()
            rig.controller.sip_lost()
            rig.sip = SipSide()
            rig.controller.attach_sip(rig.sip.end)
            assert [carried.calls for carried in rig.sip.of(sip.Carried)] == [{"default": 1}]
            rig.sip.ready()
            (call,) = rig.controller.calls()
            rig.sip.channel.send(sip.Stray(call["sip_call_id"], call["source"].rpartition(":")[0]))
            await until(lambda: len(rig.sip.of(sip.Carried)) == 2)
            assert rig.sip.of(sip.Carried)[-1].calls == {}

    asyncio.run(main())


def test_a_process_that_lost_nobody_is_told_of_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            await rig.answered()
            assert rig.sip.of(sip.Carried) == []

    asyncio.run(main())


@pytest.mark.parametrize("problem", ["", "sip.tls.key: no such file"])
def test_a_certificate_is_counted_and_its_end_is_a_gauge(tmp_path: Path, problem: str) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            rig.sip.channel.send(sip.CertificateTaken(0.0 if problem else 4e9, problem))
            result = "refused" if problem else "ok"
            await until(lambda: rig.value("sip_tls_certificates_total", result=result) == 1)
            await until(lambda: problem or (rig.value("sip_tls_certificate_expiry_days") or 0) > 1000)
            told = [line for line in rig.log() if line["event"] == "certificate_not_taken"]
            assert [line["problem"] for line in told] == ([problem] if problem else [])

    asyncio.run(main())


def test_a_trace_is_asked_of_the_process(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            await rig.answered()
            (call,) = rig.controller.calls()
            waiting = asyncio.create_task(rig.controller.trace(call["call_id"]))
            await until(lambda: rig.sip.of(sip.TraceWanted))
            (wanted,) = rig.sip.of(sip.TraceWanted)
            assert wanted.sip_call_id == call["sip_call_id"]
            rig.sip.channel.send(sip.Traced(wanted.request, []))
            assert await waiting == []
            assert await rig.controller.trace("call_none") is None

    asyncio.run(main())
