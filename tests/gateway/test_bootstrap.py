from __future__ import annotations

import os

import pytest

from gateway.bootstrap import Start, read, write
from gateway.config import Config

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
    }
)


@pytest.mark.parametrize("role", ["controller", "sessions"])
def test_a_trusted_process_gets_all_of_it(role: str) -> None:
    assert read(write(Start(CONFIG, "key"), role)) == Start(CONFIG, "key")


@pytest.mark.parametrize("role", ["sip", "rtp"])
def test_others_get_no_secret(role: str) -> None:
    fd = write(Start(CONFIG, "key"), role)
    text = os.pread(fd, 100_000, 0).decode()
    for secret in ("hush", "dbpass", '"key"'):
        assert secret not in text
    start = read(fd)
    assert start.internal_key == ""
    assert (start.config.media, start.config.sip) == (CONFIG.media, CONFIG.sip)


def test_what_was_written_can_not_be_changed_and_is_not_shown() -> None:
    fd = write(Start(CONFIG, "key"), "controller")
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    assert "key" not in repr(read(fd))
