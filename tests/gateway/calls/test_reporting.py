"""What the controller tells: metrics each second, finished calls, live calls."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.calls.reporting import StreamReport
from gateway.ops.metrics import Metrics
from gateway.stream.pump import Totals
from tests.support.controller_rig import controller_rig
from tests.support.stream_server import until


def test_totals_are_added_as_they_grow() -> None:
    metrics, totals = Metrics(), Totals()
    report = StreamReport(metrics, totals)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"glotgate_{name}", labels)

    for _ in range(2):
        totals.frames_sent += 50
        totals.frames_received += 10
        totals.audio_received += 8000
        totals.frames_overrun += 1
        totals.frames_dropped += 2
        totals.frames_replayed += 3
        totals.octets_sent += 1000
        report.each_second([])
    assert value("stream_frames_sent_total") == 100
    assert value("stream_frames_received_total") == 20
    assert value("stream_messages_received_total", type="audio.output") == 20
    assert value("stream_audio_received_seconds_total") == 2.0
    assert value("stream_frames_dropped_total", reason="uplink_overrun") == 2
    assert value("stream_frames_dropped_total", reason="queue_full") == 4
    assert value("stream_frames_replayed_total") == 6
    assert value("stream_bytes_total", direction="sent") == 2000
    assert value("streams_open") == 0


def test_a_record_that_can_not_be_written_is_counted_and_logged(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "calls.jsonl").mkdir()
        async with controller_rig(tmp_path) as rig:
            dialog = await rig.answered()
            rig.sip.ended(dialog)
            await until(lambda: not rig.controller.calls())
            assert rig.value("call_records_failed_total") == 1
            lost = [line for line in rig.log() if line["event"] == "call_record_not_written"]
            assert lost[0]["record"]["outcome"] == "ok"

    asyncio.run(main())


def test_a_call_that_is_being_set_up_is_shown_without_media(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            rig.directory.slow.clear()
            rig.sip.invite()
            await until(rig.controller.calls)
            shown = rig.controller.calls()[0]
            assert (shown["state"], shown["session_id"], shown["media"]) == ("resolving", None, None)
            rig.directory.slow.set()

    asyncio.run(main())
