"""A call at work: what an INVITE asks for, handles that come too late, defects of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.sip import events as sip
from rtp import control
from tests.support.controller_rig import ControllerRig, controller_rig
from tests.support.stream_server import until


def run(tmp_path: Path, story: Callable[[ControllerRig], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            await story(rig)

    asyncio.run(main())


def test_a_call_goes_by_its_trunk(tmp_path: Path) -> None:
    trunk = {
        "name": "pbx",
        "allow": ["10.0.0.1"],
        "codecs": ["PCMA"],
        "symmetric": "off",
        "pass_headers": ["X-*", "Reason"],
    }
    terms = {"speaker": "caller", "srtp": "mandatory"}

    async def main() -> None:
        async with controller_rig(
            tmp_path, {"trunks": [trunk, trunk | terms | {"name": "sealed", "allow": ["10.0.0.2"]}]}
        ) as rig:
            headers = {"x-queue": "sales", "x-session-speaker": "Boss", "via": "none"}
            dialog = await rig.answered(trunk="pbx", headers=headers)
            assert "RTP/AVP 8 101" in rig.sip.of(sip.Accept, dialog)[0].sdp
            await until(lambda: rig.rtp.of(control.ConfigureLeg))
            assert rig.rtp.of(control.ConfigureLeg)[0].symmetric == "off"
            await until(lambda: rig.peer().of("call.joined"))
            assert [(m["speaker"], m["headers"]) for m in rig.peer().of("call.joined")] == [
                ("boss", {"x-queue": "sales"})
            ]
            ended = sip.Ended(dialog, "bye", 200, "", {"reason": "Q.850;cause=31", "x-a": "b"})
            rig.sip.channel.send(ended)
            await until(lambda: rig.peer().of("call.left"))
            assert rig.peer().of("call.left")[0]["headers"] == {"reason": "Q.850;cause=31", "x-a": "b"}
            assert (await rig.refused(trunk="sealed")).code == 488  # the offer has no keys

    asyncio.run(main())


def test_a_leg_that_opens_after_the_end_is_freed(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.rtp.holds_back = True
        dialog = rig.sip.invite()
        await until(lambda: rig.rtp.of(control.OpenLeg))
        rig.sip.ended(dialog, "cancelled")
        await until(lambda: not rig.controller.calls())
        rig.rtp.holds_back = False
        rig.rtp.obey(rig.rtp.of(control.OpenLeg)[0])
        await until(lambda: rig.rtp.of(control.CloseLeg) and not rig.rtp.legs)

    run(tmp_path, story)


def test_a_defect_of_ours_ends_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(rig: ControllerRig) -> None:
        async def broken(session_id: str) -> None:
            raise KeyError("bug")

        with monkeypatch.context() as patch:
            patch.setattr(rig.directory, "get", broken)
            assert (await rig.refused()).code == 500
        await rig.answered("sess_2")
        assert any(line["event"] == "call_failed" for line in rig.log())

    run(tmp_path, story)


def test_the_rtp_process_dies_while_a_leg_opens(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.rtp.holds_back = True
        dialog = rig.sip.invite()
        await until(lambda: rig.rtp.of(control.OpenLeg))
        rig.rtp.channel.close()
        await until(lambda: rig.sip.of(sip.Reject, dialog))
        assert rig.sip.of(sip.Reject, dialog)[0].code == 503

    run(tmp_path, story)


def test_every_line_of_a_call_says_which_one(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        await rig.answered()
        rig.rtp.channel.send(control.StrangerSeen(0, rig.rtp.generation, "203.0.113.9", 4000))
        rig.rtp.channel.send(control.RemoteChanged(0, rig.rtp.generation, "192.0.2.7", 4002))
        await until(lambda: any(line["event"] == "rtp_source_changed" for line in rig.log()))
        lines = {line["event"]: line for line in rig.log()}
        for event in ("rtp_stranger", "rtp_source_changed"):
            assert lines[event]["sip_call_id"] == "sip-1"
            assert lines[event]["session_id"] == "sess_1"
            assert lines[event]["call_id"].startswith("call_")

    run(tmp_path, story)


def test_speech_is_told(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        await rig.answered()
        for speaking in (True, False):
            rig.rtp.channel.send(control.SpeechChanged(0, rig.rtp.generation, speaking, 40))
        peer = rig.peer()
        await until(lambda: len(peer.received) == 3)
        assert [m["type"] for m in peer.messages[1:]] == ["speech.started", "speech.stopped"]

    run(tmp_path, story)


def test_digits_that_can_not_be_sent_are_answered(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        await rig.answered()
        peer = rig.peer()
        peer.say({"type": "dtmf.send", "target": "customer", "digits": "xyz"})
        await until(lambda: len(peer.received) == 2)
        assert peer.messages[1]["code"] == "dtmf_failed"

    run(tmp_path, story)
