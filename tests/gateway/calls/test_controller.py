"""Calls between stand-ins for every process: set-up, audio, endings, losses, drain."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Fault
from gateway.sip import events as sip
from rtp import control
from tests.support.controller_rig import OFFER, ControllerRig, RtpSide, SipSide, controller_rig
from tests.support.stream_server import Peer, until

Story = Callable[[ControllerRig], Coroutine[Any, Any, None]]


def run(tmp_path: Path, story: Story, config: dict[str, Any] | None = None) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path, config) as rig:
            await story(rig)

    asyncio.run(main())


def output(audio: bytes, target: str | None = None, speaker: str = "interpreter") -> dict[str, Any]:
    payload = {"encoding": "mulaw", "sample_rate_hz": 8000, "payload": base64.b64encode(audio).decode()}
    message = {"type": "audio.output", "speaker": speaker, "audio": payload}
    return message | ({"target": target} if target else {})


def kinds(peer: Peer) -> list[str]:
    return [message["type"] for message in peer.messages]


async def gone(rig: ControllerRig) -> None:
    await until(lambda: not rig.controller.calls() and not rig.rtp.legs)


def test_a_call_is_answered_when_its_session_is_ready_and_audio_flows(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        ring, accept = rig.sip.of(sip.Ring, dialog), rig.sip.of(sip.Accept, dialog)
        assert rig.sip.commands.index(ring[0]) < rig.sip.commands.index(accept[0])
        assert accept[0].headers == {"X-Session-ID": "sess_1"}
        assert "m=audio 16384 RTP/AVP 0 101" in accept[0].sdp
        assert "c=IN IP4 127.0.0.1" in accept[0].sdp
        await until(lambda: rig.rtp.of(control.ConfigureLeg))
        configured = rig.rtp.of(control.ConfigureLeg)[0]
        assert (configured.remote_address, configured.remote_port, configured.codec) == ("127.0.0.1", 40000, "PCMU")
        peer = rig.peer()
        spoken = rig.rtp.speak(0, rig.wakeup_fd, 3)
        await until(lambda: kinds(peer).count("audio.input") == 3)
        assert peer.messages[0]["type"] == "call.joined"
        assert peer.messages[0]["speaker"] == "customer"
        audio = [message for message in peer.messages if message["type"] == "audio.input"]
        assert [base64.b64decode(message["audio"]["payload"]) for message in audio] == spoken
        assert [message["sequence"] for message in audio] == [0, 1, 2]
        peer.say(output(b"translated", "customer"))
        await until(lambda: rig.plane.written[0] == 10)
        assert rig.rtp.hear(0, 100) == b"translated"
        rig.sip.ended(dialog)
        await until(lambda: "session.end" in kinds(peer))
        peer.say({"type": "session.ended", "session_id": "sess_1", "reason": "explicit_end"})
        await gone(rig)
        await until(rig.records)
        assert not rig.sip.of(sip.Hangup)
        record = rig.records()[0]
        assert record["outcome"] == "ok"
        assert record["end_reason"] == "peer_bye"
        assert record["session_id"] == "sess_1"
        assert record["speaker"] == "customer"
        assert record["sip_call_id"] == "sip-1"
        assert record["media"]["packets_received"] == 7
        assert record["quality"]["mos"] == 4.4
        assert rig.value("calls_ended_total", outcome="ok") == 1
        assert rig.value("calls_end_reason_total", reason="peer_bye") == 1
        assert rig.directory.ended == []

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("fault", "code", "retry"),
    [
        (Fault.SESSION_NOT_FOUND, 404, None),
        (Fault.SESSION_ENDED, 410, None),
        (Fault.NO_CREDITS, 402, None),
        (Fault.ORGANIZATION_INACTIVE, 402, None),
        (Fault.SERVICE_UNAVAILABLE, 503, "5"),
        (Fault.RATE_LIMITED, 503, "5"),
    ],
)
def test_what_the_directory_says_is_told_to_the_caller(
    tmp_path: Path, fault: Fault, code: int, retry: str | None
) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.directory.refusals["sess_1"] = fault
        refusal = await rig.refused()
        assert (refusal.code, refusal.headers.get("Retry-After")) == (code, retry)
        await gone(rig)
        await until(rig.records)
        assert rig.records()[0]["outcome"] == fault.label
        assert rig.value("calls_ended_total", outcome=fault.label) == 1
        assert rig.value("sip_responses_total", code=str(fault.value.sip)) == 1

    run(tmp_path, story)


@pytest.mark.parametrize("user", ["1234", "sess_", "sess_%20", "x" * 300])
def test_a_number_that_nobody_knows(tmp_path: Path, user: str) -> None:
    async def story(rig: ControllerRig) -> None:
        assert (await rig.refused(user)).code == 404
        assert rig.directory.got == []

    run(tmp_path, story)


@pytest.mark.parametrize("offer", ["", "v=0", OFFER.replace("0 8 101", "9 18"), OFFER.replace("audio", "video")])
def test_an_offer_that_can_not_be_answered_asks_nobody(tmp_path: Path, offer: str) -> None:
    async def story(rig: ControllerRig) -> None:
        assert (await rig.refused(sdp=offer)).code == 488
        assert rig.directory.got == []
        assert rig.rtp.commands == []

    run(tmp_path, story)


def test_a_stream_that_is_not_ready_in_time(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.server.greets = False
        assert (await rig.refused()).code == 504
        await gone(rig)

    run(tmp_path, story, {"stream": {"ready_timeout_s": 0.2}})


@pytest.mark.parametrize(("status", "code"), [(404, 404), (409, 410)])
def test_a_stream_that_is_refused(tmp_path: Path, status: int, code: int) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.server.status = status
        assert (await rig.refused()).code == code
        await gone(rig)

    run(tmp_path, story)


@pytest.mark.parametrize("reason", ["capacity", "ports"])
def test_no_leg_is_503(tmp_path: Path, reason: str) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.rtp.refuse = reason
        refusal = await rig.refused()
        assert (refusal.code, refusal.headers) == (503, {"Retry-After": "5"})

    run(tmp_path, story)


def test_more_calls_than_fit_are_refused_at_the_door(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        assert rig.controller.capacity == 2
        await rig.answered("sess_1")
        await rig.answered("sess_2")
        assert (await rig.refused("sess_3")).code == 503
        assert rig.directory.got == ["sess_1", "sess_2"]

    run(tmp_path, story, {"media": {"capacity": 2}})


@pytest.mark.parametrize("moment", ["resolving", "leg", "stream"])
def test_cancel_ends_everything_at_every_point(tmp_path: Path, moment: str) -> None:
    async def story(rig: ControllerRig) -> None:
        if moment == "resolving":
            rig.directory.slow.clear()
        rig.rtp.holds_back = moment == "leg"
        rig.server.greets = moment != "stream"
        dialog = rig.sip.invite()
        await until(lambda: rig.directory.got)
        if moment == "leg":
            await until(lambda: rig.rtp.of(control.OpenLeg))
        if moment == "stream":
            await until(lambda: rig.server.peers and rig.rtp.legs)
        rig.sip.ended(dialog, "cancelled")
        await gone(rig)
        await until(rig.records)
        assert rig.records()[0]["outcome"] == "cancelled"
        assert rig.records()[0]["sip_code"] == 487
        assert not rig.sip.of(sip.Accept)
        rig.directory.slow.set()
        if moment == "stream":
            await until(lambda: rig.server.closes)
            assert rig.server.closes == [1000]

    run(tmp_path, story)


def test_session_ended_hangs_up(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        rig.peer().say({"type": "session.ended", "session_id": "sess_1", "reason": "timeout"})
        await until(lambda: rig.sip.of(sip.Hangup, dialog))
        assert rig.sip.of(sip.Hangup, dialog)[0].reason == 'Q.850;cause=16;text="timeout"'
        rig.sip.ended(dialog, "local")
        await gone(rig)
        await until(rig.records)
        assert rig.records()[0]["end_reason"] == "session_ended"

    run(tmp_path, story)


def test_a_session_that_does_not_answer_its_end_is_ended_in_the_directory(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.server.status = 0
        dialog = await rig.answered()
        rig.peer().transport.disconnect(False)
        rig.server.status = 503
        await until(lambda: rig.value("stream_closes_total", reason="error") == 1)
        rig.sip.ended(dialog)
        await until(lambda: rig.directory.ended)
        assert rig.directory.ended == [("sess_1", "peer_bye")]

    run(tmp_path, story)


def test_a_session_may_outlive_its_last_leg(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        peer = rig.peer()
        rig.sip.ended(dialog)
        await until(lambda: rig.server.closes)
        assert "call.left" in kinds(peer)
        assert "session.end" not in kinds(peer)
        assert rig.directory.ended == []

    run(tmp_path, story, {"sessions": {"on_last_leg": "keep"}})


def test_two_legs_share_a_session(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        first = await rig.answered()
        await rig.answered()
        third = await rig.answered(headers={"x-session-speaker": "supervisor"})
        assert len(rig.server.peers) == 1
        assert rig.directory.got == ["sess_1"]
        peer = rig.peer()
        await until(lambda: kinds(peer).count("call.joined") == 3)
        assert [m["speaker"] for m in peer.messages] == ["customer", "agent", "supervisor"]
        rig.rtp.speak(1, rig.wakeup_fd)
        await until(lambda: "audio.input" in kinds(peer))
        assert peer.messages[-1]["speaker"] == "agent"
        peer.say(output(b"to agent", "agent"))
        peer.say(output(b"to all but the agent", speaker="agent"))
        peer.say(output(b"to somebody in a browser", "browser"))
        await until(lambda: rig.value("stream_frames_dropped_total", reason="no_such_target") == 1)
        heard = [rig.rtp.hear(row, 1000) for row in range(3)]
        assert heard == [b"to all but the agent", b"to agent", b"to all but the agent"]
        gains = {c.row: c for c in rig.rtp.of(control.SetGains)}
        assert {row: [s[0] for s in c.sources] for row, c in gains.items()} == {0: [1, 2], 1: [0, 2], 2: [0, 1]}
        rig.sip.ended(first)
        await until(lambda: "call.left" in kinds(peer))
        assert "session.end" not in kinds(peer)
        rig.sip.ended(third)
        await until(lambda: kinds(peer).count("call.left") == 2)

    run(tmp_path, story)


def test_a_speaker_that_calls_again_goes_on_with_its_numbers(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        first = await rig.answered()
        await rig.answered()
        rig.rtp.speak(0, rig.wakeup_fd, 5)
        peer = rig.peer()
        await until(lambda: kinds(peer).count("audio.input") == 5)
        rig.sip.ended(first)
        await until(lambda: "call.left" in kinds(peer))
        await rig.answered()
        rig.rtp.speak(2, rig.wakeup_fd, 2)
        await until(lambda: kinds(peer).count("audio.input") == 7)
        audio = [m for m in peer.messages if m["type"] == "audio.input"]
        assert {m["speaker"] for m in audio} == {"customer"}
        assert [m["sequence"] for m in audio] == list(range(7))
        times = [m["timestamp_ms"] for m in audio]
        assert times == sorted(times)

    run(tmp_path, story)


def test_marks_clear_digits_transfer_and_hang_up(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        peer = rig.peer()
        peer.say(output(bytes(1600), "customer"))
        peer.say({"type": "mark", "name": "one", "target": "customer"})
        peer.say(output(bytes(1600), "customer"))
        peer.say({"type": "mark", "name": "two", "target": "customer"})
        await until(lambda: rig.plane.written[0] == 3200)
        rig.rtp.hear(0, 1680)
        await until(lambda: "mark.played" in kinds(peer))
        peer.say({"type": "audio.clear"})
        await until(lambda: rig.plane.flush_to[0] == 3200)
        rig.rtp.flush(0)
        await until(lambda: "audio.cleared" in kinds(peer))
        cleared = peer.messages[-1]
        assert cleared == {
            "type": "audio.cleared",
            "target": "customer",
            "played_ms": 210,
            "dropped_ms": 190,
            "marks": ["two"],
        }
        peer.say({"type": "dtmf.send", "target": "customer", "digits": "12x#"})
        await until(lambda: rig.rtp.of(control.SendDigits))
        assert rig.rtp.of(control.SendDigits)[0].digits == "12#"
        rig.rtp.channel.send(control.DigitReceived(0, rig.rtp.generation, "5", 120, 400))
        rig.sip.channel.send(sip.InfoReceived(dialog, "application/dtmf-relay", "Signal=7\r\nDuration=160"))
        await until(lambda: kinds(peer).count("dtmf") == 2)
        assert sorted(m["digit"] for m in peer.messages if m["type"] == "dtmf") == ["5", "7"]
        peer.say({"type": "dtmf.send", "target": "nobody", "digits": "1"})
        peer.say({"type": "call.transfer", "target": "customer", "to": "http://x"})
        await until(lambda: kinds(peer).count("call.error") == 2)
        peer.say({"type": "call.transfer", "target": "customer", "to": "sip:bob@pbx.example"})
        await until(lambda: rig.sip.of(sip.Refer))
        peer.say({"type": "call.hangup", "target": "customer", "reason": "done"})
        await until(lambda: rig.sip.of(sip.Hangup))
        assert rig.sip.of(sip.Hangup)[0].reason == 'Q.850;cause=16;text="done"'
        rig.sip.ended(dialog, "local")
        await gone(rig)
        await until(rig.records)
        assert rig.records()[0]["end_reason"] == "hangup"

    run(tmp_path, story)


def test_bad_stream_messages_cost_nothing_and_are_logged_once(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        await rig.answered()
        peer = rig.peer()
        for _ in range(5):
            peer.say(b"{")
        peer.say({"type": "nonsense"})
        peer.say(output(b"still here", "customer"))
        await until(lambda: rig.plane.written[0] == 10)
        assert rig.value("stream_bad_messages_total", cause="not_json") == 5
        assert rig.value("stream_bad_messages_total", cause="unknown_type") == 1
        assert len([line for line in rig.log() if line["event"] == "stream_message_refused"]) == 2

    run(tmp_path, story)


def test_hold_resume_and_a_new_address(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        peer = rig.peer()
        rig.sip.channel.send(sip.Reinvited(dialog, OFFER + "a=sendonly\r\n"))
        await until(lambda: len(rig.sip.of(sip.Accept, dialog)) == 2)
        assert "a=recvonly" in rig.sip.of(sip.Accept, dialog)[1].sdp
        await until(lambda: "call.held" in kinds(peer))
        assert rig.rtp.of(control.ConfigureLeg)[-1].send is False
        rig.sip.channel.send(sip.Reinvited(dialog, OFFER.replace("40000", "40002").replace("0 8", "8 0")))
        await until(lambda: "call.resumed" in kinds(peer))
        await until(lambda: len(rig.rtp.of(control.ConfigureLeg)) == 3)
        configured = rig.rtp.of(control.ConfigureLeg)[-1]
        assert (configured.remote_port, configured.send) == (40002, True)
        rig.sip.channel.send(sip.Reinvited(dialog, OFFER.replace("0 8 101", "9")))
        await until(lambda: rig.sip.of(sip.Reject, dialog))
        assert rig.sip.of(sip.Reject, dialog)[0].code == 488
        assert len(rig.controller.calls()) == 1

    run(tmp_path, story)


def test_an_invite_without_an_offer(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = rig.sip.invite(sdp=None)
        await until(lambda: rig.sip.of(sip.Accept, dialog))
        assert "m=audio 16384 RTP/AVP 0 8" in rig.sip.of(sip.Accept, dialog)[0].sdp
        assert rig.rtp.of(control.ConfigureLeg) == []
        answer = OFFER.replace("0 8 101", "8").replace("a=rtpmap:101 telephone-event/8000\r\n", "")
        rig.sip.channel.send(sip.Acknowledged(dialog, answer))
        await until(lambda: rig.rtp.of(control.ConfigureLeg))
        assert rig.rtp.of(control.ConfigureLeg)[0].codec == "PCMA"

    run(tmp_path, story)


def test_a_lost_stream_comes_back_without_a_gap(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        await rig.answered()
        said = rig.rtp.speak(0, rig.wakeup_fd, 5)
        first = rig.peer()
        await until(lambda: kinds(first).count("audio.input") == 5)
        first.transport.disconnect(False)
        await until(lambda: rig.value("stream_closes_total", reason="error") == 1)
        said += rig.rtp.speak(0, rig.wakeup_fd, 5)
        await until(lambda: len(rig.server.peers) == 2)
        second = rig.peer()
        await until(lambda: second.messages and second.messages[-1].get("sequence") == 9)
        frames = [m for m in second.messages if m["type"] == "audio.input"]
        # The first five may have been under way; their numbers say so.
        begin = frames[0]["timestamp_ms"]
        assert [(m["sequence"], m["timestamp_ms"] - begin) for m in frames] == [(n, 20 * n) for n in range(10)]
        assert [base64.b64decode(m["audio"]["payload"]) for m in frames] == said
        assert "call.joined" not in kinds(second)

    run(tmp_path, story, {"stream": {"reconnect": {"first_ms": 10, "max_ms": 20}}})


def test_a_stream_lost_for_good_ends_the_call(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        rig.server.status = 503
        rig.peer().transport.disconnect(False)
        await until(lambda: rig.sip.of(sip.Hangup, dialog))
        rig.sip.ended(dialog, "local")
        await gone(rig)
        await until(rig.records)
        assert rig.records()[0]["end_reason"] == "stream_lost"

    run(tmp_path, story, {"stream": {"reconnect": {"first_ms": 10, "max_ms": 20, "give_up_s": 0}}})


def test_a_lost_sip_process_costs_no_audio(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        await rig.answered()
        rig.sip.channel.close()
        await until(lambda: "the sip process is not ready" in rig.controller.not_ready())
        peer = rig.peer()
        rig.rtp.speak(0, rig.wakeup_fd, 3)
        await until(lambda: kinds(peer).count("audio.input") == 3)
        peer.say(output(b"and back", "customer"))
        await until(lambda: rig.plane.written[0] == 8)
        rig.sip = SipSide()
        rig.controller.attach_sip(rig.sip.end)
        rig.sip.ready()
        await rig.answered("sess_2")
        assert len(rig.controller.calls()) == 2

    run(tmp_path, story)


def test_a_call_without_signalling_ends_when_its_rtp_does(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        await rig.answered()
        rig.controller.sip_lost()
        await gone(rig)
        await until(rig.records)
        assert rig.records()[0]["end_reason"] == "sip_lost"

    run(tmp_path, story, {"media": {"no_rtp_timeout_s": 1}})


def test_a_lost_rtp_process_costs_a_moment_of_audio(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        peer = rig.peer()
        rig.rtp.speak(0, rig.wakeup_fd, 3)
        await until(lambda: kinds(peer).count("audio.input") == 3)
        rig.rtp.channel.close()
        await until(lambda: "the rtp process is not ready" in rig.controller.not_ready())
        rig.rtp.task.cancel()
        rig.rtp = RtpSide(rig.plane, 8)
        rig.rtp.free.reverse()
        rig.controller.attach_rtp(rig.rtp.end)
        rig.rtp.ready()
        await until(lambda: rig.rtp.of(control.ConfigureLeg))
        assert rig.rtp.of(control.OpenLeg)[0].rtp_port == 16384
        assert rig.rtp.of(control.ConfigureLeg)[0].remote_port == 40000
        rig.rtp.speak(7, rig.wakeup_fd, 2)
        await until(lambda: kinds(peer).count("audio.input") == 5)
        assert [m["sequence"] for m in peer.messages if m["type"] == "audio.input"] == list(range(5))
        assert kinds(peer).count("call.joined") == 1
        peer.say(output(b"and back", "customer"))
        await until(lambda: rig.plane.written[7] == 8)
        assert not rig.sip.of(sip.Hangup, dialog)

    run(tmp_path, story)


def test_no_rtp_ends_the_call(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        await until(lambda: rig.sip.of(sip.Hangup, dialog))
        rig.sip.ended(dialog, "local")
        await gone(rig)
        await until(rig.records)
        assert rig.records()[0]["end_reason"] == "no_rtp"

    run(tmp_path, story, {"media": {"no_rtp_timeout_s": 1}})


def test_draining_lets_calls_end_and_takes_no_new_ones(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        draining = asyncio.create_task(rig.controller.drain(60))
        await until(lambda: rig.controller.not_ready() == ["draining"])
        refusal = await rig.refused("sess_2")
        assert (refusal.code, refusal.headers) == (503, {"Retry-After": "5"})
        await until(lambda: any(not c.ready for c in rig.sip.of(sip.SetReadiness)))
        assert not draining.done()
        rig.sip.ended(dialog)
        async with asyncio.timeout(10):
            await draining

    run(tmp_path, story)


def test_draining_ends_what_does_not_end(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        answered = await rig.answered()
        rig.server.greets = False
        ringing = rig.sip.invite("sess_2")
        await until(lambda: len(rig.rtp.legs) == 2)
        draining = asyncio.create_task(rig.controller.drain(0))
        await until(lambda: rig.sip.of(sip.Hangup, answered) and rig.sip.of(sip.Reject, ringing))
        assert rig.sip.of(sip.Reject, ringing)[0].code == 503
        rig.sip.ended(answered, "local")
        rig.sip.ended(ringing, "rejected")
        async with asyncio.timeout(10):
            await draining
        assert {record["outcome"] for record in rig.records()} == {"ok", "draining"}

    run(tmp_path, story)


def test_a_route_creates_a_session(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        await rig.answered("4711", headers={"x-session-metadata-queue": "sales"})
        assert rig.directory.created[0]["mode"] == "help_chat_voice"
        assert rig.directory.created[0]["metadata"] == {"queue": "sales"}
        assert rig.controller.calls()[0]["session_id"] == "sess_new1"
        assert (await rig.refused("4812")).code == 404

    run(tmp_path, story, {"routes": [{"name": "sales", "user": "47..", "mode": "help_chat_voice"}]})


def test_live_calls_are_shown(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        await rig.answered()
        shown = rig.controller.calls()[0]
        assert (shown["state"], shown["speaker"], shown["codec"]) == ("active", "customer", "PCMU")
        assert shown["media"]["packets_received"] == 0
        await until(lambda: rig.value("calls_active") == 1)
        await until(lambda: rig.value("streams_open") == 1)
        assert "kst_" not in str(shown)
        assert "kst_" not in rig.lines.getvalue()

    run(tmp_path, story)


def test_calls_on_hold_are_a_gauge_and_are_shown(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        dialog = await rig.answered()
        await rig.answered("sess_2")
        await until(lambda: (rig.value("calls_active"), rig.value("calls_held")) == (2, 0))
        rig.sip.channel.send(sip.Reinvited(dialog, OFFER + "a=sendonly\r\n"))
        await until(lambda: rig.value("calls_held") == 1)
        assert [call["held"] for call in rig.controller.calls()] == [True, False]
        rig.sip.channel.send(sip.Reinvited(dialog, OFFER))
        await until(lambda: rig.value("calls_held") == 0)

    run(tmp_path, story)


def test_a_session_service_that_is_away_shows_in_readiness(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.directory.refusals["sess_1"] = Fault.SERVICE_UNAVAILABLE
        await rig.refused()
        assert rig.controller.not_ready() == ["the session service does not answer"]
        await rig.answered("sess_2")
        assert rig.controller.not_ready() == []

    run(tmp_path, story)


def test_a_small_sip_stack_limits_the_calls(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.sip.channel.send(sip.AgentReady([], "2.15.1", 1, False))
        await until(lambda: rig.controller.capacity == 1)
        assert rig.controller.notes()
        await rig.answered()
        assert (await rig.refused("sess_2")).code == 503

    run(tmp_path, story)


def test_events_of_dialogs_and_legs_that_are_gone_are_nothing(tmp_path: Path) -> None:
    async def story(rig: ControllerRig) -> None:
        rig.sip.channel.send(sip.Acknowledged(99))
        rig.sip.ended(98)
        rig.rtp.channel.send(control.DigitReceived(5, 77, "1", 100, 0))
        rig.rtp.channel.send(control.LegClosed(5, 77, 16394, {}))
        await rig.answered()
        assert len(rig.controller.calls()) == 1

    run(tmp_path, story)
