"""gateway/speech/toolbox.py"""

from __future__ import annotations

import asyncio

from gateway.speech.stages import ToolCall
from gateway.speech.toolbox import ANSWER_LIMIT, Asked, ToolAnswer, Toolbox
from gateway.speech.tools import ToolDefinition

ORDER = ToolDefinition(
    name="order",
    url="https://example.com/order",
    parameters={"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
    timeout_seconds=3,
)
HUMAN = ToolDefinition(type="transfer_to_human", to="sip:600@pbx.example.com", method="dial")
END = ToolDefinition(type="end_call")


class Session:
    """Notes what it is asked for. refuses: what a transfer fails with."""

    def __init__(self, answer: ToolAnswer = ToolAnswer(True, "shipped"), refuses: str = "") -> None:  # noqa: B008
        self.asked: list[Asked] = []
        self.done: list[tuple[str, ...]] = []
        self._answer = answer
        self._refuses = refuses

    async def ask(self, asked: Asked) -> ToolAnswer:
        self.asked.append(asked)
        return self._answer

    async def transfer(self, to: str, method: str) -> str:
        self.done.append(("transfer", to, method))
        return self._refuses

    def end_call(self) -> None:
        self.done.append(("end_call",))


def run(session: Session, name: str, arguments: str = "{}") -> str:
    box = Toolbox([ORDER, HUMAN, END], session.ask, session)
    return asyncio.run(box.run(ToolCall("call-1", name, arguments)))


def test_the_thinker_is_told_of_all() -> None:
    session = Session()
    told = Toolbox([ORDER, HUMAN, END], session.ask, session).told
    assert [tool.name for tool in told] == ["order", "transfer_to_human", "end_call"]


def test_a_function_is_asked() -> None:
    session = Session()
    assert run(session, "order", '{"id": "7"}') == "shipped"
    assert session.asked == [Asked("https://example.com/order", "order", "call-1", {"id": "7"}, 3)]


def test_what_goes_wrong_is_told_to_the_thinker() -> None:
    session = Session(ToolAnswer(False, "HTTP 500"))
    assert run(session, "order", '{"id": "7"}') == "error: HTTP 500"
    assert run(session, "order") == "error: missing arguments: id"
    assert run(session, "nothing") == "error: there is no tool 'nothing'"
    assert len(session.asked) == 1


def test_an_answer_is_bounded_and_never_empty() -> None:
    assert len(run(Session(ToolAnswer(True, "x" * 100_000)), "order", '{"id": "7"}')) == ANSWER_LIMIT
    assert run(Session(ToolAnswer(True, "")), "order", '{"id": "7"}') == "done"


def test_hands() -> None:
    session = Session()
    assert "connected" in run(session, "transfer_to_human")
    assert "ends" in run(session, "end_call")
    assert session.done == [("transfer", "sip:600@pbx.example.com", "dial"), ("end_call",)]
    assert run(Session(refuses="nobody answers"), "transfer_to_human") == "error: nobody answers"
