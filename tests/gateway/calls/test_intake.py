"""How a call comes into being: what it brings along."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.calls import actions as do
from gateway.calls.dialling import Wanted, order
from gateway.calls.runner import Runner
from gateway.errors import Fault
from gateway.sip import events as sip
from gateway.trunks import in_force
from rtp import control
from tests.support.controller_rig import OFFER, ControllerRig, controller_rig
from tests.support.stream_server import until

OFFICE = {"name": "office", "codecs": ["PCMA"], "srtp": "optional", "outbound": {"host": "192.0.2.1"}}
ANSWER = OFFER.replace("0 8 101", "8 101")


def placed(rig: ControllerRig, told: list[do.Progress], **fields: object) -> Runner:
    wanted = Wanted(**({"session_id": "sess_1", "to": "200"} | fields))  # type: ignore[arg-type]
    return rig.controller.dial(order(wanted, in_force(rig.config.trunks)), told.append)


async def dialled(rig: ControllerRig, told: list[do.Progress], **fields: object) -> sip.Dial:
    before = len(rig.sip.of(sip.Dial))
    placed(rig, told, **fields)
    await until(lambda: len(rig.sip.of(sip.Dial)) > before)
    command: sip.Dial = rig.sip.of(sip.Dial)[-1]
    return command


def test_an_order_becomes_an_invite_on_the_terms_of_its_trunk(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path, {"trunks": [OFFICE]}) as rig:
            told: list[do.Progress] = []
            first = await dialled(rig, told, speaker="agent", from_="+155", headers={"X-Queue": "sales"})
            assert first.headers["X-Queue"] == "sales"
            assert (first.uri, first.trunk, first.from_uri) == ("sip:200@192.0.2.1", "office", "sip:+155@192.0.2.1")
            assert first.headers["X-Session-ID"] == "sess_1"
            assert "RTP/AVP 8 13 101" in first.sdp
            assert "a=crypto:1 " in first.sdp
            second = await dialled(rig, told)
            assert first.dialog < 0
            assert second.dialog < 0
            assert first.dialog != second.dialog
            assert first.sip_call_id
            assert first.sip_call_id != second.sip_call_id
            for one in (first, second):
                rig.sip.ended(one.dialog, "failed")

    asyncio.run(main())


def test_a_call_of_ours_from_ringing_to_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path, {"trunks": [OFFICE | {"srtp": "disabled"}]}) as rig:
            told: list[do.Progress] = []
            dial = await dialled(rig, told, speaker="agent")
            rig.sip.channel.send(sip.Answered(dial.dialog, 183, "Session Progress", ANSWER))
            await until(lambda: [progress.code for progress in told] == [183])
            rig.rtp.speak(0, rig.wakeup_fd)  # early media goes up before anybody has joined
            await until(lambda: rig.peer().of("audio.input"))
            assert rig.peer().of("call.joined") == []
            rig.sip.channel.send(sip.Answered(dial.dialog, 200, "OK", ANSWER))
            await until(lambda: rig.peer().of("call.joined"))
            (joined,) = rig.peer().of("call.joined")
            assert (joined["speaker"], joined["direction"]) == ("agent", "outbound")
            assert joined["sip_call_id"] == dial.sip_call_id
            assert [call["direction"] for call in rig.controller.calls()] == ["outbound"]
            rig.sip.ended(dial.dialog)
            await until(lambda: rig.records())
            (record,) = rig.records()
            assert (record["direction"], record["outcome"], record["sip_call_id"]) == (
                *("outbound", "ok"),
                dial.sip_call_id,
            )

    asyncio.run(main())


def test_a_call_that_is_refused_is_told_on_the_stream(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path, {"trunks": [OFFICE]}) as rig:
            told: list[do.Progress] = []
            dial = await dialled(rig, told, speaker="agent")
            rig.sip.channel.send(sip.Answered(dial.dialog, 180, "Ringing"))
            rig.sip.channel.send(sip.Ended(dial.dialog, "failed", 486, "Busy Here"))
            await until(lambda: len(told) == 2)
            assert told[1].error is not None
            assert told[1].error.message == "486 Busy Here"
            await until(lambda: rig.peer().of("call.error"))
            (error,) = rig.peer().of("call.error")
            assert (error["target"], error["code"], error["message"]) == ("agent", "dial_failed", "486 Busy Here")
            await until(lambda: rig.records())
            assert (rig.records()[0]["outcome"], rig.records()[0]["sip_code"]) == ("dial_failed", 486)
            assert rig.directory.ended == []  # somebody else may be called for the session

    asyncio.run(main())


def test_without_a_sip_process_nobody_is_called(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path, {"trunks": [OFFICE]}) as rig:
            told: list[do.Progress] = []
            rig.controller.sip_lost()
            placed(rig, told)
            assert told[0].error is not None
            assert told[0].error.fault is Fault.CAPACITY

    asyncio.run(main())


def test_a_transfer_of_ours_is_followed_to_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            dialog = await rig.answered()
            rig.peer().say({"type": "call.transfer", "target": "customer", "to": "sip:300@pbx"})
            await until(lambda: rig.sip.of(sip.Refer, dialog))
            rig.sip.channel.send(sip.ReferProgress(dialog, 100, "Trying", False))
            rig.sip.channel.send(sip.ReferProgress(dialog, 603, "Decline", True))
            await until(lambda: rig.peer().of("call.error"))
            (error,) = rig.peer().of("call.error")
            assert (error["target"], error["code"], error["message"]) == ("customer", "transfer_failed", "603 Decline")
            assert "call_id" not in error  # the call goes on
            rig.sip.channel.send(sip.ReferProgress(dialog, 200, "OK", True))
            await until(lambda: rig.sip.of(sip.Hangup, dialog))

    asyncio.run(main())


def test_a_call_that_was_transferred_is_sent_elsewhere(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            dialog = await rig.answered()
            ours = rig.sip.of(sip.Accept, dialog)[0].sdp
            rig.sip.channel.send(sip.Referred(dialog, "sip:300@pbx", True))
            rig.sip.channel.send(
                sip.Transferred(dialog, "new@x", ours, ANSWER.replace("40000", "40010").replace("8 101", "0 101"))
            )
            await until(lambda: len(rig.rtp.of(control.ConfigureLeg)) == 2)
            assert rig.rtp.of(control.ConfigureLeg)[-1].remote_port == 40010
            assert [call["state"] for call in rig.controller.calls()] == ["active"]

    asyncio.run(main())
