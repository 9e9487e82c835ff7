"""gateway/speech/engines/apertium.py, with the real apertium-eng-spa."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.engines import apertium as module
from gateway.speech.engines.apertium import ApertiumTranslator, command_of, escaped, pairs_in, unescaped
from gateway.speech.stages import EngineFault


@given(st.text(max_size=60))
def test_escaping_is_undone(text: str) -> None:
    assert unescaped(escaped(text)) == " ".join(text.replace("\0", " ").split())


def test_modes_are_pairs(tmp_path: Path) -> None:
    for name in ("eng-spa", "spa-eng", "spa-eng_US", "en-es", "oci_aran-cat", "eng-spa-tagger", "README"):
        (tmp_path / f"{name}.mode").write_text("x")
    found = pairs_in(tmp_path)
    assert set(found) == {("en", "es"), ("es", "en"), ("oc", "ca")}


def test_every_program_of_a_mode_flushes() -> None:
    mode = "#!/bin/bash\nlt-proc 'a.bin' | apertium-tagger -g $2 'b' | lt-proc $1 'c'\n"
    assert command_of(mode) == "lt-proc -z 'a.bin' | apertium-tagger -z -g $2 'b' | lt-proc -z $1 'c'"


async def translated(translator: ApertiumTranslator, text: str, source: str = "en", target: str = "es") -> str:
    return "".join([piece async for piece in translator.translate(text, source, target)])


def test_clauses_are_translated_both_ways_by_one_pipeline_a_pair() -> None:
    async def main() -> None:
        translator = ApertiumTranslator("offline")
        await translator.start()
        assert {("en", "es"), ("es", "en")} <= translator.pairs
        sentence = "I would like to reserve a table for two people"
        assert await translated(translator, sentence) == "Me gustaría reservar una mesa para dos personas"
        assert await translated(translator, f"{sentence}.", "en-US", "es-MX") == (
            "Me gustaría reservar una mesa para dos personas."
        )
        assert "table" in await translated(translator, "Quiero una mesa", "es", "en")
        together = await asyncio.gather(*(translated(translator, f"The house number {n}") for n in range(8)))
        assert [str(n) in text for n, text in enumerate(together)] == [True] * 8
        assert await translated(translator, "  ") == ""
        assert "zorblax" in await translated(translator, "The zorblax")
        assert await translated(translator, "[x] ^y$ {z} <b> a/b \\ @") != ""
        assert [pipeline.starts for pipeline in translator._pipelines.values()] == [1, 1]
        with pytest.raises(EngineFault, match="not installed") as absent:
            await translated(translator, "hello", "en", "xx")
        assert not absent.value.retryable
        await translator.close()

    asyncio.run(main())


def test_a_pipeline_that_dies_is_started_again() -> None:
    async def main() -> None:
        translator = ApertiumTranslator("offline")
        await translator.start()
        await translator.warm("en", "es")
        (pipeline,) = translator._pipelines.values()
        process = pipeline._process
        assert process is not None
        pipeline.kill()
        await process.wait()
        assert await translated(translator, "The house") == "La casa"
        assert pipeline.starts == 2
        await translator.close()

    asyncio.run(main())


def modes(folder: Path, program: str) -> Path:
    (folder / "eng-spa.mode").write_text(program)
    return folder


def test_a_pipeline_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)

    async def main() -> None:
        mute = tmp_path / "mute"
        mute.write_text("#!/bin/sh\nexec sleep 60\n")
        mute.chmod(0o755)
        translator = ApertiumTranslator("offline", modes(tmp_path, str(mute)))
        await translator.start()
        with pytest.raises(EngineFault, match="no answer") as late:
            await translated(translator, "hello")
        assert late.value.retryable
        (pipeline,) = translator._pipelines.values()
        assert pipeline._process is None
        await translator.close()

    asyncio.run(main())


def test_a_pipeline_that_ends_at_once_is_a_fault(tmp_path: Path) -> None:
    async def main() -> None:
        translator = ApertiumTranslator("offline", modes(tmp_path, "true"))
        await translator.start()
        with pytest.raises(EngineFault, match="died"):
            await translated(translator, "hello")
        await translator.close()

    asyncio.run(main())


def test_clauses_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 0)

    async def main() -> None:
        translator = ApertiumTranslator("offline")
        await translator.start()
        with pytest.raises(EngineFault, match="wait already"):
            await translated(translator, "hello")
        await translator.close()

    asyncio.run(main())


def test_without_pairs_there_is_no_translator(tmp_path: Path) -> None:
    with pytest.raises(EngineFault, match="no apertium pair"):
        asyncio.run(ApertiumTranslator("offline", tmp_path).start())
