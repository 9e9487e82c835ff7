"""gateway/speech/interpreters.py"""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import Fault, PeerFault
from gateway.speech.agent import Agent
from gateway.speech.engines.registry import Engines
from gateway.speech.interpreters import Interpreters
from gateway.speech.pipeline import Pipeline
from gateway.speech.settings import Speech
from gateway.speech.stages import Stage
from gateway.speech.terms import Terms
from tests.support.engines import PretendEngine
from tests.support.sinks import Measured, NotingSink


def interpreters(*engines: PretendEngine) -> Interpreters:
    names = [engine.name for engine in engines]
    choice = Engines({engine.name: engine for engine in engines}, dict.fromkeys(Stage, names))
    return Interpreters(Speech(), choice, lambda: 0.0, Measured())


def one_way() -> PretendEngine:
    return PretendEngine("one", hears={"en"}, pairs={("en", "es"), ("es", "en")}, speaks={"en", "es"})


def refusal(made: Interpreters, terms: Terms) -> PeerFault:
    with pytest.raises(PeerFault) as refused:
        made.check(terms)
    return refused.value


def test_one_direction_is_enough() -> None:
    made = interpreters(one_way())
    made.check(Terms("bidirectional_translation", "en", "es"))
    made.check(Terms("bidirectional_translation", "es", "en"))
    made.check(Terms("bidirectional_translation"))
    made.check(Terms("assistive_translation", "en", "en"))


@pytest.mark.parametrize(
    ("source", "target", "names"),
    [
        ("en", "fr", ["translation of en→fr", "recognition of fr"]),
        ("es", "fr", ["recognition of es", "recognition of fr"]),
    ],
)
def test_without_any_chain_the_missing_stages_are_named(source: str, target: str, names: list[str]) -> None:
    refused = refusal(interpreters(one_way()), Terms("bidirectional_translation", source, target))
    assert refused.fault is Fault.ENGINE_NOT_AVAILABLE
    assert all(name in refused.message for name in names)


def test_who_is_only_read_needs_no_voice() -> None:
    mute = PretendEngine("mute", hears={"en"}, pairs={("en", "es")})
    interpreters(mute).check(Terms("assistive_translation", "en", "es"))
    assert "synthesis of es" in refusal(interpreters(mute), Terms("bidirectional_translation", "en", "es")).message


def test_an_engine_without_room_is_503() -> None:
    engine = one_way()
    engine.is_full = True
    refused = refusal(interpreters(engine), Terms("bidirectional_translation", "en", "es"))
    assert refused.fault is Fault.SERVICE_UNAVAILABLE
    assert refused.retry_after_s


def test_an_agent_needs_somebody_who_thinks() -> None:
    assert "thinking" in refusal(interpreters(one_way()), Terms("ai_agent", "en")).message


def test_what_is_made_follows_the_mode() -> None:
    async def main() -> None:
        thinking = PretendEngine("thinking", hears={"en"}, speaks={"en"}, thinks={"*"})
        made = interpreters(one_way(), thinking)
        await made.start()
        assert thinking.started
        assert isinstance(made.make(Terms("bidirectional_translation", "en", "es"), NotingSink()), Pipeline)
        agent = {"ai_agent": {"system_prompt": "You are brief."}}
        assert isinstance(made.make(Terms("ai_agent", "en", options=agent), NotingSink()), Agent)
        await made.close()
        assert thinking.closed

    asyncio.run(main())


def test_the_detector_is_loaded_before_it_is_needed_and_only_where_it_is() -> None:
    async def scenario() -> None:
        made = interpreters(one_way())
        made.make(Terms("bidirectional_translation", "en", "es"), NotingSink())
        assert made._warming is None
        made.make(Terms("bidirectional_translation", "en"), NotingSink())
        assert made._warming is not None
        await made._warming
        assert made._detector._model is not None

    asyncio.run(scenario())
