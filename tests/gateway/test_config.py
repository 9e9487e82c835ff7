from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.config import Config, Jitter, PortRange


def test_a_configuration_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().media.capacity = 3  # type: ignore[misc]


def test_port_pairs() -> None:
    assert PortRange(first=16384, last=16384 + 2 * 10 - 1).pairs == 10
    assert PortRange(first=16384, last=16384 + 2 * 10).pairs == 10


def test_a_fixed_delay_is_one() -> None:
    assert Jitter(min_ms=40, start_ms=40, max_ms=40).max_ms == 40


def test_a_route_to_an_agent_describes_it() -> None:
    with pytest.raises(ValidationError, match="is needed with mode: ai_agent"):
        Config.model_validate({"routes": [{"name": "shop", "mode": "ai_agent"}]})
    agent = {"system_prompt": "Sell.", "tools": [{"name": "stock"}]}
    with pytest.raises(ValidationError, match="webhook"):
        Config.model_validate({"routes": [{"name": "shop", "mode": "ai_agent", "ai_agent": agent}]})
