"""Looks at every call once a second: is its peer still there, is its audio well.

A call whose leg is well is passed over; it has nothing to learn from a second that passed. The others are spread
over the turns that follow, so that a thousand of them do not keep anybody's frames waiting.

Owns whose turn it is. Refuses to know what a call makes of it: `call.py` has the limits, `diagnosis.py` the causes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

from gateway.calls import inputs
from gateway.calls.call import State
from gateway.calls.runner import Runner
from gateway.calls.survey import Survey
from gateway.ops.metrics import Metrics
from rtp.plane import Plane

#: Turns in a second, and how many calls are looked at in each at least.
TURNS: Final = 50
SHARE: Final = 32


class Watch:
    """`each_second`, and `turn` fifty times in between."""

    def __init__(self, plane: Plane, metrics: Metrics) -> None:
        self._plane = plane
        self._metrics = metrics
        self._survey = Survey(plane.capacity)
        self._unsure: Iterator[Runner] = iter(())
        self._share = SHARE

    def each_second(self, runners: Collection[Runner]) -> None:
        """A second has passed for all these calls."""
        self._survey.take(self._plane.stats)
        unsure = [runner for runner in runners if not self._is_well(runner)]
        self._unsure = iter(unsure)
        self._share = max(SHARE, -(-len(unsure) // TURNS))

    def turn(self) -> None:
        """Look at some of those that the last second left in doubt."""
        for runner in islice(self._unsure, self._share):
            runner.feed(inputs.Tick(self._last_packet(runner)))
            self._diagnose(runner)

    def _is_well(self, runner: Runner) -> bool:
        leg = runner.leg
        return leg is not None and self._survey.is_well(leg) and runner.call.state is State.ACTIVE

    def _last_packet(self, runner: Runner) -> float | None:
        """When the leg last accepted RTP, on the event loop's clock (both are CLOCK_MONOTONIC)."""
        if runner.leg is None:
            return None
        row = self._plane.stats[runner.leg.row]
        return int(row["last_packet_ns"]) / 1e9 if int(row["generation"]) == runner.leg.generation else None

    def _diagnose(self, runner: Runner) -> None:
        """Say what is wrong with the audio, once per cause."""
        second = None if runner.leg is None else self._survey.of(runner.leg)
        if second is None or runner.call.state is not State.ACTIVE:
            return
        finding = runner.diagnosis.look(*second, held=runner.call.held)
        if finding is not None:
            self._metrics.audio_faults[finding.cause].inc()
            runner.log.warning(finding.kind, cause=finding.cause, detail=finding.detail)
