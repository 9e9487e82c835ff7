"""What the controller tells about itself: gauges and counters each second, calls and readiness when asked.

Owns the translation of running totals into the metrics table. Refuses to know how calls work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gateway.calls import record
from gateway.calls.call import State
from gateway.calls.runner import Runner
from gateway.calls.session import LiveSession
from gateway.channel import Channel
from gateway.ops.metrics import Metrics
from gateway.stream.playout import OCTETS_PER_MS
from gateway.stream.pump import Totals
from rtp.engine import Leg
from rtp.plane import Plane


class StreamReport:
    """Stream totals as metrics: what has been counted since the last time is added."""

    def __init__(self, metrics: Metrics, totals: Totals) -> None:
        self._metrics = metrics
        self._totals = totals
        self._last = dict(vars(totals))

    def each_second(self, sessions: Collection[LiveSession]) -> None:
        m = self._metrics
        now = dict(vars(self._totals))
        grown = {name: value - self._last[name] for name, value in now.items()}
        self._last = now
        m.stream_frames_sent.inc(grown["frames_sent"])
        m.stream_frames_received.inc(grown["frames_received"])
        m.stream_messages["audio.output"].inc(grown["frames_received"])
        m.stream_audio_received.inc(grown["audio_received"] / OCTETS_PER_MS / 1000)
        m.stream_frames_replayed.inc(grown["frames_replayed"])
        m.stream_dropped["uplink_overrun"].inc(grown["frames_overrun"])
        m.stream_dropped["queue_full"].inc(grown["frames_dropped"])
        m.stream_bytes["sent"].inc(grown["octets_sent"])
        m.stream_bytes["received"].inc(grown["octets_received"])
        m.sessions_active.set(len(sessions))
        m.streams_open.set(sum(session.client.is_open for session in sessions))
        m.stream_queue.set(sum(session.client.queued_octets for session in sessions))
        m.playout_queue.set(sum(session.queued_ms() for session in sessions) / 1000)


def channels(metrics: Metrics, **open_channels: Channel[Any] | None) -> None:
    """How far behind the other processes are. Each second, by their names; None: away."""
    for name, channel in open_channels.items():
        if channel is not None:
            metrics.channel_backlog[name].set(channel.backlog)
            metrics.channel_refused.absorb({name: channel.refused})


class Finished:
    """Takes calls that are over: counts them, says so in the log, writes the record.

    path: of the file, None for the log alone. wall: Unix seconds; the calls' own times are the event loop's.
    """

    def __init__(self, metrics: Metrics, path: Path | None, wall: Callable[[], float]) -> None:
        self._metrics = metrics
        self.path = path
        self._wall = wall

    def take(self, runner: Runner, now: float) -> None:
        call = runner.call
        self._metrics.calls_ended[call.outcome].inc()
        if call.answered is not None and call.ended is not None:
            self._metrics.calls_end_reason[call.end_reason].inc()
            self._metrics.call_duration.observe(call.ended - call.answered)
        offset = self._wall() - now
        ending = record.Ending(
            session_id=call.session_id,
            speaker=call.speaker,
            started=call.started + offset,
            answered=None if call.answered is None else call.answered + offset,
            ended=(now if call.ended is None else call.ended) + offset,
            outcome=call.outcome,
            end_reason=call.end_reason,
            sip_code=call.sip_code,
            codec="" if call.settled is None else call.settled.codec,
            unexpected=call.unexpected,
        )
        line = record.build(runner.identity, ending, runner.statistics)
        line["speech"] = runner.timings.summary()
        line["audio_faults"] = [finding.cause for finding in runner.diagnosis.findings]
        line["trace"] = f"/calls/{runner.call_id}/trace"
        if self.path is None:
            runner.log.info("call_over", record=line)
            return
        runner.log.info("call_over", outcome=call.outcome, end_reason=call.end_reason, seconds=line["duration_s"])
        try:
            record.write(self.path, line)
        except OSError as error:
            self._metrics.records_failed.inc()
            runner.log.error("call_record_not_written", error=str(error), record=line)


def levels(metrics: Metrics, runners: Collection[Runner], capacity: int) -> None:
    """How many calls there are, and of what kind. Each second."""
    metrics.calls_active.set(len(runners))
    metrics.calls_held.set(sum(runner.call.held for runner in runners))
    metrics.calls_capacity.set(capacity)


def describe(runners: Iterable[Runner], plane: Plane, now: float) -> list[dict[str, Any]]:
    """The live calls, for `/calls`."""
    return [_describe(runner, plane, now) for runner in runners if runner.call.state is not State.OVER]


def _describe(runner: Runner, plane: Plane, now: float) -> dict[str, Any]:
    call, who = runner.call, runner.identity
    shown: dict[str, Any] = {
        "call_id": who.call_id,
        "sip_call_id": who.sip_call_id,
        "session_id": call.session_id or None,
        "direction": who.direction,
        "from": who.from_uri,
        "to": who.to_uri,
        "source": who.source,
        "state": call.state.value,
        "speaker": call.speaker or None,
        "held": call.held,
        "seconds": round(now - (call.started if call.answered is None else call.answered), 1),
        "codec": None if call.settled is None else call.settled.codec,
        "faults": [finding._asdict() for finding in runner.diagnosis.findings],
        "speech": runner.timings.summary(),
        "media": None,
    }
    row = row_of(runner.leg, plane)
    if row is not None:
        shown["media"] = {name: _plain(row[name].item()) for name in _SHOWN}
    return shown


def row_of(leg: Leg | None, plane: Plane) -> np.void | None:
    """The leg's row of `STATS`; None when there is no leg, or the row is somebody else's by now."""
    if leg is None:
        return None
    row: np.void = plane.stats[leg.row]
    return row if int(row["generation"]) == leg.generation else None


#: Of `rtp.plane.STATS`, what an operator looks at while a call runs.
_SHOWN = (
    *("packets_received", "packets_sent", "packets_lost", "packets_late", "packets_stranger", "packets_bad"),
    *("frames_up", "frames_concealed", "underruns", "jitter_ms", "delay_ms", "drift_ppm"),
    *("level_in_db", "level_out_db"),
    *("remote_loss", "remote_jitter_ms", "rtt_ms", "r_factor", "mos", "burst_ratio", "mos_mean"),
)


def _plain(value: float) -> float:
    return round(value, 3) if isinstance(value, float) else value
