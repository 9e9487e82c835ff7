"""gateway/speech/dialogue.py"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech import dialogue as module
from gateway.speech.dialogue import Dialogue
from gateway.speech.stages import EngineFault, Message, Stage, Tool, ToolCall

CALL = ToolCall("c1", "order", '{"id": "7"}')


class Thinker:
    """Answers with what it was given, round after round; notes what it was asked with."""

    engine = "scripted"
    languages = frozenset({"*"})

    def __init__(self, *rounds: Sequence[str | ToolCall] | EngineFault) -> None:
        self.rounds = list(rounds)
        self.asked: list[list[Message]] = []
        self.tools: list[int] = []

    async def think(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), temperature: float | None = None
    ) -> AsyncIterator[str | ToolCall]:
        self.asked.append(list(messages))
        self.tools.append(len(tools))
        now = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
        if isinstance(now, EngineFault):
            raise now
        for piece in now:
            yield piece


class Tools:
    told = (Tool("order", "", {}),)

    def __init__(self) -> None:
        self.ran: list[ToolCall] = []

    async def run(self, call: ToolCall) -> str:
        self.ran.append(call)
        return "shipped"


async def system(question: str) -> str:
    return f"be kind; asked: {question}"


def talk(dialogue: Dialogue, *turns: str, heard: str | None = None) -> list[str]:
    """Says the turns; each answer is heard as it is, or as `heard`."""

    async def main() -> list[str]:
        answers = []
        for turn in turns:
            answer = "".join([piece async for piece in dialogue.answer(turn)])
            dialogue.settled(answer if heard is None else heard, heard is None)
            answers.append(answer)
        return answers

    return asyncio.run(main())


def roles(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]


def test_turn_by_turn() -> None:
    thinker = Thinker(["good ", "day"], ["at nine"])
    dialogue = Dialogue(thinker, system)
    dialogue.said("welcome")
    assert talk(dialogue, "hello", "when do you open") == ["good day", "at nine"]
    assert roles(thinker.asked[1]) == [
        ("system", "be kind; asked: when do you open"),
        ("assistant", "welcome"),
        ("user", "hello"),
        ("assistant", "good day"),
        ("user", "when do you open"),
    ]


def test_a_tool_is_run_and_its_result_given_back() -> None:
    thinker = Thinker(["one moment", CALL], ["it is shipped"])
    tools = Tools()
    dialogue = Dialogue(thinker, system, tools)
    assert talk(dialogue, "where is my order") == ["one moment it is shipped"]
    assert tools.ran == [CALL]
    assert thinker.asked[1][-2:] == [
        Message("assistant", "one moment", (CALL,)),
        Message("tool", "shipped", call_id="c1"),
    ]
    assert roles(dialogue.history) == [
        ("user", "where is my order"),
        ("assistant", ""),
        ("tool", "shipped"),
        ("assistant", "one moment it is shipped"),
    ]


def test_only_what_was_heard_is_remembered() -> None:
    dialogue = Dialogue(Thinker(["a long answer about everything"]), system)
    talk(dialogue, "tell me", heard="a long")
    assert roles(dialogue.history) == [("user", "tell me"), ("assistant", "a long [interrupted by the caller]")]


def test_what_is_said_before_anything_was_heard_is_one_turn() -> None:
    thinker = Thinker(["yes?"])
    dialogue = Dialogue(thinker, system)
    talk(dialogue, "where is", heard="")
    talk(dialogue, "my order")
    assert roles(thinker.asked[1]) == [
        ("system", "be kind; asked: where is my order"), ("user", "where is my order"),
    ]  # fmt: skip


def test_rounds_are_bounded_and_the_last_one_has_no_tools() -> None:
    thinker = Thinker([CALL])
    tools = Tools()
    talk(Dialogue(thinker, system, tools), "loop")
    assert thinker.tools == [1] * module.ROUNDS + [0]
    assert len(tools.ran) == module.ROUNDS


def test_many_tools_at_once_are_refused() -> None:
    calls = [ToolCall(f"c{n}", "order", "{}") for n in range(module.CALLS + 2)]
    thinker = Thinker(calls, ["done"])
    tools = Tools()
    talk(Dialogue(thinker, system, tools), "everything")
    assert len(tools.ran) == module.CALLS
    answered = [message.call_id for message in thinker.asked[1] if message.role == "tool"]
    assert answered == [call.id for call in calls]


def test_an_endless_answer_is_cut() -> None:
    (answer,) = talk(Dialogue(Thinker(["x" * 3000, "y" * 3000]), system), "go on")
    assert len(answer) == module.LONGEST


def test_a_fault_leaves_the_conversation_usable() -> None:
    fault = EngineFault(Stage.THINKING, "scripted", "away", retryable=True)
    thinker = Thinker(fault, ["here I am"])
    dialogue = Dialogue(thinker, system)
    with pytest.raises(EngineFault):
        talk(dialogue, "hello")
    dialogue.settled("", complete=False)
    assert talk(dialogue, "are you there") == ["here I am"]
    assert roles(thinker.asked[1])[1:] == [("user", "hello are you there")]


@given(st.lists(st.tuples(st.text(max_size=9000), st.booleans()), max_size=40))
def test_memory_is_bounded_and_never_begins_with_half_a_turn(turns: list[tuple[str, bool]]) -> None:
    rounds: list[list[str | ToolCall]] = []
    for _, with_tool in turns:
        rounds += [[CALL], ["ok"]] if with_tool else [["ok"]]
    thinker = Thinker(*rounds, ["end"])
    dialogue = Dialogue(thinker, system, Tools())
    talk(dialogue, *(text for text, _ in turns), "last")
    history = dialogue.history
    assert len(history) <= module.REMEMBERED
    assert len(history) == 1 or sum(len(m.text) for m in history) <= module.CHARACTERS
    for asked in thinker.asked:
        known = {call.id for message in asked for call in message.calls}
        assert {message.call_id for message in asked if message.role == "tool"} <= known
