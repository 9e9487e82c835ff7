"""The engine against the stand-in, over real HTTP. How long anything takes is not asserted here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.speech import mulaw
from gateway.speech.engine_settings import OpenAiEngine
from gateway.speech.engines.openai import OpenAi, build
from gateway.speech.stages import EngineFault, Heard, Message, Partial, Stage, Tool, ToolCall
from tests.support.openai_endpoint import KEY, StandIn

VOICE = mulaw.encode(np.random.default_rng(5).normal(0, 3000, 6400)).tobytes()
STAGES = {
    "recognition": {"model": "whisper-1"},
    "translation": {"model": "gpt-4o-mini", "temperature": 0.0},
    "synthesis": {"model": "tts-1", "voice": "alloy", "voices": {"es": "nova", "Ana": "shimmer"}},
    "thinking": {"model": "gpt-4o-mini"},
}


class Rig:
    def __init__(self, stand_in: StandIn, engine: OpenAi) -> None:
        self.stand_in = stand_in
        self.engine = engine
        self.partials: list[Partial] = []

    async def hear(self, language: str | None = "en") -> Heard:
        assert self.engine.recognizer is not None
        ear = self.engine.recognizer.listen(language, self.partials.append)
        ear.feed(VOICE)
        try:
            return await ear.end()
        finally:
            ear.close()

    async def translate(self, text: str = "good morning", **more: Any) -> list[str]:
        assert self.engine.translator is not None
        return [piece async for piece in self.engine.translator.translate(text, "en", "es-MX", **more)]

    async def speak(self, text: str = "hola", voice: str | None = None) -> bytes:
        assert self.engine.synthesizer is not None
        return b"".join([chunk async for chunk in self.engine.synthesizer.speak(text, "es-MX", voice=voice)])

    async def think(self, *messages: Message, tools: tuple[Tool, ...] = ()) -> list[str | ToolCall]:
        assert self.engine.thinker is not None
        return [piece async for piece in self.engine.thinker.think(messages, tools=tools)]


def story(test: Callable[[Rig], Awaitable[None]], without: str = "", **changes: Any) -> None:
    """changes: of the stages' sections. without: a stage that is not configured."""

    async def main() -> None:
        stages = {stage: section | changes.get(stage, {}) for stage, section in STAGES.items() if stage not in without}
        async with StandIn().run() as stand_in:
            values = {"kind": "openai", "base_url": stand_in.address, "api_key": KEY, **stages}
            engine = build("hosted", OpenAiEngine.model_validate(values))
            await engine.start()
            try:
                await test(Rig(stand_in, engine))
            finally:
                await engine.close()

    asyncio.run(main())


def test_a_turn_is_heard() -> None:
    async def test(rig: Rig) -> None:
        heard = await rig.hear()
        assert (heard.text, heard.language) == ("Good morning.", "en")
        assert 0.7 < heard.confidence < 0.8  # e to the −0.25
        (asked,) = rig.stand_in.of("transcription")
        assert asked.fields["model"] == "whisper-1"
        assert asked.fields["language"] == "en"
        assert asked.seconds == len(VOICE) / 8000

    story(test)


def test_the_language_is_found_out() -> None:
    async def test(rig: Rig) -> None:
        assert rig.engine.recognizer is not None
        assert rig.engine.recognizer.detects
        rig.stand_in.language = "spanish"
        assert (await rig.hear(None)).language == "es"
        assert "language" not in rig.stand_in.of("transcription")[0].fields
        rig.stand_in.language = "pt"
        assert (await rig.hear(None)).language == "pt"

    story(test)


def test_a_model_that_tells_text_only_is_understood() -> None:
    async def test(rig: Rig) -> None:
        rig.stand_in.verbose = False
        for _ in range(2):
            assert (await rig.hear()).text == "Good morning."
        assert rig.engine.recognizer is not None
        assert not rig.engine.recognizer.detects
        forms = [one.fields["response_format"] for one in rig.stand_in.of("transcription")]
        assert forms == ["verbose_json", "json", "json"]

    story(test)


def test_a_transcription_is_streamed_where_the_model_can() -> None:
    async def test(rig: Rig) -> None:
        assert rig.engine.recognizer is not None
        ear = rig.engine.recognizer.listen("en", rig.partials.append)
        ear.feed(VOICE)
        ear.pause()
        while not rig.partials or not rig.partials[-1].stable:  # noqa: ASYNC110  (the request is on the wire)
            await asyncio.sleep(0.001)
        assert [guess.text for guess in rig.partials] == ["Good", "Good morning.", "Good morning."]
        assert (await ear.end()).text == "Good morning."
        assert len(rig.stand_in.of("transcription")) == 1

    story(test, recognition={"stream": True})


def test_a_clause_is_translated() -> None:
    async def test(rig: Rig) -> None:
        pieces = await rig.translate("good morning to you", context=["Hello.", "It is me."])
        assert "".join(pieces) == "[good morning to you]"
        assert len(pieces) == 4
        asked = rig.stand_in.of("chat")[0].fields
        assert asked["stream"] is True
        assert asked["temperature"] == 0.0
        assert asked["chat_template_kwargs"] == {"enable_thinking": False}
        system, user = asked["messages"]
        assert user == {"role": "user", "content": "good morning to you"}
        assert "English" in system["content"]
        assert "Spanish (MX)" in system["content"]
        assert "Hello. It is me." in system["content"]

    story(test, translation={"extra": {"chat_template_kwargs": {"enable_thinking": False}}})


def test_other_instructions_may_be_given() -> None:
    async def test(rig: Rig) -> None:
        await rig.translate()
        assert rig.stand_in.of("chat")[0].fields["messages"][0]["content"] == "English to Spanish (MX)!"

    story(test, translation={"instructions": "{source} to {target}!"})


def test_a_model_that_begins_to_talk_is_stopped() -> None:
    async def test(rig: Rig) -> None:
        rig.stand_in.replies.append([{"content": "and so on "}] * 500)
        with pytest.raises(EngineFault, match="more than a translation"):
            await rig.translate("no")

    story(test)


@pytest.mark.parametrize("changes", [{}, {"format": "pcm"}], ids=["wav", "pcm"])
def test_a_clause_is_spoken(changes: dict[str, Any]) -> None:
    async def test(rig: Rig) -> None:
        samples = mulaw.decode(await rig.speak("hola")).astype(float)
        assert len(samples) == int((0.3 + 0.06 * 4) * 8000)
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        assert abs(spectrum.argmax() * 8000 / len(samples) - 440) < 3
        asked = rig.stand_in.of("speech")[0].fields
        assert (asked["model"], asked["input"], asked["voice"]) == ("tts-1", "hola", "nova")

    story(test, synthesis=changes)


def test_a_voice_goes_by_its_name_then_by_language_then_it_is_the_usual() -> None:
    async def test(rig: Rig) -> None:
        for voice in ("Ana", "nobody", None):
            await rig.speak("hola", voice)
        assert rig.engine.synthesizer is not None
        _ = [chunk async for chunk in rig.engine.synthesizer.speak("hi", "en")]
        assert [one.fields["voice"] for one in rig.stand_in.of("speech")] == ["shimmer", "nova", "nova", "alloy"]

    story(test)


def test_nothing_to_say_is_not_asked() -> None:
    async def test(rig: Rig) -> None:
        assert await rig.translate(" ") == []
        assert await rig.speak("") == b""
        assert {one.what for one in rig.stand_in.asked} == {"models"}

    story(test)


def test_it_thinks_and_asks_for_tools() -> None:
    async def test(rig: Rig) -> None:
        pieces = [
            {"content": "One "},
            {"content": "moment."},
            {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"what"'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": ': "table"}'}}]},
            {"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "bye", "arguments": ""}}]},
        ]
        rig.stand_in.replies.append(pieces)
        tool = Tool("look", "Look it up.", {"type": "object"})
        before = ToolCall("c0", "look", "{}")
        said = await rig.think(
            Message("system", "Be kind."),
            Message("user", "A table?"),
            Message("assistant", "", (before,)),
            Message("tool", "none", call_id="c0"),
            tools=(tool,),
        )
        assert said == ["One ", "moment.", ToolCall("c1", "look", '{"what": "table"}'), ToolCall("c2", "bye", "")]
        asked = rig.stand_in.of("chat")[0].fields
        assert asked["tools"][0]["function"]["name"] == "look"
        assert asked["messages"][2]["tool_calls"][0]["id"] == "c0"
        assert asked["messages"][3] == {"role": "tool", "content": "none", "tool_call_id": "c0"}

    story(test)


@pytest.mark.parametrize(
    ("what", "fault", "told"),
    [
        ("transcription", "json", "can not be read"),
        ("chat", "cut", "RemoteProtocolError|ends in the middle"),
        ("chat", "error", "overloaded in the middle"),
        ("speech", "cut", "RemoteProtocolError"),
        ("speech", "empty", "no audio"),
    ],
)
def test_a_bad_answer_is_a_fault_that_may_pass(what: str, fault: str, told: str) -> None:
    async def test(rig: Rig) -> None:
        rig.stand_in.fail(what, fault)
        ask: dict[str, Callable[[], Awaitable[Any]]] = {
            "transcription": rig.hear,
            "chat": rig.translate,
            "speech": rig.speak,
        }
        with pytest.raises(EngineFault, match=told) as caught:
            await ask[what]()
        assert caught.value.retryable
        await ask[what]()

    story(test)


def test_silence_is_heard_as_nothing() -> None:
    async def test(rig: Rig) -> None:
        rig.stand_in.fail("transcription", "empty")
        assert await rig.hear() == Heard("", "en", 0.0)

    story(test)


def test_what_is_missing_is_said() -> None:
    async def test(rig: Rig) -> None:
        assert rig.engine.missing(Stage.RECOGNITION) == ""
        assert "no section thinking" in rig.engine.missing(Stage.THINKING)
        assert "does not list the model 'tts-9'" in rig.engine.trouble(Stage.SYNTHESIS)
        assert rig.engine.trouble(Stage.RECOGNITION) == ""
        assert rig.engine.missing(Stage.TRANSLATION) == "hosted is configured for de, en"
        assert rig.engine.thinker is None
        assert not rig.engine.full()

    story(test, without="thinking", synthesis={"model": "tts-9"}, translation={"languages": ["de", "en"]})


def test_an_endpoint_that_is_away_is_said_and_not_given_up() -> None:
    async def main() -> None:
        values = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", **STAGES}
        engine = build("hosted", OpenAiEngine.model_validate(values))
        await engine.start()
        assert "127.0.0.1: ConnectError" in engine.trouble(Stage.RECOGNITION)
        assert engine.recognizer is not None
        await engine.close()

    asyncio.run(main())


def test_a_wrong_key_is_said_and_not_shown() -> None:
    async def main() -> None:
        async with StandIn().run() as stand_in:
            values = {"kind": "openai", "base_url": stand_in.address, "api_key": "sk-wrong", **STAGES}
            engine = build("hosted", OpenAiEngine.model_validate(values))
            await engine.start()
            assert engine.trouble(Stage.SYNTHESIS) == "127.0.0.1: refuses the key (HTTP 401)"
            rig = Rig(stand_in, engine)
            with pytest.raises(EngineFault, match="refuses the key") as told:
                await rig.translate()
            assert not told.value.retryable
            assert "sk-wrong" not in str(told.value)
            await engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none_is_said_at_the_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    engine = build("hosted", OpenAiEngine.model_validate({"kind": "openai", "ca_file": path, **STAGES}))
    with pytest.raises(EngineFault, match=r"ca\.pem"):
        asyncio.run(engine.start())
