from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from gateway.ops.totals import Levels, Totals


def test_what_is_kept_elsewhere_is_shown_as_it_is_now() -> None:
    registry, kept = CollectorRegistry(), {("a", "ok"): 0.0}
    registry.register(Totals("things", "So many.", ["who", "result"], lambda: kept))
    registry.register(Levels("height", "So high.", ["who", "result"], lambda: kept))
    kept["a", "ok"] = 3
    kept["b", "bad"] = 1
    lines = generate_latest(registry).decode().splitlines()
    assert 'things_total{result="ok",who="a"} 3.0' in lines or 'things_total{who="a",result="ok"} 3.0' in lines
    assert "# TYPE things_total counter" in lines
    assert "# TYPE height gauge" in lines
    assert any(line.startswith("height{") and line.endswith(" 1.0") for line in lines)
