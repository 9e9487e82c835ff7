"""What the dashboard and the alert rules ask of the metrics, and whether an exposition can answer it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from prometheus_client.parser import text_string_to_metric_families

ETC = Path(__file__).parent.parent.parent / "etc"
DASHBOARD = ETC / "grafana" / "glotgate.json"
RULES = ETC / "prometheus" / "glotgate.rules.yml"

#: Labels that Prometheus gives, not we.
OUTSIDE = {"instance", "job"}

_SELECTOR = re.compile(r"\b(glotgate_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\bby \(([^)]*)\)")


class Selector(NamedTuple):
    """A series that an expression reads. matchers: (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


def dashboard_expressions(path: Path = DASHBOARD) -> list[str]:
    """Every expression of a Grafana dashboard: panels, annotations, variables."""
    return list(_expressions(json.loads(path.read_text())))


def rule_expressions(path: Path = RULES) -> list[str]:
    """Every expression of a Prometheus rule file."""
    return [rule["expr"] for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def selectors(expression: str) -> list[Selector]:
    return [Selector(name, tuple(_MATCHER.findall(inner))) for name, inner in _SELECTOR.findall(expression)]


def metric_names(expressions: list[str]) -> set[str]:
    """The names of all series that the expressions read."""
    return {selector.name for expression in expressions for selector in selectors(expression)}


def series(exposition: str) -> dict[str, dict[str, set[str]]]:
    """Sample name → label → its values, of an exposition in the text format."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def unanswered(expressions: list[str], exposition: str, *, sometimes: Collection[str] = ()) -> list[str]:
    """What the expressions ask for and the exposition does not have: names, labels, values.

    sometimes: names that need not be there, for there may be nothing that they could show.
    """
    known = series(exposition)
    faults = []
    for expression in expressions:
        if metric_names([expression]) & {*sometimes}:
            continue
        if expression.count("(") != expression.count(")") or expression.count("{") != expression.count("}"):
            faults.append(f"unbalanced: {expression}")
        asked = selectors(expression)
        labels = {label for selector in asked for label in known.get(selector.name, {})}
        for selector in asked:
            faults += _faults(selector, known)
        for grouping in _GROUPING.findall(expression):
            unknown = {word.strip() for word in grouping.split(",")} - labels - OUTSIDE
            faults += [f"no label {label!r} in {expression}" for label in unknown if asked]
    return faults


def _faults(selector: Selector, known: dict[str, dict[str, set[str]]]) -> Iterator[str]:
    if selector.name not in known:
        yield f"no metric {selector.name}"
        return
    for label, operator, value in selector.matchers:
        if label in OUTSIDE:
            continue
        values = known[selector.name].get(label)
        if values is None:
            yield f"no label {label!r} in {selector.name}"
            continue
        wanted = value.split("|") if "~" in operator else [value]
        yield from (f"{selector.name} has no {label}={one!r}" for one in wanted if one not in values)


def _expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("expr", "query") and isinstance(inner, str):
                yield inner
            else:
                yield from _expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _expressions(inner)
