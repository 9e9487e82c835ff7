from __future__ import annotations

import os

import pytest
from pydantic import BaseModel, SecretStr

from gateway.bootstrap import Start, for_role, read, write
from gateway.config import Config

KEY = "internal_hush"
CONFIG = Config.model_validate(
    {
        "admin": {"bind": "127.0.0.1:8080"},  # where a default session service would stand
        "media": {"original_gain_db": "off", "capacity": 7},
        "logging": {"call_records": "/tmp/x.jsonl"},
        "sessions": {
            "bind": "127.0.0.1:9000",
            "database": "postgresql://u:dbpass@h/d",
            "api_key": "sk_live_hush",
            "webhooks": {"secret": "whsec_hush"},
        },
        "trunks": [
            {
                "name": "pbx",
                "credentials": [{"username": "pbx", "password": "in_whisper"}],
                "outbound": {"host": "pbx.example", "username": "us", "password": "out_whisper"},
            }
        ],
    }
)


@pytest.mark.parametrize("role", ["controller", "sessions"])
def test_a_trusted_process_gets_all_of_it(role: str) -> None:
    assert read(write(Start(CONFIG, KEY), role)) == Start(CONFIG, KEY)


@pytest.mark.parametrize("role", ["sip", "rtp"])
def test_others_get_no_secret(role: str) -> None:
    fd = write(Start(CONFIG, KEY), role)
    text = os.pread(fd, 100_000, 0).decode()
    for secret in ("hush", "dbpass"):
        assert secret not in text
    start = read(fd)
    assert start.internal_key == ""
    assert (start.config.media, start.config.sip) == (CONFIG.media, CONFIG.sip)


def test_the_secrets_of_trunks_go_to_the_one_who_needs_them() -> None:
    sip, rtp = (os.pread(write(Start(CONFIG, KEY), role), 100_000, 0).decode() for role in ("sip", "rtp"))
    assert "in_whisper" in sip
    assert "out_whisper" in sip
    assert "whisper" not in rtp


def secrets_of(value: object) -> int:
    """How many secrets a configuration holds, wherever they stand."""
    if isinstance(value, SecretStr):
        return 1
    if isinstance(value, BaseModel):
        return sum(secrets_of(getattr(value, name)) for name in type(value).model_fields)
    if isinstance(value, dict):
        return sum(map(secrets_of, value.values()))
    return sum(map(secrets_of, value)) if isinstance(value, (list, tuple)) else 0


def test_no_section_with_secrets_is_forgotten() -> None:
    assert secrets_of(for_role(CONFIG, "sip")) == 2
    assert secrets_of(for_role(CONFIG, "rtp")) == 0
    assert secrets_of(CONFIG) == 4


def test_what_was_written_can_not_be_changed_and_is_not_shown() -> None:
    fd = write(Start(CONFIG, KEY), "controller")
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    assert KEY not in repr(read(fd))
