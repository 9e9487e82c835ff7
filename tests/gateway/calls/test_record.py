"""The call record."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gateway.calls.record import Ending, Identity, build, write

WHO = Identity("call_1", "abc@pbx", "inbound", "sip:a@x", "sip:b@y", "192.0.2.1:5060", "udp", "")
HOW = Ending("sess_1", "customer", 1000.0, 1000.25, 1060.5, "ok", "peer_bye", 200, "PCMU", 0)


def test_a_call_that_was_answered() -> None:
    media = {
        "packets_lost": 3,
        "packets_expected": 300,
        "mos": 1.0,
        "mos_mean": 4.41234,
        "generation": 7,
        "frames_up": 0,
    }
    record = build(WHO, HOW, media)
    assert (record["call_id"], record["session_id"], record["source"]) == ("call_1", "sess_1", "192.0.2.1:5060")
    assert (record["setup_ms"], record["duration_s"]) == (250, 60.25)
    assert record["started_at"] == "1970-01-01T00:16:40.000Z"
    assert record["answered_at"] == "1970-01-01T00:16:40.250Z"
    assert record["quality"]["loss"] == 0.01
    assert record["quality"]["mos"] == 4.412
    assert record["quality"]["concealed"] is None
    assert "generation" not in record["media"]


def test_a_call_that_was_not() -> None:
    record = build(WHO, HOW._replace(answered=None, outcome="session_not_found", end_reason="", sip_code=404), {})
    assert (record["answered_at"], record["setup_ms"], record["duration_s"]) == (None, None, 0.0)
    assert record["outcome"] == "session_not_found"
    assert record["quality"]["mos"] is None
    assert record["media"] == {}


def test_lines_are_appended_and_others_may_not_read_them(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    write(path, build(WHO, HOW, {}))
    write(path, {"text": "a\nb"})
    lines = path.read_text().splitlines()
    assert [json.loads(line).get("text") for line in lines] == [None, "a\nb"]
    assert not stat.S_IMODE(path.stat().st_mode) & 0o007


def test_a_file_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        write(tmp_path, {})
