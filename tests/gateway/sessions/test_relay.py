"""gateway/sessions/relay.py"""

from __future__ import annotations

import pytest

from gateway.calls import mixing
from gateway.sessions import relay
from gateway.sessions.schema import MODES
from tests.gateway.sessions.test_live import FakePeer, Scene
from tests.support.session_service import audio_input


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("listener", ["customer", "agent", "participant-3"])
def test_streams_hear_what_legs_of_one_gateway_hear_at_full_level(mode: str, listener: str) -> None:
    assert relay.hears(mode, listener) == (mixing.original_gain(mode, listener, "off") == 1.0)


def scene(mode: str) -> tuple[Scene, FakePeer, FakePeer]:
    made = Scene()
    made.live.mode = mode
    phone, browser = made.join(), made.join()
    made.tell(phone, {"type": "call.joined", "speaker": "customer", "call_id": "call_1"})
    made.tell(browser, {"type": "call.joined", "speaker": "agent", "call_id": "call_2"})
    phone.sent.clear()
    browser.sent.clear()
    made.tell(phone, audio_input("customer", 7, b"\x55" * 160))
    made.tell(browser, audio_input("agent", 9, b"\x66" * 160))
    return made, phone, browser


def test_the_agent_hears_the_customer_and_the_customer_only_the_translation() -> None:
    made, phone, browser = scene("assistive_translation")
    (heard,) = browser.sent
    assert (heard["type"], heard["speaker"], heard["target"]) == ("audio.output", "customer", "agent")
    assert (heard["sequence"], heard["timestamp_ms"], heard["session_id"]) == (7, 140, made.live.id)
    assert heard["audio"] == audio_input("customer", 7, b"\x55" * 160)["audio"]
    assert phone.sent == []


def test_a_ducked_original_is_the_gateways() -> None:
    _, phone, browser = scene("bidirectional_translation")
    assert phone.sent == browser.sent == []


def test_a_human_who_took_over_and_the_caller_hear_each_other() -> None:
    _, phone, browser = scene("ai_agent")
    assert [message["speaker"] for message in phone.sent + browser.sent] == ["agent", "customer"]


def test_legs_of_one_stream_are_left_to_their_gateway() -> None:
    made = Scene()
    made.live.mode = "ai_agent"
    gateway = made.join()
    for speaker in ("customer", "agent"):
        made.tell(gateway, audio_input(speaker, 0, b"\x55" * 160))
    assert gateway.types() == ["session.ready"]
