from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.ops.metrics import Metrics, SessionsMetrics, SpeechMetrics
from gateway.ops.registry import Table

TABLES = [Metrics, SessionsMetrics, SpeechMetrics]
#: Words at the end of a metric's name that say its unit; other gauges are counts.
NOT_BASE = re.compile(r"_(ms|milliseconds|us|kb|kilobytes|mb|percent)(_total)?$")


@pytest.mark.parametrize("table", TABLES)
def test_names_units_and_help(table: type[Table]) -> None:
    for family in text_string_to_metric_families(table().exposition().decode()):
        assert family.name.startswith("glotgate_")
        assert not NOT_BASE.search(family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert family.type in ("counter", "gauge", "histogram")


@pytest.mark.parametrize("table", TABLES)
def test_every_counter_has_a_sample_at_zero(table: type[Table]) -> None:
    for family in text_string_to_metric_families(table().exposition().decode()):
        # Labelled once what runs is known, and which trunks of the configuration register
        if family.name in ("glotgate_build_info", "glotgate_trunk_registered"):
            continue
        assert family.samples, family.name
        assert all(sample.value == 0 for sample in family.samples), family.name


@pytest.mark.parametrize("table", TABLES)
def test_the_number_of_series_is_bounded(table: type[Table]) -> None:
    assert len(table().exposition().splitlines()) < 1000


def test_the_two_tables_have_no_name_in_common() -> None:
    names = [{f.name for f in text_string_to_metric_families(t().exposition().decode())} for t in TABLES]
    assert not names[0] & names[1]


def test_tables_do_not_share_state() -> None:
    a, b = Metrics(), Metrics()
    a.calls_ended["ok"].inc()
    assert b.registry.get_sample_value("glotgate_calls_ended_total", {"outcome": "ok"}) == 0
