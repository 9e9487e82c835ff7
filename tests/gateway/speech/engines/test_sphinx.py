"""gateway/speech/engines/sphinx.py, with the real pocketsphinx: its worker forks, hears, dies and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gateway.speech import mulaw
from gateway.speech.engines.sphinx import WAITING, SphinxRecognizer
from gateway.speech.stages import EngineFault, Partial
from tests.support.telephone import flite_telephone

SENTENCE = "Can you tell me your name and address?"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return flite_telephone(SENTENCE, tmp_path_factory.mktemp("speech"))


def feed(ear: object, audio: bytes) -> None:
    for at in range(0, len(audio), 160):
        ear.feed(audio[at : at + 160])  # type: ignore[attr-defined]


def test_english_is_understood_turn_after_turn(speech: bytes) -> None:
    async def main() -> None:
        recognizer = SphinxRecognizer("offline", 2)
        await recognizer.start()
        assert recognizer.languages == {"en"}
        partials: list[Partial] = []
        ear = recognizer.listen("en", partials.append)
        feed(ear, speech)
        ear.pause()
        first = ear.end()
        feed(ear, speech)  # belongs to the next turn
        second = ear.end()
        for heard in (await first, await second):
            assert heard.text.lower() == "can you tell me your name and address"
            assert heard.language == "en"
            assert 0 < heard.confidence <= 1
        assert all(partial.text for partial in partials)

        other = recognizer.listen("en-GB", lambda partial: None)
        assert recognizer.full()
        with pytest.raises(EngineFault, match="2 speakers"):
            recognizer.listen("en", lambda partial: None)
        ear.close()
        assert not recognizer.full()
        feed(other, mulaw.SILENCE * 8000)
        assert (await other.end()).text == ""
        await recognizer.close()

    asyncio.run(main())


def children(of: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(of)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def parent_of(recognizer: SphinxRecognizer) -> int:
    process = recognizer._worker._process
    assert process is not None
    return process.pid


async def speaker_of(recognizer: SphinxRecognizer) -> int:
    """The process of the only speaker, once it is there."""
    for _ in range(500):
        if found := children(parent_of(recognizer)):
            return found[0]
        await asyncio.sleep(0.01)
    raise AssertionError("nobody listens")


def test_a_speaker_whose_process_dies_loses_one_turn(speech: bytes) -> None:
    async def main() -> None:
        recognizer = SphinxRecognizer("offline", 4)
        await recognizer.start()
        ear = recognizer.listen("en", lambda partial: None)
        feed(ear, speech)
        child = await speaker_of(recognizer)
        answer = ear.end()
        os.kill(child, signal.SIGKILL)
        with pytest.raises(EngineFault, match="died"):
            await answer
        feed(ear, speech)
        assert "name and address" in (await ear.end()).text
        await recognizer.close()

    asyncio.run(main())


def test_a_stopped_process_fails_turns_and_drops_audio_within_bounds() -> None:
    async def main() -> None:
        recognizer = SphinxRecognizer("offline", 4)
        await recognizer.start()
        ear = recognizer.listen("en", lambda partial: None)
        feed(ear, mulaw.SILENCE * 800)
        child = await speaker_of(recognizer)
        os.kill(child, signal.SIGSTOP)
        answers = [ear.end() for _ in range(WAITING + 1)]
        with pytest.raises(EngineFault, match="keep up"):
            await answers[0]
        noise = mulaw.encode(np.random.default_rng(1).normal(0, 500, 8000)).tobytes()
        for _ in range(120):
            feed(ear, noise)
        assert ear.dropped > 0
        os.kill(child, signal.SIGKILL)
        with pytest.raises(EngineFault):
            await answers[-1]
        await recognizer.close()

    asyncio.run(main())


def test_late_answers_say_that_there_is_no_room() -> None:
    async def main() -> None:
        recognizer = SphinxRecognizer("offline", 4)
        assert not recognizer.full()
        for _ in range(40):
            recognizer.answered(5.0)
        assert recognizer.full()
        for _ in range(40):
            recognizer.answered(0.2)
        assert not recognizer.full()

    asyncio.run(main())


def test_the_process_of_a_speaker_ends_with_its_ear(tmp_path: Path) -> None:
    async def main() -> None:
        recognizer = SphinxRecognizer("offline", 4)
        await recognizer.start()
        ear = recognizer.listen("en", lambda partial: None)
        feed(ear, mulaw.SILENCE * 800)
        child = await speaker_of(recognizer)
        ear.close()
        for _ in range(500):
            if child not in children(parent_of(recognizer)):
                break
            await asyncio.sleep(0.01)
        assert children(parent_of(recognizer)) == []
        await recognizer.close()

    asyncio.run(main())
