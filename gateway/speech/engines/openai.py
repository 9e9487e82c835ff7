"""Recognition, translation, synthesis and thinking by an endpoint with OpenAI's HTTP interface.

Owns which request serves which stage. How requests are made, and again, is `openai_http.py`'s; how they read,
`openai_shapes.py`'s; when a piece of a turn is sent, `pieces.py`'s.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import structlog

from gateway.speech import mulaw
from gateway.speech.engine_settings import (
    OpenAiEngine,
    OpenAiRecognition,
    OpenAiStage,
    OpenAiSynthesis,
    OpenAiThinking,
    OpenAiTranslation,
)
from gateway.speech.engines import openai_shapes as shapes
from gateway.speech.engines.base import Base
from gateway.speech.engines.openai_http import Body, Endpoint
from gateway.speech.engines.pcm import Samples, Wav, wav
from gateway.speech.engines.pieces import PieceEar
from gateway.speech.engines.sse import EventStream
from gateway.speech.resampling import RATE_HZ, ToTelephone
from gateway.speech.stages import (
    ANY,
    EngineFault,
    Heard,
    Message,
    Partial,
    Stage,
    Tool,
    ToolCall,
    primary,
)

_log = structlog.get_logger(__name__)

#: A translation is not that much longer than what was said: the model has begun to talk.
_RUNAWAY: Final = (600, 8)


class OpenAiRecognizer:
    """`POST audio/transcriptions`, a WAV for each piece."""

    def __init__(self, endpoint: Endpoint, section: OpenAiRecognition) -> None:
        self.engine = endpoint.name
        self.languages = frozenset(section.languages)
        self._endpoint = endpoint
        self._section = section
        self.detects = not section.stream and section.format != "json"  # only the verbose answer names the language

    def listen(self, language: str | None, partial: Callable[[Partial], None]) -> PieceEar:
        return PieceEar(self.engine, self._hear, language, partial, self._section.early_ms / 1000)

    async def _hear(self, octets: bytes, language: str | None, before: str, guess: Callable[[str], None]) -> Heard:
        verbose = self.detects
        try:
            return await self._ask(octets, language, before, guess, verbose)
        except EngineFault as fault:
            if fault.retryable or self._section.format != "auto" or not verbose or language is None:
                raise
            # Newer models know `json` only, and refuse a request for more as a whole.
            heard = await self._ask(octets, language, before, guess, False)
            self.detects = False
            _log.info("transcription_tells_text_only", engine=self.engine, error=fault.message)
            return heard

    async def _ask(
        self, octets: bytes, language: str | None, before: str, guess: Callable[[str], None], verbose: bool
    ) -> Heard:
        section = self._section
        form = "verbose_json" if verbose else "json"
        fields: dict[str, Any] = {"model": section.model, "response_format": form, **section.extra}
        if language is not None:
            fields["language"] = primary(language)
        if before:
            fields["prompt"] = before
        if section.stream:
            fields["stream"] = "true"
        file = ("turn.wav", wav(mulaw.decode(octets), RATE_HZ), "audio/wav")
        ask = partial(self._endpoint.ask, Stage.RECOGNITION, "audio/transcriptions", section.timeout_s)
        async with ask(data=fields, files={"file": file}) as body:
            if not body.is_events:
                return shapes.heard(await body.whole(), language)
            transcript = shapes.TranscriptStream()
            async for data in _events(body):
                if transcript.feed(data):
                    guess(transcript.text)
            if not transcript.done and not transcript.text:
                raise ValueError("the stream ends before the text")
            return transcript.heard(language)


class OpenAiTranslator:
    """`POST chat/completions`, streamed: a prompt that asks for nothing but the translation."""

    def __init__(self, endpoint: Endpoint, section: OpenAiTranslation) -> None:
        self.engine = endpoint.name
        self.pairs = frozenset((one, other) for one in section.languages for other in section.languages)
        self._endpoint = endpoint
        self._section = section

    async def translate(
        self, text: str, source: str, target: str, *, context: Sequence[str] = ()
    ) -> AsyncIterator[str]:
        if not text.strip():
            return
        messages = shapes.translation_messages(text, source, target, context, self._section.instructions)
        room = max(_RUNAWAY[0], _RUNAWAY[1] * len(text))
        chat = _chat(self._endpoint, Stage.TRANSLATION, self._section, messages, self._section.temperature)
        begun = False
        async with aclosing(chat):
            async for piece in chat:
                assert isinstance(piece, str), "no tools are offered"
                piece = piece if begun else piece.lstrip()
                room -= len(piece)
                if room < 0:
                    raise EngineFault(Stage.TRANSLATION, self.engine, "it says more than a translation", retryable=True)
                if piece:
                    begun = True
                    yield piece


class OpenAiThinker:
    """`POST chat/completions`, streamed, with tools."""

    def __init__(self, endpoint: Endpoint, section: OpenAiThinking) -> None:
        self.engine = endpoint.name
        self.languages = frozenset(section.languages)
        self._endpoint = endpoint
        self._section = section

    def think(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), temperature: float | None = None
    ) -> AsyncIterator[str | ToolCall]:
        wanted = self._section.temperature if temperature is None else temperature
        return _chat(self._endpoint, Stage.THINKING, self._section, shapes.chat_messages(messages), wanted, tools)


async def _chat(
    endpoint: Endpoint,
    stage: Stage,
    section: OpenAiStage,
    messages: list[dict[str, Any]],
    temperature: float | None,
    tools: Sequence[Tool] = (),
) -> AsyncGenerator[str | ToolCall, None]:
    """The answer's text as it comes, then the tools that it asks for."""
    asked: dict[str, Any] = {"model": section.model, "messages": messages, "stream": True}
    if temperature is not None:
        asked["temperature"] = temperature
    if tools:
        asked["tools"] = shapes.chat_tools(tools)
    async with endpoint.ask(stage, "chat/completions", section.timeout_s, json=asked | section.extra) as body:
        answer = shapes.ChatStream()
        if body.is_events:
            async for data in _events(body):
                for piece in answer.feed(data):
                    yield piece
        else:
            for piece in answer.feed(await body.whole()):
                yield piece
        if not answer.done:
            raise ValueError("it ends in the middle")
        for call in answer.calls():
            yield call


class OpenAiSynthesizer:
    """`POST audio/speech`: linear audio as it comes, resampled."""

    def __init__(self, endpoint: Endpoint, section: OpenAiSynthesis) -> None:
        self.engine = endpoint.name
        self.languages = frozenset(section.languages)
        self._endpoint = endpoint
        self._section = section

    async def speak(self, text: str, language: str, *, voice: str | None = None) -> AsyncIterator[bytes]:
        if not text.strip():
            return
        section = self._section
        asked = {
            "model": section.model,
            "input": text,
            "voice": shapes.voice_for(voice, language, section.voices, section.voice),
            "response_format": section.format,
        }
        reader = Wav() if section.format == "wav" else Samples(section.pcm_rate_hz)
        telephone: ToTelephone | None = None
        async with self._endpoint.ask(
            Stage.SYNTHESIS, "audio/speech", section.timeout_s, json=asked | section.extra
        ) as body:
            async for piece in body.pieces():
                samples = reader.feed(piece)
                if len(samples):
                    assert reader.rate_hz is not None, "known before the first sample"
                    telephone = telephone or ToTelephone(reader.rate_hz)
                    octets = telephone.feed(samples)
                    if octets:
                        yield octets
            if telephone is None:
                raise ValueError("no audio in it")
            yield telephone.finish()


async def _events(body: Body) -> AsyncIterator[str]:
    events = EventStream()
    async for piece in body.pieces():
        for data in events.feed(piece):
            yield data


class OpenAi(Base):
    """An `Engine`."""

    def __init__(self, name: str, section: OpenAiEngine) -> None:
        super().__init__(name)
        self._section = section
        self._endpoint: Endpoint | None = None
        self._unwell: dict[Stage, str] = {}

    async def start(self) -> None:
        """Ask the endpoint once which models it has. One that does not answer is not given up: it may come back."""
        section = self._section
        try:
            endpoint = self._endpoint = Endpoint(self.name, section)
        except OSError as error:  # an unreadable ca_file, or one without certificates
            message = f"ca_file {section.ca_file}: {error.strerror or error}"
            raise EngineFault(Stage.RECOGNITION, self.name, message, retryable=False) from None
        if section.recognition is not None:
            self.recognizer = OpenAiRecognizer(endpoint, section.recognition)
        if section.translation is not None:
            self.translator = OpenAiTranslator(endpoint, section.translation)
        if section.synthesis is not None:
            self.synthesizer = OpenAiSynthesizer(endpoint, section.synthesis)
        if section.thinking is not None:
            self.thinker = OpenAiThinker(endpoint, section.thinking)
        await self._look(endpoint)

    async def _look(self, endpoint: Endpoint) -> None:
        configured = {stage: one for stage in Stage if (one := getattr(self._section, stage)) is not None}
        try:
            listed = await endpoint.models()
        except EngineFault as fault:
            self._unwell = dict.fromkeys(configured, fault.message)
            _log.warning("engine_unreachable", engine=self.name, error=fault.message)
            return
        for stage, one in configured.items():
            if listed is not None and one.model not in listed:
                self._unwell[stage] = f"{endpoint.host} does not list the model {one.model!r}"
                _log.warning("engine_model_not_listed", engine=self.name, stage=str(stage), model=one.model)

    async def close(self) -> None:
        if self._endpoint is not None:
            await self._endpoint.close()

    def missing(self, stage: Stage) -> str:
        section = getattr(self._section, stage)
        if section is None:
            return f"speech.engines.{self.name} has no section {stage!s}"
        return "" if ANY in section.languages else f"{self.name} is configured for {', '.join(section.languages)}"

    def trouble(self, stage: Stage) -> str:
        return self._unwell.get(stage, "")

    def full(self) -> bool:
        return self._endpoint is not None and self._endpoint.full


def build(name: str, section: OpenAiEngine) -> OpenAi:
    return OpenAi(name, section)
