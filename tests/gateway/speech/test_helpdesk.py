"""gateway/speech/helpdesk.py"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.speech.detection import TextDetector
from gateway.speech.helpdesk import HelpDesk, Quoter
from gateway.speech.library import Library
from gateway.speech.phrases import phrase
from gateway.speech.stages import EngineFault, Message, Stage
from tests.support.engines import PretendEngine

REFUNDS = "Refunds are paid within five working days to the card that you have paid with."
HOURS = "All our shops are open from nine in the morning until eight in the evening."
DETECTOR = TextDetector()


class Scene:
    def __init__(self, folder: Path, language: str = "en", **desk: str) -> None:
        (folder / "returns.md").write_text(f"# Returns\n## Refunds\n{REFUNDS}")
        (folder / "hours.md").write_text(HOURS)
        self.library = Library(folder)
        self.library.refresh()
        self.engine = PretendEngine("pretend", pairs={("es", "en"), ("en", "es")})
        self.language = language
        self.desk = HelpDesk(self.library, self.translator, lambda: self.language, DETECTOR, **desk)

    def translator(self, source: str, target: str):  # type: ignore[no-untyped-def]
        return self.engine.translator if {source, target} == {"en", "es"} else None

    def quote(self, question: str) -> str:
        async def main() -> str:
            thinker = Quoter(self.desk)
            messages = [Message("system", ""), Message("user", question)]
            return "".join([str(piece) async for piece in thinker.think(messages)])

        return asyncio.run(main())


@pytest.mark.parametrize(
    ("question", "answer", "source"),
    [
        ("how do I get a refund", REFUNDS, "returns.md › Returns › Refunds"),
        ("when do your shops open", HOURS, "hours.md"),
    ],
)
def test_the_best_passage_is_read_out_and_named(tmp_path: Path, question: str, answer: str, source: str) -> None:
    scene = Scene(tmp_path)
    assert scene.quote(question) == answer
    assert scene.desk.sources == [source]


def test_what_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.quote("refund")
    assert scene.quote("can I insure a helicopter against hail") == phrase("unknown", "en")[1]
    assert scene.desk.sources == []
    assert scene.quote("hello") == phrase("welcome", "en")[1]


def test_a_caller_of_another_language_is_asked_and_answered_through_a_translation(tmp_path: Path) -> None:
    scene = Scene(tmp_path, language="es")
    # The pretended translation keeps the words: `[en refund]` finds the passage, `[es …]` is what is read out.
    assert scene.quote("refund") == f"[es {REFUNDS}]"
    assert scene.desk.sources == ["returns.md › Returns › Refunds"]


def test_without_a_translation_it_is_read_as_it_is_written(tmp_path: Path) -> None:
    assert Scene(tmp_path, language="fr").quote("refund") == REFUNDS
    broken = Scene(tmp_path, language="es")
    fault = EngineFault(Stage.TRANSLATION, "pretend", "away", retryable=True)
    broken.engine.faults[Stage.TRANSLATION] = [fault, fault]
    assert broken.quote("refund") == REFUNDS


def test_a_thinker_is_given_the_passages(tmp_path: Path) -> None:
    scene = Scene(tmp_path, documents="en", instructions="Be kind.")
    prompt = asyncio.run(scene.desk.system("how do I get a refund"))
    assert prompt.startswith("Be kind.")
    assert REFUNDS in prompt
    assert scene.desk.sources[0] == "returns.md › Returns › Refunds"
    assert "no passage" in asyncio.run(scene.desk.system("helicopter"))
    assert scene.desk.sources == []
