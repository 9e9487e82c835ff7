"""gateway/sessions/schema.py: the bounds of the contract."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.sessions.schema import MODES, SessionCreate


def valid(**fields: Any) -> SessionCreate:
    return SessionCreate.model_validate({"mode": "help_chat_voice"} | fields)


@pytest.mark.parametrize("mode", MODES)
def test_modes(mode: str) -> None:
    assert valid(mode=mode, ai_agent={"system_prompt": "x"}).mode == mode


@pytest.mark.parametrize("language", ["en", "es-MX", "zh-Hans-CN", "yue"])
def test_languages(language: str) -> None:
    assert valid(source_language=language).source_language == language


@pytest.mark.parametrize("language", ["", "e", "english", "EN", "en_US", "en-", "en\n", "auto"])
def test_no_languages(language: str) -> None:
    with pytest.raises(ValidationError):
        valid(source_language=language)


def test_metadata_at_its_limits() -> None:
    assert len(valid(metadata={str(n): "ä" * 500 for n in range(50)}).metadata or {}) == 50


@pytest.mark.parametrize("number", ["+15551234567", "+49", "+999999999999999"])
def test_numbers(number: str) -> None:
    assert valid(routing={"phone_number": number})


@pytest.mark.parametrize("url", [
    "https://a.example/x?y=1", "http://127.0.0.1:65535", "http://a-b.c#x", "https://[::1]/", "http://[2001:db8::7]:8080",
    "https://[::ffff:192.0.2.1]", "https://[1:2:3:4:5:6:7:8]?q", "http://[::]", "http://[fe80::]/",
])  # fmt: skip
def test_urls(url: str) -> None:
    assert valid(webhook_url=url)


@pytest.mark.parametrize(
    "url",
    ["", "ftp://a", "https://", "https://a b", "https://user@host/", "https://[::1",
     "https://[:1:]/", "https://[1::2::3]", "https://[fe80::1%25eth0]/", "https://a:0", "https://a:65536",
     "https://-a/", "https://a/\n", "https://a\\@b/", "javascript:x"],
)  # fmt: skip
def test_no_urls(url: str) -> None:
    with pytest.raises(ValidationError):
        valid(webhook_url=url)
