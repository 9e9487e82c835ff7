"""The dashboard and the alert rules ask only for what a daemon exports."""

from __future__ import annotations

import json

import pytest
import yaml

from gateway.ops.metrics import Metrics, SessionsMetrics, SpeechMetrics
from tests.support.promql import (
    DASHBOARD,
    ETC,
    RULES,
    dashboard_expressions,
    metric_names,
    rule_expressions,
    selectors,
    unanswered,
)


@pytest.fixture(scope="module")
def exposition() -> str:
    metrics = Metrics()
    metrics.build_info.labels("0", "3.11").set(1)
    metrics.trunk_registered.labels("pbx").set(1)
    speech = SpeechMetrics()
    speech.follow(lambda: {("recognition", "offline", "ok"): 1.0}, lambda: {("recognition", "offline"): 0.0})
    return (metrics.exposition() + SessionsMetrics().exposition() + speech.exposition()).decode()


def test_every_expression_of_the_dashboard_can_be_answered(exposition: str) -> None:
    assert len(dashboard_expressions()) > 50
    assert unanswered(dashboard_expressions(), exposition) == []


def test_every_alert_can_fire(exposition: str) -> None:
    assert len(rule_expressions()) >= 10
    assert unanswered(rule_expressions(), exposition) == []


@pytest.mark.parametrize(
    "expression",
    [
        "glotgate_no_such",
        'glotgate_calls_ended_total{result="ok"}',
        'glotgate_calls_ended_total{outcome=~"ok|fine"}',
        "sum by (result) (glotgate_calls_ended_total)",
        "sum(glotgate_calls_active",
    ],
)
def test_a_wrong_expression_is_found(expression: str, exposition: str) -> None:
    assert unanswered([expression], exposition)


def test_names_are_taken_out_of_an_expression() -> None:
    expression = 'sum by (le) (rate(glotgate_leg_mos_bucket{instance=~"$i", le="3.6"}[5m])) / glotgate_ready'
    assert metric_names([expression]) == {"glotgate_leg_mos_bucket", "glotgate_ready"}
    assert selectors(expression)[0].matchers == (("instance", "=~", "$i"), ("le", "=", "3.6"))


def test_the_dashboard_is_sound() -> None:
    board = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert places.setdefault((x, y), panel["title"]) == panel["title"], "panels overlap"
        assert panel["type"] == "row" or panel["targets"]
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows[:5] == ["Now", "Calls", "Quality", "Media loop", "Streams"]
    assert rows[5:] == ["Session service, embedded", "Speech, embedded", "Processes"]


def test_the_rules_are_sound() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "warn")
        assert {"summary", "description"} <= set(rule["annotations"])


def test_the_scrape_example_asks_the_default_address() -> None:
    scrape = yaml.safe_load((ETC / "prometheus" / "prometheus.yml").read_text())
    config = yaml.safe_load((ETC / "glotgate.yaml").read_text())
    assert scrape["scrape_configs"][0]["static_configs"][0]["targets"] == [config["admin"]["bind"]]
    assert scrape["rule_files"] == [RULES.name]
