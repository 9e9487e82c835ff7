"""Runs the tools that a thinker asks for, within bounds, and puts what came of it into words for the thinker.

Owns the outcome of a call. The request itself is made by a `Ask`, what happens to the call by `Hands`: both are
the session service's. A tool that fails is no fault of the conversation: the thinker is told and goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import structlog

from gateway.speech.stages import Tool, ToolCall
from gateway.speech.tools import END_CALL, TRANSFER, ToolDefinition, arguments_of

_log = structlog.get_logger(__name__)

#: Characters of a tool's answer that the thinker is given.
ANSWER_LIMIT: Final = 8_000


class Asked(NamedTuple):
    """One request to a tool's webhook."""

    url: str
    tool: str
    call_id: str
    arguments: dict[str, Any]
    timeout_s: float


@dataclass(frozen=True)
class ToolAnswer:
    """What came of it. text: the answer's body, or what went wrong."""

    good: bool
    text: str


class Ask(Protocol):
    async def __call__(self, asked: Asked) -> ToolAnswer:
        """Make the request; every failure is an answer."""


class Hands(Protocol):
    """What an agent can do with its session besides talking."""

    async def transfer(self, to: str, method: str) -> str:
        """Bring a human. Returns what went wrong, empty when it was begun."""

    def end_call(self) -> None:
        """Hang up once everything that was said has been heard."""


class Toolbox:
    """One session's tools."""

    def __init__(self, tools: Sequence[ToolDefinition], ask: Ask, hands: Hands) -> None:
        self._tools = {tool.called: tool for tool in tools}
        self._ask = ask
        self._hands = hands

    @property
    def told(self) -> tuple[Tool, ...]:
        """What the thinker is told of them."""
        return tuple(tool.told() for tool in self._tools.values())

    async def run(self, call: ToolCall) -> str:
        """Do it; returns what the thinker is to read."""
        tool = self._tools.get(call.name)
        if tool is None:
            return f"error: there is no tool {call.name[:80]!r}"
        try:
            arguments = arguments_of(call.arguments, tool.parameters)
        except ValueError as error:
            return f"error: {error}"
        if tool.type == TRANSFER:
            assert tool.to is not None
            failure = await self._hands.transfer(tool.to, tool.method)
            return f"error: {failure}" if failure else "the caller is being connected"
        if tool.type == END_CALL:
            self._hands.end_call()
            return "the call ends when you have finished speaking"
        assert tool.url is not None
        answer = await self._ask(Asked(tool.url, tool.called, call.id, arguments, tool.timeout_seconds))
        if not answer.good:
            _log.warning("tool_failed", tool=tool.called, error=answer.text[:200])
            return f"error: {answer.text[:500]}"
        return answer.text[:ANSWER_LIMIT] or "done"
