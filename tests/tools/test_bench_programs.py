"""The bench's own programs, against a gateway that spoils audio on purpose: what they count must be what was done."""

from __future__ import annotations

import asyncio
from typing import Any

from rig.bench import PREFIX, Program

from tests.support.wire_gateway import Spoil, WireGateway, faithful

Report = dict[str, Any]


def run(
    spoil: Spoil = faithful, *, calls: int = 4, seconds: float = 1.0, hold: float = 0.0, **kind: Any
) -> tuple[Report, Report]:
    """What the generator and the echo report of one run through a spoiling gateway."""

    async def course() -> tuple[Report, Report]:
        with Program("echo") as echo:
            port = echo.event("listening", 5)["port"]
            gateway = WireGateway(f"http://127.0.0.1:{port}", spoil, **kind)
            await gateway.start()
            arguments = f"--target 127.0.0.1:{gateway.port} --calls {calls} --rate 100 --seconds {seconds} --settle 0.5"
            with Program("load", *arguments.split(), "--hold", str(hold), "--prefix", PREFIX) as load:
                await asyncio.to_thread(load.event, "up", 40)
                if not hold:
                    window = await asyncio.to_thread(load.event, "window", 5)
                    echo.tell(f"window {window['from']} {window['to']}")
                heard = await asyncio.to_thread(load.event, "report", 30)
            echo.tell("report")
            return heard, echo.event("report", 5)

    return asyncio.run(course())


def test_a_faithful_gateway_loses_nothing_and_alters_nothing() -> None:
    heard, reached = run()
    assert heard["sent"] == 4 * 50
    assert reached["reached"] == reached["whole"] == heard["returned"] == heard["whole"] == heard["sent"]
    assert heard["foreign"] == reached["foreign"] == heard["repeated"] == reached["repeated"] == 0
    assert heard["up"] == heard["over"] == 4
    assert heard["resent"] == heard["answered_again"] == heard["failed"] == heard["ended_early"] == 0
    assert reached["rtp_to_stream"]["count"] == heard["round_trip"]["count"] == heard["sent"]
    assert 0 < reached["rtp_to_stream"]["p50"] <= heard["round_trip"]["p50"]


def test_frames_cut_beside_the_packet_borders_are_found_all_the_same() -> None:
    heard, reached = run(shift=37)
    assert reached["whole"] == heard["whole"] == heard["sent"]


def test_every_lost_frame_is_counted() -> None:
    heard, reached = run(lambda call, number, audio: None if number % 10 == 0 else audio)
    assert heard["sent"] - reached["reached"] == heard["sent"] // 10
    assert heard["returned"] == reached["reached"]


def test_a_call_that_falls_silent_has_lost_all_that_it_sent_since() -> None:
    heard, reached = run(lambda call, number, audio: None if call == 0 else audio)
    assert heard["sent"] - reached["reached"] == heard["sent"] // 4


def test_an_altered_byte_is_seen() -> None:
    def spoil(call: int, number: int, audio: bytes) -> bytes:
        return audio[:100] + bytes([audio[100] ^ 1]) + audio[101:] if number % 10 == 0 else audio

    heard, reached = run(spoil)
    assert reached["reached"] == heard["sent"]
    assert reached["reached"] - reached["whole"] == heard["sent"] // 10


def test_a_repeated_frame_is_not_counted_as_a_second_one() -> None:
    heard, reached = run(lambda call, number, audio: audio + audio if number % 10 == 0 else audio)
    assert reached["reached"] == heard["sent"]
    assert reached["repeated"] >= heard["sent"] // 10


def test_audio_of_another_call_is_no_return() -> None:
    last: dict[int, bytes] = {}

    def crossed(call: int, number: int, audio: bytes) -> bytes:
        last[call] = audio
        return last.get(1 - call, audio)

    heard, reached = run(crossed, calls=2)
    assert reached["foreign"] > heard["sent"] // 2


def test_a_refused_call_is_a_failure_with_its_status() -> None:
    heard, _ = run(refuse="503 Service Unavailable", hold=0.2)
    assert heard["failed"] == 4
    assert heard["refused"] == {"503": 4}


def test_an_invite_without_an_answer_is_sent_again_and_counted() -> None:
    heard, _ = run(deaf=2, hold=0.2)
    assert heard["up"] == 4
    assert heard["resent"] == 2
    assert heard["setup"]["max"] >= 500.0  # timer A of RFC 3261: what was ignored is repeated after T1


def test_a_held_call_ends_by_itself() -> None:
    heard, reached = run(hold=0.3)
    assert heard["up"] == heard["over"] == 4
    assert reached["streams"] == 4


def test_a_damaged_head_is_not_believed() -> None:
    """A number far ahead in a damaged packet must not make repeats of all that follow."""

    def spoil(call: int, number: int, audio: bytes) -> bytes:
        return audio[:6] + b"\xff\xff\xff\xff" + audio[10:20] + b"\x00" * 140 if number == 3 else audio

    heard, reached = run(spoil)
    assert reached["whole"] == heard["whole"] == heard["sent"]
    assert reached["repeated"] == 0
