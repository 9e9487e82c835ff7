"""An agent on the telephone: hears a caller, thinks, answers, is interrupted, brings a human. An interpreter.

Theory of operation. While one party is there, the agent talks with it: its turns are answered one after the other by a
task of its own; what comes in meanwhile is answered together. A party that means to interrupt stops the answer at once,
whether it is being thought or spoken; only what was heard of it enters transcript and conversation. When a second party
joins, a human has taken over: the agent falls silent and only writes down what is said, until one of them has left.

Owns that order. What is answered is `dialogue.py`'s, how it is voiced `voice.py`'s, how a party is heard `caller.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from gateway.speech.caller import Caller, Tongue, Turn
from gateway.speech.dialogue import Dialogue
from gateway.speech.endpointing import Tuning
from gateway.speech.interpreter import Sink
from gateway.speech.phrases import phrase
from gateway.speech.spoken import Sentences, sayable
from gateway.speech.stages import EngineFault, Partial, Recognizer, Stage, Synthesizer
from gateway.speech.toolbox import Hands
from gateway.speech.voice import Voice

_log = structlog.get_logger(__name__)

#: Whose words an agent's are, in transcripts and on the stream.
NAME: Final = "ai_agent"
#: Turns that may wait for an answer; beyond it the oldest are not answered.
WAITING: Final = 8
#: Clauses between thinker and voice.
_CLAUSES: Final = 16


class Stages(Protocol):
    """Who hears, and who speaks."""

    def recognizer(self, language: str | None) -> Recognizer | None: ...
    def synthesizer(self, language: str) -> Synthesizer | None: ...


@dataclass(frozen=True)
class Part:
    """What an agent plays. tongue: of a party, by its name. dialogue: with whom it talks; called once, with its hands
    and its caller's language. greeted_in: the language of the greeting, where the caller's is to be found out yet;
    answered_in: that of an answer, given the caller's. sources: what the last answer comes from. dial: calls a human
    into the session and returns what went wrong; None: that can not be had."""

    tongue: Callable[[str], Tongue]
    dialogue: Callable[[Hands, Callable[[], str]], Dialogue]
    greeting: str | None = None
    voice: str | None = None
    greeted_in: Callable[[str], Awaitable[str]] | None = None
    answered_in: Callable[[str], str] = str
    sources: Callable[[], list[str]] = list
    dial: Callable[[str], Awaitable[str]] | None = None


class _Party:
    """Somebody in the session: its `Listener`, which writes its turns into the transcript."""

    def __init__(self, agent: Agent, name: str, tongue: Tongue) -> None:
        self.name = name
        self.tongue = tongue
        self.caller: Caller | None = None
        self._agent = agent
        self._turns = 0

    @property
    def is_speaking(self) -> bool:
        return self.caller is not None and self.caller.is_speaking

    def speaks(self) -> None:
        self._agent.interrupted()

    def partly(self, partial: Partial, at_ms: int) -> None:
        segment = f"{self.name}-{self._turns + 1}"
        self._agent.sink.partial(segment, self.name, partial.language or self.tongue.language, partial.text, at_ms)

    def said(self, turn: Turn) -> None:
        if turn.text:
            self._turns += 1
            text, language = turn.text, turn.language
            times = (turn.start_ms, turn.end_ms)
            segment = f"{self.name}-{self._turns}"
            self._agent.sink.final(segment, self.name, language, text, *times, turn.confidence, None)
        self._agent.addressed(turn.text)

    def misheard(self, fault: EngineFault) -> None:
        self._agent.trouble(fault)
        self._agent.addressed(None)


@dataclass
class _Answer:
    """The answer in progress. settle: told what of it was heard, and whether that was all."""

    voice: Voice
    listener: str
    segment: str
    start_ms: int
    settle: Callable[[str, bool], None]
    language: str


class Agent:
    """One session's. clock: seconds, never backwards."""

    def __init__(self, sink: Sink, stages: Stages, part: Part, tuning: Tuning, clock: Callable[[], float]) -> None:
        self.sink = sink
        self._stages = stages
        self._part = part
        self._tuning = tuning
        self._clock = clock
        self._parties: dict[str, _Party] = {}
        self._voices: dict[str, Voice] = {}
        self._language = "en"
        self._dialogue = part.dialogue(self, lambda: self._language)
        self._greeted = False
        self._heard_ms = 0
        self._answers = 0
        self._inbox: list[str | None] = []
        self._notices: list[str] = []
        self._news = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None
        self._answer: _Answer | None = None
        self._hand_over: tuple[str, str] | None = None
        self._ends = False

    # ---- Interpreter -------------------------------------------------------------------------------

    def joined(self, speaker: str) -> None:
        if speaker in self._parties:
            return
        party = self._parties[speaker] = _Party(self, speaker, self._part.tongue(speaker))
        try:
            party.caller = self._caller(party)
        except EngineFault as fault:
            self.trouble(fault)
        self._retire()
        if len(self._parties) == 1:
            self._serve(party)

    def left(self, speaker: str) -> None:
        party = self._parties.pop(speaker, None)
        if party is None:
            return
        if party.caller is not None:
            party.caller.close()
        self._retire()
        self._voices.pop(speaker, None)
        if len(self._parties) == 1:
            self._serve(next(iter(self._parties.values())))

    def audio(self, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        self._heard_ms = max(self._heard_ms, timestamp_ms)
        if speaker not in self._parties:
            self.joined(speaker)
        caller = self._parties[speaker].caller
        if caller is not None:
            caller.audio(timestamp_ms, mulaw)

    def played(self, target: str, mark: str) -> None:
        if target in self._voices:
            self._voices[target].played(mark)

    def cleared(self, target: str, played_ms: int, dropped_ms: int) -> None:
        if target in self._voices:
            self._voices[target].cleared(played_ms, dropped_ms)

    def refused(self, target: str, message: str) -> None:
        _log.warning("hand_over_failed", target=target, error=message)
        self._notices.append("unreachable")
        self._news.set()

    def close(self) -> None:
        self._retire()
        for party in self._parties.values():
            if party.caller is not None:
                party.caller.close()
        self._parties.clear()

    # ---- Hands -------------------------------------------------------------------------------------

    async def transfer(self, to: str, method: str) -> str:
        if method == "dial" and self._part.dial is None:
            return "nobody can be called from here"
        self._hand_over = (to, method)  # done when the caller has heard what is said to it
        return ""

    def end_call(self) -> None:
        self._ends = True

    # ---- what parties do ---------------------------------------------------------------------------

    def interrupted(self) -> None:
        """A party means to speak."""
        if self._answering is not None:
            self._answering.cancel()

    def addressed(self, text: str | None) -> None:
        """A party's turn. Empty: it was no speech; None: it was not understood."""
        if len(self._parties) == 1:
            self._inbox.append(text)
            del self._inbox[:-WAITING]
            self._news.set()

    def trouble(self, fault: EngineFault) -> None:
        _log.warning("stage_failed", stage=str(fault.stage), engine=fault.engine, error=fault.message)
        self.sink.failed("internal_error", f"{fault.stage}: {fault.message}")

    # ---- answering ---------------------------------------------------------------------------------

    def _caller(self, party: _Party) -> Caller:
        tongue = party.tongue
        recognizer = self._stages.recognizer(tongue.given) or self._stages.recognizer(tongue.language)
        if recognizer is None:
            raise EngineFault(Stage.RECOGNITION, "none", f"nobody hears {tongue.language}", retryable=False)
        return Caller(recognizer, tongue, party, self._tuning)

    def _serve(self, party: _Party) -> None:
        self._inbox.clear()
        if party.name not in self._voices:
            self._voices[party.name] = Voice(
                self.sink, NAME, party.name, self._stages.synthesizer, self._clock, self._part.voice
            )
        self._serving = asyncio.create_task(self._converse(party), name=f"agent with {party.name}")

    def _retire(self) -> None:
        """Stop talking. What was being said stands in the transcript as far as it was heard."""
        if self._serving is not None:
            self._serving.cancel()
            self._serving = None
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None
        if self._answer is not None:
            self._answer.voice.give_up()
            self.sink.clear(self._answer.listener)
            self._record(complete=False)

    async def _converse(self, party: _Party) -> None:
        self._language = party.tongue.language
        if self._part.greeting and not self._greeted:
            self._greeted = True
            if party.tongue.given is None and self._part.greeted_in is not None:
                self._language = await self._part.greeted_in(self._part.greeting)
            await self._say(party, _once(self._part.greeting), self._greeting_heard, self._language)
        while True:
            await self._news.wait()
            self._news.clear()
            if party.is_speaking:
                continue  # its turn is still to come; all of it is answered together
            texts, self._inbox = self._inbox, []
            notices, self._notices = self._notices, []
            text = " ".join(one for one in texts if one)
            self._language = party.tongue.language
            # After a noise that stopped an answer before a word of it was heard, the question still stands.
            if text or (texts and self._dialogue.waits):
                if not await self._say(party, self._dialogue.answer(text), self._dialogue.settled):
                    notices.append("trouble")
            elif None in texts:
                notices.append("trouble")
            for name in notices:
                language, sentence = phrase(name, self._language)
                await self._say(party, _once(sentence), self._greeting_heard, language)
            await self._act(party)

    def _greeting_heard(self, heard: str, complete: bool) -> None:
        if heard:
            self._dialogue.said(heard)

    async def _say(
        self,
        party: _Party,
        pieces: AsyncGenerator[str, None],
        settle: Callable[[str, bool], None],
        language: str | None = None,
    ) -> bool:
        """Say it, until it was heard or somebody interrupts. False: an engine failed before a word was said."""
        self._answers += 1
        voice = self._voices[party.name]
        voice.begin()
        answer = self._answer = _Answer(
            voice, party.name, f"{NAME}-{self._answers}", self._heard_ms, settle, language or self._language
        )
        task = self._answering = asyncio.create_task(self._speak(answer, pieces, language))
        await asyncio.wait({task})
        self._answering = None
        fault = None if task.cancelled() else task.exception()
        if task.cancelled():
            self._ends = False  # the caller has something to say
            await voice.cut_short()
        elif isinstance(fault, EngineFault):
            self.trouble(fault)
        elif fault is not None:
            _log.error("answer_failed", exc_info=fault)
            self.sink.failed("internal_error", "the agent failed")
        said = bool(voice.text)
        self._record(complete=not task.cancelled() and fault is None)
        return said or fault is None

    async def _speak(self, answer: _Answer, pieces: AsyncGenerator[str, None], language: str | None) -> None:
        clauses: asyncio.Queue[str | Exception | None] = asyncio.Queue(_CLAUSES)
        self.sink.processing(True)
        thinking = asyncio.create_task(_clauses(pieces, clauses))
        try:
            while (clause := await clauses.get()) is not None:
                if isinstance(clause, Exception):
                    raise clause
                if language is None:
                    answer.language = self._part.answered_in(self._language)
                if not sayable(clause):
                    continue
                await answer.voice.say(clause, answer.language)
                text = answer.voice.text
                self.sink.partial(answer.segment, NAME, answer.language, text, answer.start_ms)
        finally:
            thinking.cancel()
            self.sink.processing(False)
        await answer.voice.heard_out()

    def _record(self, *, complete: bool) -> None:
        """The answer is over: what was heard of it goes into transcript and conversation."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        heard = answer.voice.heard
        answer.settle(heard, complete)
        if not heard:
            return
        metadata = {} if complete else {"interrupted": True}
        sources = self._part.sources()
        said = {"sources": sources} | metadata if sources else metadata
        end_ms = max(self._heard_ms, answer.start_ms)
        self.sink.final(answer.segment, NAME, answer.language, heard, answer.start_ms, end_ms, 1.0, None, said or None)

    async def _act(self, party: _Party) -> None:
        """What the agent has decided to do once it was heard."""
        hand_over, self._hand_over = self._hand_over, None
        if hand_over is not None:
            to, method = hand_over
            if method == "refer":
                self.sink.transfer(party.name, to)
            elif self._part.dial is not None and (failure := await self._part.dial(to)):
                self.refused(party.name, failure)
        if self._ends:
            self._ends = False
            self.sink.end_call(party.name, "the agent has ended the call")


async def _once(text: str) -> AsyncGenerator[str, None]:
    yield text


async def _clauses(pieces: AsyncGenerator[str, None], clauses: asyncio.Queue[str | Exception | None]) -> None:
    """Cut running text into clauses; a fault goes the same way, so that what was said before it is spoken first."""
    sentences = Sentences()
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                for clause in sentences.push(piece):
                    await clauses.put(clause)
        for clause in sentences.flush():
            await clauses.put(clause)
        await clauses.put(None)
    except Exception as error:
        await clauses.put(error)
