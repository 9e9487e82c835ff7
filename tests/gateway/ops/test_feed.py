from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ops.feed import COUNTER_FIELDS, AgentFeed, LegTotals, LoopFeed, row_as_dict
from gateway.ops.metrics import Metrics
from gateway.sip.events import AgentCounters, AgentReady, RegistrationChanged
from gateway.trunks import Trunk
from rtp.control import LATENESS_BOUNDS_US, EngineReady, LoopCounters
from rtp.plane import STATS


def _stats(rows: int = 4) -> npt.NDArray[np.void]:
    return np.zeros(rows, STATS)


def _packets_in(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("glotgate_rtp_packets_total", {"direction": "in"})


def test_every_counter_field_is_in_the_row_and_is_counted() -> None:
    assert set(COUNTER_FIELDS) <= set(STATS.names or ())
    metrics = Metrics()
    stats = _stats(1)
    stats["generation"] = 1
    for i, name in enumerate(COUNTER_FIELDS, 1):
        stats[name] = i
    totals = LegTotals(metrics, 1)
    totals.observe(stats)
    totals.observe(stats)
    values = [target._value.get() for target in totals._targets]
    assert values == list(range(1, len(COUNTER_FIELDS) + 1))


@pytest.mark.parametrize("freed_before_closed_is_read", [True, False])
def test_a_closed_leg_is_counted_once(freed_before_closed_is_read: bool) -> None:
    metrics, stats = Metrics(), _stats()
    totals = LegTotals(metrics, 4)
    stats[2]["generation"], stats[2]["packets_received"] = 7, 100
    totals.observe(stats)
    if freed_before_closed_is_read:
        stats[2] = np.zeros((), STATS)
        totals.observe(stats)
    totals.closed(2, 7, {"packets_received": 130})
    stats[2] = np.zeros((), STATS)
    totals.observe(stats)
    assert _packets_in(metrics) == 130


def test_a_row_taken_again_before_the_old_leg_is_read_as_closed() -> None:
    metrics, stats = Metrics(), _stats()
    totals = LegTotals(metrics, 4)
    stats[0]["generation"], stats[0]["packets_received"] = 1, 50
    totals.observe(stats)
    stats[0]["generation"], stats[0]["packets_received"] = 2, 5
    totals.observe(stats)
    totals.closed(0, 1, {"packets_received": 60})
    stats[0]["packets_received"] = 9
    totals.observe(stats)
    assert _packets_in(metrics) == 60 + 9


def test_a_leg_too_short_to_be_observed_counts() -> None:
    metrics = Metrics()
    LegTotals(metrics, 4).closed(1, 3, {"packets_received": 12})
    assert _packets_in(metrics) == 12


def test_loss_that_is_made_good_does_not_take_back_what_was_counted() -> None:
    metrics, stats = Metrics(), _stats()
    totals = LegTotals(metrics, 4)
    stats[0]["generation"] = 1
    for lost in (0, 3, 1, -2, 4):
        stats[0]["packets_lost"] = lost
        totals.observe(stats)
    assert metrics.rtp_lost._value.get() == 4


def test_what_was_counted_stays_when_the_process_restarts() -> None:
    metrics, stats = Metrics(), _stats()
    totals = LegTotals(metrics, 4)
    stats[0]["generation"], stats[0]["packets_received"] = 1, 10
    totals.observe(stats)
    totals.restarted()
    stats[0]["packets_received"] = 3  # generation 1 again, in another life
    totals.observe(stats)
    assert _packets_in(metrics) == 13


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50), st.booleans()), max_size=60))
def test_the_sum_is_exact_whatever_comes_and_goes(steps: list[tuple[int, int, bool]]) -> None:
    """Legs gain packets and close in any order; the sum is what they all received."""
    metrics, stats = Metrics(), _stats()
    totals, expected, generation = LegTotals(metrics, 4), 0, 0
    for row, gain, close in steps:
        if stats[row]["generation"] == 0:
            generation += 1
            stats[row]["generation"] = generation
        stats[row]["packets_received"] += np.uint64(gain)
        expected += gain
        if close:
            final = row_as_dict(stats[row])
            stats[row] = np.zeros((), STATS)
            totals.closed(row, int(final["generation"]), final)
        totals.observe(stats)
    assert _packets_in(metrics) == expected


def test_quality_of_a_leg_is_in_base_units_and_unknowns_are_left_out() -> None:
    metrics = Metrics()
    totals = LegTotals(metrics, 4)
    totals.closed(0, 1, {"packets_received": 0, "mos_mean": 4.0})  # never received: no quality
    totals.closed(
        1,
        2,
        {
            "packets_received": 90,
            "packets_expected": 100,
            "packets_lost": 10,
            "frames_up": 100,
            "frames_concealed": 5,
            "jitter_ms": 4.0,
            "delay_mean_ms": 50.0,
            "mos_mean": 4.35,
            "r_mean": 0.0,
            "rtt_ms": 0.0,
        },
    )
    get = metrics.registry.get_sample_value
    assert get("glotgate_leg_mos_count") == 1
    assert get("glotgate_leg_r_factor_count") == 0
    assert get("glotgate_leg_round_trip_seconds_count") == 0
    assert get("glotgate_leg_jitter_seconds_sum") == pytest.approx(0.004)
    assert get("glotgate_leg_playout_delay_seconds_sum") == pytest.approx(0.05)
    assert get("glotgate_leg_loss_ratio_sum") == pytest.approx(0.1)
    assert get("glotgate_leg_concealed_ratio_sum") == pytest.approx(0.05)


def _loop(slots: int, missed: int = 0, lateness: int = 0) -> LoopCounters:
    counts = [lateness] + [0] * len(LATENESS_BOUNDS_US)
    return LoopCounters(3, slots, missed, {"too_short": missed}, counts, 0.1, counts, 0.2, 10, 2)


def test_loop_counters_survive_a_restart() -> None:
    metrics = Metrics()
    feed = LoopFeed(metrics)
    feed.ready(EngineReady("fifo", ["no memory lock"]))
    assert feed.notes == ["no memory lock"]
    feed.absorb(_loop(500, 4, 9))
    feed.restarted()
    assert metrics.rtp_legs._value.get() == 0
    feed.absorb(_loop(600, 5, 10))
    get = metrics.registry.get_sample_value
    assert get("glotgate_rtp_slots_total") == 1100
    assert get("glotgate_rtp_slots_missed_total") == 9
    assert get("glotgate_rtp_packets_rejected_total", {"reason": "too_short"}) == 9
    assert get("glotgate_rtp_slot_lateness_seconds_count") == 19
    assert get("glotgate_rtp_port_pairs", {"state": "quarantined"}) == 2
    assert get("glotgate_realtime_fifo") == 1
    assert get("glotgate_realtime_notes") == 1


def test_agent_counters_survive_a_restart() -> None:
    metrics = Metrics()
    feed = AgentFeed(metrics)
    feed.ready(AgentReady(["udp 127.0.0.1:5060"], "2.17", 4096, True))
    feed.absorb(AgentCounters({"invites": 5, "refused": 2}, dialogs=3))
    feed.absorb(AgentCounters({"invites": 6, "refused": 2}, dialogs=1))
    feed.restarted()
    feed.absorb(AgentCounters({"invites": 6, "refused": 0}, dialogs=0))
    get = metrics.registry.get_sample_value
    assert get("glotgate_sip_agent_events_total", {"event": "invites"}) == 12
    assert get("glotgate_sip_agent_events_total", {"event": "refused"}) == 2
    assert get("glotgate_sip_stack_fit_for_network") == 1
    assert get("glotgate_sip_stack_max_calls") == 4096
    assert get("glotgate_sip_dialogs") == 0


def test_registrations_are_a_gauge_from_the_start_and_gone_with_their_process() -> None:
    metrics = Metrics()
    office = Trunk.model_validate({"name": "office", "outbound": {"host": "192.0.2.1"}, "registration": {}})
    feed = AgentFeed(metrics, (office, Trunk(name="in", allow=("10.0.0.0/8",))))

    def shown() -> float | None:
        return metrics.registry.get_sample_value("glotgate_trunk_registered", {"trunk": "office"})

    assert shown() == 0
    feed.registration(RegistrationChanged("office", "registered", 200, "OK", 300))
    assert shown() == 1
    feed.restarted()
    assert (shown(), feed.registrations["office"].state) == (0, "off")
    assert metrics.registry.get_sample_value("glotgate_trunk_registered", {"trunk": "in"}) is None


def test_registrations_follow_the_trunks_of_a_reload() -> None:
    metrics = Metrics()

    def trunk(name: str) -> Trunk:
        return Trunk.model_validate({"name": name, "outbound": {"host": "192.0.2.1"}, "registration": {}})

    def shown(name: str) -> float | None:
        return metrics.registry.get_sample_value("glotgate_trunk_registered", {"trunk": name})

    feed = AgentFeed(metrics, (trunk("stays"), trunk("goes")))
    for name in ("stays", "goes"):
        feed.registration(RegistrationChanged(name, "registered", 200, "OK", 300))
    feed.reconfigure((trunk("stays"), trunk("comes")))
    feed.registration(RegistrationChanged("goes", "registered", 200, "OK", 300))  # it was under way
    assert [shown(name) for name in ("stays", "goes", "comes")] == [1, None, 0]
    assert set(feed.registrations) == {"stays", "comes"}
