"""The interpreter of a translated session: every party heard, translated, and spoken to in its own language.

Theory of operation. A party's turns go down a line of their own (`line.py`), so that nobody waits for another speaker's
engine: clause after clause is translated, and spoken while the next one is being translated. What every listener was
sent is in a ledger; its marks and clears say what was heard of it, and when. Who speaks, and means it, interrupts what
is being said to him: that is cleared, and the transcript keeps the words that were heard. A stage that fails, or does
not answer in time, costs that turn what the stage would have added, and is told once as `session.error` until it works
again; a turn that waited too long is written down and not spoken.

Owns that flow for one session. Every queue has a bound. Knows stages, not engines, and no stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import structlog

from gateway.speech.interpreter import OCTETS_PER_MS, Sink
from gateway.speech.ledger import FIRST, Account, Clause
from gateway.speech.line import Line
from gateway.speech.means import Shared
from gateway.speech.party import Party
from gateway.speech.patience import patiently
from gateway.speech.spoken import Sentences
from gateway.speech.stages import EngineFault, Stage
from gateway.speech.terms import Terms, listeners
from gateway.speech.timing import Timekeeper
from gateway.speech.turn import Turn

_log = structlog.get_logger(__name__)

#: Seconds after which what was said is written down and not spoken any more.
STALE_S: Final = 15.0
#: What one clause may last: a synthesizer that does not come to an end is cut off.
LONGEST_OCTETS: Final = 60_000 * OCTETS_PER_MS
#: Turns whose fate is not known yet: a stream that tells nothing leaves them open until they count as heard.
OPEN_TURNS: Final = 64


class Pipeline:
    """One session's."""

    def __init__(self, sink: Sink, terms: Terms, shared: Shared) -> None:
        self._sink = sink
        self._terms = terms
        self._means, self._tongue, self._accounts, self._new_segment = shared
        self._engines, self._clock, self._measures = self._means.engines, self._means.clock, self._means.measures
        self._timekeeper = Timekeeper(sink, self._measures, "translation")
        self._parties: dict[str, Party] = {}
        self._lines: dict[str, Line] = {}
        self._open: list[Turn] = []  # told, and not all of them heard yet
        self._troubled: set[Stage] = set()
        self._absent: set[str] = set()
        self._closed = False

    # ---- Interpreter -------------------------------------------------------------------------------

    def joined(self, speaker: str) -> None:
        if speaker not in self._parties:
            self._parties[speaker] = Party(speaker, self._tongue(speaker), self._means, self, self._new_segment)
            self._accounts.setdefault(speaker, Account())

    def left(self, speaker: str) -> None:
        party = self._parties.pop(speaker, None)
        if party is not None:
            party.leave()
            account = self._accounts.pop(speaker, None)
            if account is not None:
                account.close()
                self._settle()

    def audio(self, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        if self._closed:
            return
        self.joined(speaker)
        party = self._parties[speaker]
        party.hear(timestamp_ms, mulaw)
        if not party.can_hear and party.is_speaking:
            language = party.tongue.language
            self._lack(Stage.RECOGNITION, language)

    def played(self, target: str, mark: str) -> None:
        account = self._accounts.get(target)
        if account is None or not account.played(mark):
            return
        now = self._clock()
        for turn in self._open_turns():
            if mark == _first_mark(turn):
                turn.reach("heard", now)
                if turn.told:
                    self._timekeeper.tell(turn)
        self._settle()

    def cleared(self, target: str, played_ms: int, dropped_ms: int) -> None:
        account = self._accounts.get(target)
        if account is not None:
            account.cleared(played_ms, dropped_ms)
            self._settle()

    def refused(self, target: str, message: str) -> None:
        """It asks for nothing."""

    def close(self) -> None:
        """What was begun is written down as far as it was understood; nothing more is spoken."""
        if self._closed:
            return
        self._closed = True
        for line in self._lines.values():
            line.stop()
        unfinished = [turn for line in self._lines.values() for turn in line.turns]
        for party in self._parties.values():
            turn = party.close()
            if turn is not None and turn not in unfinished:
                unfinished.append(turn)
        for turn in unfinished:
            turn.text = turn.text or turn.guess
            self._tell(turn)
            turn.voiced = True
        for account in self._accounts.values():
            account.close()
        self._settle(all_of_them=True)

    # ---- what parties tell -------------------------------------------------------------------------

    def began(self, turn: Turn) -> None:
        line = self._lines.get(turn.speaker)
        if line is None:
            line = self._lines[turn.speaker] = Line(self, turn.speaker)
        if not line.take(turn):
            self._measures.counted("dropped_turn")

    def interrupts(self, turn: Turn) -> None:
        """What others say to this speaker stops; nobody interrupts himself."""
        speaker, account = turn.speaker, self._accounts.get(turn.speaker)
        hit = [one for one in self._open_turns() if one.speaker != speaker and one.reaches(speaker)]
        if account is None or not hit:
            return
        for one in hit:
            one.interrupted = True
            one.stopped.add(speaker)
            self._measures.counted("interrupted")
        self._sink.clear(speaker)

    def guessed(self, turn: Turn) -> None:
        self._sink.partial(turn.segment_id, turn.speaker, turn.language, turn.guess, turn.start_ms)

    def understood(self, turn: Turn) -> None:
        self._measures.counted("turn")

    def failed(self, fault: EngineFault) -> None:
        self._measures.counted(f"failed_{fault.stage}")
        if fault.stage not in self._troubled and not self._closed:
            self._troubled.add(fault.stage)
            _log.warning("stage_failed", stage=str(fault.stage), engine=fault.engine, error=fault.message)
            self._sink.failed("engine_failed", str(fault))

    def worked(self, stage: Stage) -> None:
        if stage in self._troubled:
            self._troubled.discard(stage)
            _log.info("stage_recovered", stage=str(stage))

    # ---- translating and speaking, clause by clause --------------------------------------------------

    async def translated(self, turn: Turn, text: str) -> AsyncIterator[tuple[str, str]]:
        """The clause in every language that somebody wants it in: (language, part), as parts are ready."""
        for language in self._wanted(turn):
            translator = self._engines.translator(turn.language, language)
            if translator is None:
                self._lack(Stage.TRANSLATION, f"{turn.language}→{language}")
                continue
            sentences = Sentences()
            try:
                async for piece in patiently(
                    translator.translate(text, turn.language, language), Stage.TRANSLATION, translator.engine
                ):
                    for part in sentences.push(piece):
                        yield language, part
                for part in sentences.flush():
                    yield language, part
                self.worked(Stage.TRANSLATION)
            except EngineFault as fault:
                self.failed(fault)

    async def speak(self, turn: Turn, language: str, text: str) -> None:
        """A part of a turn, to everybody who wants it in this language."""
        synthesizer = self._engines.synthesizer(language)
        if synthesizer is None:
            self._lack(Stage.SYNTHESIS, language)
            return
        names = [name for name in self._wanted(turn).get(language, ()) if self._terms.is_voiced(name)]
        clauses = {name: Clause(text) for name in names if name not in turn.stopped}
        turn.spoken += clauses.items()
        octets = 0
        try:
            if clauses:
                async for chunk in patiently(synthesizer.speak(text, language), Stage.SYNTHESIS, synthesizer.engine):
                    octets += len(chunk)
                    self._send(turn, clauses, chunk)
                    if octets > LONGEST_OCTETS or not clauses.keys() - turn.stopped:
                        break
                self.worked(Stage.SYNTHESIS)
        except EngineFault as fault:
            self.failed(fault)
        finally:
            for name, clause in clauses.items():
                clause.complete = True
                if clause.sent and name in self._accounts:
                    self._mark(name, f"{turn.segment_id}:{len(turn.spoken)}")

    def finish(self, turn: Turn) -> None:
        """Everything of a turn was spoken that will be."""
        turn.voiced = True
        self._settle()

    def is_stale(self, turn: Turn) -> bool:
        """It waited too long to be worth hearing."""
        return turn.ended_at is not None and self._clock() - turn.ended_at > STALE_S

    def tell(self, turn: Turn) -> None:
        """All of it is translated: the transcript may have it."""
        self._tell(turn)

    def reach(self, turn: Turn, moment: str) -> None:
        turn.reach(moment, self._clock())

    def count(self, event: str) -> None:
        self._measures.counted(event)

    # ---- helpers -----------------------------------------------------------------------------------

    def _wanted(self, turn: Turn) -> dict[str, list[str]]:
        languages: dict[str, str | None] = {name: party.tongue.language for name, party in self._parties.items()}
        languages[turn.speaker] = turn.language
        return listeners(self._terms, turn.speaker, self._parties, languages)

    def _send(self, turn: Turn, clauses: dict[str, Clause], chunk: bytes) -> None:
        for name, clause in clauses.items():
            account = self._accounts.get(name)
            if account is None or name in turn.stopped:
                continue
            pieces = [chunk]
            if "first_audio" not in turn.reached:
                self.reach(turn, "first_audio")
                pieces = [chunk[:FIRST], chunk[FIRST:]]
            for number, piece in enumerate(pieces):
                if piece:
                    self._sink.audio(turn.speaker, name, turn.start_ms, piece)
                    account.send(clause, len(piece))
                if len(pieces) == 2 and number == 0:
                    self._mark(name, _first_mark(turn))

    def _mark(self, name: str, mark: str) -> None:
        self._accounts[name].mark(mark)
        self._sink.mark(name, mark)

    def _tell(self, turn: Turn) -> None:
        """To the transcript and the streams; a turn without words is forgotten."""
        turn.told = True
        if not turn.text:
            turn.settled = True
            return
        self._open.append(turn)
        if "heard" in turn.reached:
            self._timekeeper.tell(turn)
        self._sink.final(
            turn.segment_id, turn.speaker, turn.language, turn.text, turn.start_ms, turn.end_ms, turn.confidence,
            turn.translation(), turn.metadata(),
        )  # fmt: skip
        if len(self._open) > OPEN_TURNS:
            self._close_turn(self._open.pop(0))

    def _settle(self, *, all_of_them: bool = False) -> None:
        """Turns of which everything is known: the transcript learns what was heard, and when."""
        for turn in [one for one in self._open if all_of_them or one.is_over]:
            self._open.remove(turn)
            self._close_turn(turn)

    def _close_turn(self, turn: Turn) -> None:
        turn.settled = True
        self._timekeeper.tell(turn)
        if turn.spoken:
            self._sink.settled(turn.segment_id, turn.translation(heard=True), turn.metadata())

    def _open_turns(self) -> list[Turn]:
        """Those of which something may still be heard."""
        going = [turn for line in self._lines.values() for turn in line.turns]
        return [*self._open, *(turn for turn in going if turn not in self._open)]

    def _lack(self, stage: Stage, language: str) -> None:
        """A stage that can not be had in a language: told once."""
        self._say_once(self._means.missing(stage, language))

    def _say_once(self, why: str) -> None:
        if why not in self._absent and not self._closed:
            self._absent.add(why)
            self._sink.failed("engine_not_available", why)


def _first_mark(turn: Turn) -> str:
    return f"{turn.segment_id}:first"
