"""A conversation between a caller and a thinker: its history, its next answer, the tools that are asked for on the way.

Theory of operation. `answer` hands on the thinker's text as it comes; a tool that is asked for is run and its result
given back, round after round, at most `ROUNDS` times. Nothing of an answer is remembered until `settled` says how
much of it the caller has heard: after an interruption the thinker must not believe that it said what nobody heard.

Owns history and rounds. Refuses to know audio, languages and who the thinker is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, Protocol, cast

from gateway.speech.stages import Message, Thinker, Tool, ToolCall

#: Times that a thinker may ask for tools within one answer, and tools that it may ask for at once.
ROUNDS: Final = 5
CALLS: Final = 8
#: What is remembered beside the system prompt: messages, and characters of them.
REMEMBERED: Final = 60
CHARACTERS: Final = 24_000
#: Characters of one answer; a thinker that does not come to an end is cut off.
LONGEST: Final = 4_000


class Tools(Protocol):
    @property
    def told(self) -> tuple[Tool, ...]:
        """What the thinker is told of them."""

    async def run(self, call: ToolCall) -> str:
        """Run one; never fails."""


class Dialogue:
    """system: makes the system prompt of the next answer, from what the caller has said last."""

    def __init__(
        self,
        thinker: Thinker,
        system: Callable[[str], Awaitable[str]],
        tools: Tools | None = None,
        temperature: float | None = None,
    ) -> None:
        self._thinker = thinker
        self._system = system
        self._tools = tools
        self._temperature = temperature
        self._history: list[Message] = []
        self._round: list[Message] = []  # of the answer in progress: calls and results

    @property
    def history(self) -> tuple[Message, ...]:
        return tuple(self._history)

    @property
    def waits(self) -> bool:
        """The caller has said something that was not answered."""
        return bool(self._history) and self._history[-1].role == "user"

    def said(self, text: str) -> None:
        """The agent has said something of its own accord: the greeting."""
        self._remember(Message("assistant", text))

    async def answer(self, text: str) -> AsyncGenerator[str, None]:
        """What to say to this, piece by piece. Raises EngineFault. Closing it gives the answer up."""
        if self.waits:
            # The caller went on before anything was answered: to the thinker that is one turn.
            self._history[-1] = Message("user", f"{self._history[-1].text} {text}".strip())
        else:
            self._remember(Message("user", text))
        system = Message("system", await self._system(self._history[-1].text))
        self._round = []
        length = 0
        for remaining in range(ROUNDS, -1, -1):
            calls: list[ToolCall] = []
            said = ""
            tools = self._tools.told if self._tools is not None and remaining else ()
            messages = [system, *self._history, *self._round]
            thinking = self._thinker.think(messages, tools=tools, temperature=self._temperature)
            async with aclosing(cast(AsyncGenerator[str | ToolCall, None], thinking)):
                async for piece in thinking:
                    if isinstance(piece, ToolCall):
                        calls.append(piece)
                        continue
                    piece = piece[: LONGEST - length]
                    length += len(piece)
                    said += piece
                    if piece:
                        yield piece
                    if length >= LONGEST:
                        return
            if not calls or not tools or self._tools is None:
                return
            if said and not said[-1].isspace():
                yield " "  # what follows is another sentence
            self._round.append(Message("assistant", said, tuple(calls)))
            for number, call in enumerate(calls):
                result = await self._tools.run(call) if number < CALLS else "error: too many tools at once"
                self._round.append(Message("tool", result, call_id=call.id))

    def settled(self, heard: str, complete: bool) -> None:
        """The answer is over. heard: what of it the caller has heard; complete: that was all of it."""
        for message in self._round:
            # What was said before a tool is part of what was heard; it stands there once, at the end.
            self._remember(Message(message.role, "", message.calls) if message.calls else message)
        self._round = []
        if heard:
            self._remember(Message("assistant", heard if complete else f"{heard} [interrupted by the caller]"))

    def _remember(self, message: Message) -> None:
        """Add, and forget whole turns from the front: a tool's result without its call is refused by endpoints."""
        self._history.append(message)
        size = sum(len(one.text) for one in self._history)
        while len(self._history) > 1 and (len(self._history) > REMEMBERED or size > CHARACTERS):
            size -= len(self._history.pop(0).text)
            while len(self._history) > 1 and self._history[0].role != "user":
                size -= len(self._history.pop(0).text)
