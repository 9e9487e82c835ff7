from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.config import Logging
from gateway.ops.logs import HIDDEN, MAX_VALUE, OncePerCall, Spaced, install, make_logger, redact
from rtp.control import Srtp


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_the_call_it_belongs_to() -> None:
    out = io.StringIO()
    log = make_logger(Logging(), "controller", out).bind(call_id="call_1", session_id="sess_1")
    log = log.bind(sip_call_id="a@b")
    log.info("answered", code=200)
    log.debug("not shown at info")
    (line,) = _lines(out)
    assert line["process"] == "controller"
    assert line["level"] == "info"
    assert line["event"] == "answered"
    assert line["code"] == 200
    assert (line["call_id"], line["session_id"], line["sip_call_id"]) == ("call_1", "sess_1", "a@b")
    assert line["time"].endswith("Z")


def test_the_level_is_the_configured_one() -> None:
    out = io.StringIO()
    log = make_logger(Logging(level="error"), "sip", out)
    log.warning("no")
    log.error("yes")
    assert [line["event"] for line in _lines(out)] == ["yes"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("token", "abc"),
        ("api_key", "abc"),
        ("Authorization", "Digest abc"),
        ("webhook_secret", "abc"),
        ("url", "wss://host/stream?token=abc&x=1"),
        ("message", "sent Bearer abc to it"),
        ("event", "key sk_live_abcdefgh refused"),
        ("event", "token kst_abcdefgh expired"),
        ("sdp", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abcdefgh|2^20|1:4"),
        ("database", "postgresql://user:abc@host/db"),
        ("headers", {"x-api_key": "abc", "list": [{"token": "abc"}]}),
        ("config", SecretStr("abc")),
        ("srtp", Srtp("AES_CM_128_HMAC_SHA1_80", b"abc", b"abc")),
    ],
)
def test_no_secret_reaches_a_line(key: str, value: object) -> None:
    for form in ("json", "console"):
        out = io.StringIO()
        log = make_logger(Logging(format=form), "sip", out)
        if key == "event":
            log.info(str(value))
        else:
            log.info("line", **{key: value})
        assert "abc" not in out.getvalue(), out.getvalue()
        assert out.getvalue().count("\n") == 1


def test_what_is_no_secret_stays() -> None:
    value = {
        "url": "https://h/p?x=1&y=2",
        "tokens": 3,
        "event": "monkey = banana",
        "sip": "sip:u@h:5060",
        "at": "http://127.0.0.1:8080/x",
    }
    assert redact(value) == value
    assert redact("x?token=a&b=1") == f"x?token={HIDDEN}&b=1"


@given(st.text(min_size=MAX_VALUE + 1, max_size=MAX_VALUE * 2))
def test_a_value_is_bounded(text: str) -> None:
    assert len(redact(text)) < MAX_VALUE + 40


def test_a_peer_can_not_draw_lines_of_its_own() -> None:
    for form in ("json", "console"):
        out = io.StringIO()
        make_logger(Logging(format=form), "sip", out).info("got", user="a\n2031 error fake\r\x1b[2J")
        assert out.getvalue().count("\n") == 1
        assert "\x1b[2J" not in out.getvalue()


def test_bytes_that_are_no_text_do_not_stop_a_line() -> None:
    out = io.StringIO()
    make_logger(Logging(), "sip", out).info("got", user=b"\xff\xfe".decode(errors="surrogateescape"))
    assert _lines(out)[0]["user"] == "\udcff\udcfe"


def test_an_exception_stands_in_its_line_without_local_variables() -> None:
    out = io.StringIO()
    log = make_logger(Logging(), "rtp", out)
    hidden_local = "do not show"
    try:
        raise RuntimeError(len(hidden_local))
    except RuntimeError:
        log.exception("failed")
    (line,) = _lines(out)
    assert "RuntimeError: 11" in line["exception"]
    assert "do not show" not in out.getvalue().replace('hidden_local = "do not show"', "")


@pytest.fixture
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_root_logger")
def test_libraries_speak_through_the_same_lines() -> None:
    out = io.StringIO()
    install(Logging(), "sessions", out)
    structlog.get_logger("ours").info("also", token="abc")
    logging.getLogger("somelib").warning("careful: %s", "Bearer abc")
    logging.getLogger("somelib").info("chatter")
    ours, line = _lines(out)
    assert (ours["event"], ours["process"], ours["token"]) == ("also", "sessions", HIDDEN)
    assert line["logger"] == "somelib"
    assert line["level"] == "warning"
    assert line["event"] == f"careful: Bearer {HIDDEN}"


def test_once_per_cause_and_call() -> None:
    left_out: list[None] = []
    once = OncePerCall(lambda: left_out.append(None))
    assert [once.first("bad_json", "c1") for _ in range(3)] == [True, False, False]
    assert once.first("bad_json", "c2")
    assert once.first("too_large", "c1")
    assert len(left_out) == 2
    assert once.end("c1") == {"bad_json": 3, "too_large": 1}
    assert once.end("c1") == {}
    assert once.first("bad_json", "c1")


@given(st.lists(st.tuples(st.text("ab", max_size=3), st.text("cd", max_size=4))))
def test_memory_is_bounded(events: list[tuple[str, str]]) -> None:
    once = OncePerCall(calls=3, causes=2)
    for cause, call in events:
        once.first(cause, call)
    assert len(once._calls) <= 3
    assert all(len(counts) <= 3 for counts in once._calls.values())


def test_a_spaced_line_says_how_many_it_stands_for() -> None:
    spaced = Spaced(interval_s=60, keys=2)
    assert [spaced.due("a", t) for t in (0, 1, 59.9, 60, 61, 120)] == [1, 0, 0, 3, 0, 2]
    for i in range(10):
        spaced.due(f"k{i}", 200)
    assert len(spaced._last) == 2
