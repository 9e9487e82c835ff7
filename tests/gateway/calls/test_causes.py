from __future__ import annotations

import pytest

from gateway.calls.causes import _CAUSES, reason
from gateway.ops.labels import END_REASONS, OUTCOMES
from gateway.sip import headers


@pytest.mark.parametrize(
    ("why", "detail", "value"),
    [
        ("session_ended", "explicit_end", 'Q.850;cause=16;text="explicit_end"'),
        ("hangup", "", "Q.850;cause=16"),
        ("no_rtp", "no RTP", 'Q.850;cause=102;text="no RTP"'),
        ("draining", 'a "quoted\\" word', "Q.850;cause=41;text=\"a 'quoted' word\""),
        ("dial_failed", "408 no answer within 30 s", 'Q.850;cause=19;text="408 no answer within 30 s"'),
    ],
)
def test_what_a_pbx_is_told(why: str, detail: str, value: str) -> None:
    assert reason(why, detail) == value
    assert headers.reason(value) == value  # it goes through as it is


def test_the_table_knows_only_what_there_is() -> None:
    assert set(_CAUSES) <= {*END_REASONS, *OUTCOMES}
