"""An agent on the telephone: hears a caller, thinks, answers, is interrupted, brings a human. An interpreter.

Theory of operation. While one party is there, the agent talks with it: its turns are answered one after the other by a
task of its own; what comes in meanwhile is answered together. A party that means to interrupt stops the answer at once,
whether it is being thought or spoken; only what was heard of it enters transcript and conversation. When a second party
joins, a human has taken over: the agent falls silent, and a `HandOver` serves the two until one of them has left.

Owns that order. What is answered is `dialogue.py`'s, how it is voiced `voice.py`'s, how a party is heard `party.py`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import structlog

from gateway.speech.dialogue import Dialogue
from gateway.speech.handover import HandOver
from gateway.speech.interpreter import Interpreter, Sink
from gateway.speech.ledger import Account
from gateway.speech.means import Means, Shared
from gateway.speech.party import Party
from gateway.speech.phrases import phrase
from gateway.speech.spoken import Sentences, sayable
from gateway.speech.stages import EngineFault, Stage
from gateway.speech.terms import Terms
from gateway.speech.timing import Timekeeper
from gateway.speech.tongue import Tongue
from gateway.speech.toolbox import Hands
from gateway.speech.turn import Turn, segment_ids
from gateway.speech.voice import Voice

_log = structlog.get_logger(__name__)

#: Whose words an agent's are, in transcripts and on the stream.
NAME: Final = "ai_agent"
#: Turns that may wait for an answer; beyond it the oldest are not answered.
WAITING: Final = 8
#: Clauses between thinker and voice.
_CLAUSES: Final = 16


@dataclass(frozen=True)
class Part:
    """What an agent plays. tongue: of a party, by its name and the language that is likely where nothing says it.
    dialogue: with whom it talks; called once, with its hands and its caller's language. greeted_in: the language of the
    greeting, where the caller's is to be found out yet;
    answered_in: that of an answer, given the caller's. sources: what the last answer comes from. dial: calls a human
    into the session and returns what went wrong; None: that can not be had."""

    tongue: Callable[[str, str | None], Tongue]
    dialogue: Callable[[Hands, Callable[[], str]], Dialogue]
    greeting: str | None = None
    voice: str | None = None
    greeted_in: Callable[[str], Awaitable[str]] | None = None
    answered_in: Callable[[str], str] = str
    sources: Callable[[], list[str]] = list
    dial: Callable[[str], Awaitable[str]] | None = None


@dataclass
class _Answer:
    """The answer in progress. settle: told what of it was heard, and whether that was all. to: the turn it answers."""

    voice: Voice
    listener: str
    segment: str
    start_ms: int
    settle: Callable[[str, bool], None]
    language: str
    to: Turn | None


class Agent:
    """One session's. terms: for when it has handed over."""

    def __init__(self, sink: Sink, terms: Terms, part: Part, means: Means) -> None:
        self.sink = sink
        self._terms = terms
        self._part = part
        self._means = means
        self._clock = means.clock
        self._timekeeper = Timekeeper(sink, means.measures, "answer")
        self._new_segment = segment_ids(means.clock)
        self._tongues: dict[str, Tongue] = {}  # by party: who is there
        self._accounts: dict[str, Account] = {}
        self._party: Party | None = None  # whom it serves
        self._human: Interpreter | None = None  # who serves everybody when a human has taken over
        self._voices: dict[str, Voice] = {}
        self._language = "en"
        self._dialogue = part.dialogue(self, lambda: self._language)
        self._greeted = False
        self._heard_ms = 0
        self._turns: deque[Turn] = deque()  # begun, and not told
        self._inbox: list[Turn] = []
        self._notices: list[str] = []
        self._news = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None
        self._answer: _Answer | None = None
        self._hand_over: tuple[str, str] | None = None
        self._ends = False

    # ---- Interpreter -------------------------------------------------------------------------------

    def joined(self, speaker: str) -> None:
        if speaker in self._tongues:
            return
        likely = next((tongue.language for tongue in self._tongues.values()), None)
        self._tongues[speaker] = self._part.tongue(speaker, likely)
        if len(self._tongues) == 1:
            self._serve(speaker)
            return
        if self._human is None:
            self._retire()
            shared = Shared(self._means, self._tongues.__getitem__, self._accounts, self._new_segment)
            self._human = HandOver(self.sink, self._terms, shared)
        for name in self._tongues:
            self._human.joined(name)

    def left(self, speaker: str) -> None:
        if self._tongues.pop(speaker, None) is None:
            return
        if self._human is not None:
            self._human.left(speaker)
        else:
            self._retire()
        self._accounts.pop(speaker, None)
        self._voices.pop(speaker, None)
        if self._human is not None and len(self._tongues) == 1:
            self._human.close()
            self._human = None
            self._serve(next(iter(self._tongues)))

    def audio(self, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        self._heard_ms = max(self._heard_ms, timestamp_ms)
        self.joined(speaker)
        if self._human is not None:
            self._human.audio(speaker, timestamp_ms, mulaw)
        elif self._party is not None:
            self._party.hear(timestamp_ms, mulaw)

    def played(self, target: str, mark: str) -> None:
        if self._human is not None:
            self._human.played(target, mark)
        elif target in self._voices:
            self._voices[target].played(mark)

    def cleared(self, target: str, played_ms: int, dropped_ms: int) -> None:
        if self._human is not None:
            self._human.cleared(target, played_ms, dropped_ms)
        elif target in self._voices:
            self._voices[target].cleared(played_ms, dropped_ms)

    def refused(self, target: str, message: str) -> None:
        _log.warning("hand_over_failed", target=target, error=message)
        self._notices.append("unreachable")
        self._news.set()

    def close(self) -> None:
        self._retire()
        if self._human is not None:
            self._human.close()

    # ---- Hands -------------------------------------------------------------------------------------

    async def transfer(self, to: str, method: str) -> str:
        if method == "dial" and self._part.dial is None:
            return "nobody can be called from here"
        self._hand_over = (to, method)  # done when the caller has heard what is said to it
        return ""

    def end_call(self) -> None:
        self._ends = True

    # ---- what its party does (party.Listener) ------------------------------------------------------

    def began(self, turn: Turn) -> None:
        self._turns.append(turn)

    def interrupts(self, turn: Turn) -> None:
        if self._answering is not None:
            self._answering.cancel()

    def guessed(self, turn: Turn) -> None:
        self.sink.partial(turn.segment_id, turn.speaker, turn.language, turn.guess, turn.start_ms)

    def understood(self, turn: Turn) -> None:
        """It is told, and answered, in its order: a short turn may be understood before the long one ahead of it."""
        self._means.measures.counted("turn")
        while self._turns and self._turns[0].understood:
            turn = self._turns.popleft()
            self._tell(turn)
            self._inbox.append(turn)
            if len(self._inbox) > WAITING:
                self._timekeeper.tell(self._inbox.pop(0))
            self._news.set()

    def failed(self, fault: EngineFault) -> None:
        self.trouble(fault)

    def worked(self, stage: Stage) -> None:
        """What failed before was told."""

    def _tell(self, turn: Turn) -> None:
        if turn.text:
            self.sink.final(
                turn.segment_id, turn.speaker, turn.language, turn.text, turn.start_ms, turn.end_ms, turn.confidence,
                None, turn.metadata(),
            )  # fmt: skip

    def trouble(self, fault: EngineFault) -> None:
        self._means.measures.counted(f"failed_{fault.stage}")
        _log.warning("stage_failed", stage=str(fault.stage), engine=fault.engine, error=fault.message)
        self.sink.failed("internal_error", f"{fault.stage}: {fault.message}")

    # ---- answering ---------------------------------------------------------------------------------

    def _serve(self, name: str) -> None:
        """Talk with this party."""
        tongue = self._tongues[name]
        self._party = Party(name, tongue, self._means, self, self._new_segment)
        if not self._party.can_hear:
            self.sink.failed("engine_not_available", self._means.missing(Stage.RECOGNITION, tongue.language))
        account = self._accounts.setdefault(name, Account())
        if name not in self._voices:
            find = self._means.engines.synthesizer
            self._voices[name] = Voice(self.sink, NAME, name, find, self._clock, account, self._part.voice)
        self._serving = asyncio.create_task(self._converse(self._party), name=f"agent with {name}")

    def _retire(self) -> None:
        """Stop talking and listening. What was being said stands in the transcript as far as it was heard."""
        party, self._party = self._party, None
        if party is not None:
            party.close()
        for turn in self._turns:  # as far as they were understood
            turn.text = turn.text or turn.guess
            self._tell(turn)
        self._turns.clear()
        self._inbox.clear()
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

    async def _converse(self, party: Party) -> None:
        self._language = party.tongue.language
        if self._part.greeting and not self._greeted:
            self._greeted = True
            if party.tongue.given is None and self._part.greeted_in is not None:
                self._language = await self._part.greeted_in(self._part.greeting)
            await self._say(party, _once(self._part.greeting), self._greeting_heard, self._language)
        while True:
            await self._news.wait()
            self._news.clear()
            if party.means_to_speak:
                continue  # its turn is still to come; all of it is answered together
            turns, self._inbox = self._inbox, []
            notices, self._notices = self._notices, []
            said = [turn for turn in turns if turn.text]
            for turn in said[:-1]:
                self._timekeeper.tell(turn)
            self._language = party.tongue.language
            # After a noise that stopped an answer before a word of it was heard, the question still stands.
            if said or (turns and self._dialogue.waits):
                answer = self._dialogue.answer(" ".join(turn.text for turn in said))
                if not await self._say(party, answer, self._dialogue.settled, to=said[-1] if said else None):
                    notices.append("trouble")
            elif any(turn.failed for turn in turns):
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
        party: Party,
        pieces: AsyncGenerator[str, None],
        settle: Callable[[str, bool], None],
        language: str | None = None,
        to: Turn | None = None,
    ) -> bool:
        """Say it, until it was heard or somebody interrupts. False: an engine failed before a word was said."""
        voice = self._voices[party.name]
        voice.begin(lambda moment: self._reach(to, moment))
        answer = self._answer = _Answer(
            voice, party.name, self._new_segment(), self._heard_ms, settle, language or self._language, to
        )
        task = self._answering = asyncio.create_task(self._speak(answer, pieces, language))
        await asyncio.wait({task})
        self._answering = None
        fault = None if task.cancelled() else task.exception()
        if task.cancelled():
            self._means.measures.counted("interrupted")
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
                self._reach(answer.to, "answered")
                await answer.voice.say(clause, answer.language)
                text = answer.voice.text
                self.sink.partial(answer.segment, NAME, answer.language, text, answer.start_ms)
        finally:
            thinking.cancel()
            self.sink.processing(False)
        await answer.voice.heard_out()

    def _reach(self, turn: Turn | None, moment: str) -> None:
        if turn is not None:
            turn.reach(moment, self._clock())
            if moment == "heard":
                self._timekeeper.tell(turn)

    def _record(self, *, complete: bool) -> None:
        """The answer is over: what was heard of it goes into transcript and conversation."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        heard = answer.voice.heard
        answer.settle(heard, complete)
        said: dict[str, Any] = {} if complete else {"interrupted": True}
        if answer.to is not None:
            self._timekeeper.tell(answer.to)
            said["timing_ms"] = answer.to.timing_ms()
        if not heard:
            return
        if sources := self._part.sources():
            said["sources"] = sources
        end_ms = max(self._heard_ms, answer.start_ms)
        self.sink.final(answer.segment, NAME, answer.language, heard, answer.start_ms, end_ms, 1.0, None, said or None)

    async def _act(self, party: Party) -> None:
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
