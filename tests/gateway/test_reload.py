"""Which key is taken under running calls, key by key, and that a bad file changes nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from gateway import reload
from gateway.config import Config
from gateway.reload import KEYS, Effect, leaves, merge
from gateway.section import KeyPath, dotted
from gateway.trunks import Trunk
from tests.support.certificates import Authority

#: Not the value of any key; whether it would be a good one is not asked here.
OTHER = (Trunk(name="other", allow=("10.0.0.0/8",)),)


def _changed(section: Any, path: KeyPath) -> Any:
    """The section with another value for the key at the path."""
    name = str(path[0])
    value = OTHER if len(path) == 1 else _changed(getattr(section, name), path[1:])
    return section.model_copy(update={name: value})


@pytest.mark.parametrize("path", list(leaves(Config)), ids=dotted)
def test_every_key_is_taken_now_or_waits(path: KeyPath) -> None:
    fresh = _changed(Config(), path)
    merged, changes = merge(Config(), fresh)
    assert [(change.path, change.effect) for change in changes] == [(dotted(path), reload.effect(path))]
    assert merged == (fresh if reload.effect(path) is Effect.NOW else Config())


def test_every_line_of_the_table_is_about_a_key() -> None:
    known = {dotted(path[:length]) for path in leaves(Config) for length in range(1, len(path) + 1)}
    assert set(KEYS) <= known


def test_a_key_that_nobody_thought_of_is_a_defect() -> None:
    with pytest.raises(KeyError, match=r"telepathy\.range"):
        reload.effect(("telepathy", "range"))


def test_what_waits_keeps_its_value_beside_what_does_not() -> None:
    fresh = Config.model_validate({"media": {"capacity": 5, "symmetric": "on"}, "drain": {"timeout_s": 7}})
    merged, changes = merge(Config(), fresh)
    assert (merged.media.capacity, merged.media.symmetric, merged.drain.timeout_s) == (1000, "on", 7)
    assert {change.path: change.effect.value for change in changes} == {
        "media.capacity": "restart",
        "media.symmetric": "now",
        "drain.timeout_s": "now",
    }


def _trunks(*trunks: dict[str, Any]) -> Config:
    return Config.model_validate({"trunks": trunks})


def test_a_trunk_changes_whole_with_its_account() -> None:
    running = _trunks(
        {"name": "office", "allow": ["10.0.0.0/24"], "outbound": {"host": "10.0.0.5"}},
        {"name": "gone", "outbound": {"host": "10.0.0.7"}, "registration": {}},
    )
    fresh = _trunks(
        {
            "name": "office",
            "allow": ["10.0.1.0/24"],
            "outbound": {"host": "10.0.0.6"},
            "session_timer": {"mode": "off"},
        },
        {"name": "new", "outbound": {"host": "10.0.0.5"}, "registration": {}},
    )
    merged, changes = merge(running, fresh)
    assert [(change.path, change.effect.value) for change in changes] == [("trunks", "now")]
    assert merged.trunks == fresh.trunks


def test_nothing_new_is_no_change() -> None:
    config = _trunks({"name": "office", "allow": ["10.0.0.0/24"], "session_timer": {"mode": "off"}})
    assert merge(config, config) == (config, [])


def test_a_bad_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text("sip:\n  retry_after_s: never\n")
    read = reload.read(file, Config(), 0.0)
    assert read.config is None
    assert read.changes == []
    assert read.problems == [f"{file}:2: sip.retry_after_s: must be a whole number (it is 'never')"]


def test_a_certificate_that_can_not_be_used_is_a_problem_of_the_file(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("gw", days=-1)
    running = Config.model_validate(
        {
            "sip": {
                "bind": [{"transport": "tls", "address": "127.0.0.1:5061"}],
                "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
            }
        }
    )
    file = tmp_path / "g.yaml"
    file.write_text(
        "sip:\n  bind: [{transport: tls, address: 127.0.0.1:5061}]\n"
        f"  tls: {{certificate: {pair.certificate}, key: {pair.key}}}\n"
    )
    (problem,) = reload.read(file, running, time.time()).problems
    assert "sip.tls.certificate" in problem
    assert "has expired" in problem


def test_a_good_file_is_in_force(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text("logging: {level: debug}\nmedia: {capacity: 7}\n")
    read = reload.read(file, Config(), 0.0)
    assert read.config is not None
    assert (read.config.logging.level, read.config.media.capacity) == ("debug", 1000)
    assert (read.paths(Effect.NOW), read.paths(Effect.RESTART)) == (["logging.level"], ["media.capacity"])
