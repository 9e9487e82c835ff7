from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from gateway.speech import mulaw
from gateway.speech.engines import pieces
from gateway.speech.engines.pieces import PieceEar, settled, speech_ms
from gateway.speech.stages import EngineFault, Heard, Partial, Stage
from tests.support.loops import on_a_loop

PAUSE = mulaw.SILENCE * 8 * 260


def speech(ms: int, seed: int = 1) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 3000, ms * 8)
    return mulaw.encode(noise).tobytes()


WORDS, MORE = speech(600, 1), speech(500, 2)
FAULT = EngineFault(Stage.RECOGNITION, "pretend", "away", retryable=True)


class Rig:
    """An ear whose requests are answered by hand."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str | None, str]] = []
        self.guesses: list[Callable[[str], None]] = []
        self.answers: list[asyncio.Future[Heard]] = []
        self.partials: list[Partial] = []
        self.ear = PieceEar("pretend", self.hear, "en", self.partials.append)

    async def hear(self, mulaw: bytes, language: str | None, before: str, guess: Callable[[str], None]) -> Heard:
        self.asked.append((mulaw, language, before))
        self.guesses.append(guess)
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    async def answer(self, text: str | EngineFault, place: int = -1) -> None:
        if isinstance(text, EngineFault):
            self.answers[place].set_exception(text)
        else:
            self.answers[place].set_result(Heard(text, "en", 0.5))
        await settle()

    async def feed(self, *audio: bytes) -> None:
        for piece in audio:
            for at in range(0, len(piece), 160):
                self.ear.feed(piece[at : at + 160])
        await settle()

    async def pause(self) -> None:
        await self.feed(PAUSE)
        self.ear.pause()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@on_a_loop(Rig)
async def test_what_was_heard_at_the_pause_is_the_answer_at_the_end(rig: Rig) -> None:
    await rig.feed(WORDS)
    await rig.pause()
    assert rig.asked == [(WORDS + PAUSE, "en", "")]
    await rig.answer("Good morning")
    await rig.feed(PAUSE)
    answer = rig.ear.end()
    await settle()
    assert answer.result() == Heard("Good morning", "en", 0.5)
    assert len(rig.asked) == 1


@on_a_loop(Rig)
async def test_the_end_waits_for_a_request_that_is_under_way(rig: Rig) -> None:
    await rig.feed(WORDS)
    await rig.pause()
    await rig.feed(PAUSE)
    answer = rig.ear.end()
    await settle()
    assert not answer.done()
    await rig.answer("Good morning.")
    assert answer.result().text == "Good morning."
    assert len(rig.asked) == 1
    assert rig.partials == []  # after the end, the answer only


@on_a_loop(Rig)
async def test_a_finished_sentence_is_settled_and_the_next_is_heard_alone(rig: Rig) -> None:
    await rig.feed(WORDS)
    await rig.pause()
    await rig.answer("Good morning.")
    assert rig.partials == [Partial("Good morning.", 13, "en", 860)]
    await rig.feed(MORE)
    await rig.pause()
    assert rig.asked[1] == (MORE + PAUSE, "en", "Good morning.")
    rig.guesses[1]("How")
    assert rig.partials[-1] == Partial("Good morning. How", 13, "en", 860)
    await rig.answer("How are you?")
    answer = rig.ear.end()
    await settle()
    assert answer.result().text == "Good morning. How are you?"


@on_a_loop(Rig)
async def test_half_a_sentence_is_heard_again_with_what_follows(rig: Rig) -> None:
    await rig.feed(WORDS)
    await rig.pause()
    await rig.answer("I would like...")
    assert rig.partials == [Partial("I would like...", 0, "en", 0)]
    await rig.feed(MORE)
    await rig.pause()
    assert rig.asked[1] == (WORDS + PAUSE + MORE + PAUSE, "en", "")
    await rig.answer("I would like a table.")
    answer = rig.ear.end()
    await settle()
    assert answer.result().text == "I would like a table."


@on_a_loop(Rig)
async def test_pauses_during_a_request_are_heard_together_after_it(rig: Rig) -> None:
    await rig.feed(WORDS)
    await rig.pause()
    for _ in range(3):
        await rig.feed(MORE)
        await rig.pause()
    assert len(rig.asked) == 1
    await rig.answer("One.")
    assert len(rig.asked) == 2
    assert rig.asked[1][0] == (MORE + PAUSE) * 3


@on_a_loop(Rig)
async def test_an_end_without_a_pause_is_heard_whole(rig: Rig) -> None:
    await rig.feed(WORDS)
    await rig.pause()
    await rig.answer("One.")
    await rig.feed(MORE)
    answer = rig.ear.end()
    await settle()
    assert rig.asked[1] == (MORE, "en", "One.")
    await rig.answer("Two.")
    assert answer.result().text == "One. Two."


@on_a_loop(Rig)
async def test_a_turn_without_speech_asks_nobody(rig: Rig) -> None:
    await rig.pause()
    answer = rig.ear.end()
    await settle()
    assert answer.result() == Heard("", "en", 0.0)
    assert (await asyncio.wait_for(rig.ear.end(), 1)).text == ""
    assert not rig.asked


@on_a_loop(Rig)
async def test_a_fault_before_the_end_is_tried_again_and_one_after_it_is_told(rig: Rig) -> None:
    await rig.feed(WORDS)
    await rig.pause()
    await rig.answer(FAULT)
    answer = rig.ear.end()
    await settle()
    assert rig.asked[1][0] == WORDS + PAUSE
    await rig.answer(FAULT)
    with pytest.raises(EngineFault, match="away"):
        await answer


@on_a_loop(Rig)
async def test_a_fault_of_what_is_under_way_at_the_end_is_told_at_once(rig: Rig) -> None:
    await rig.feed(WORDS)
    await rig.pause()
    answer = rig.ear.end()
    await rig.answer(FAULT)
    assert isinstance(answer.exception(), EngineFault)
    assert len(rig.asked) == 1


@on_a_loop(Rig)
async def test_a_slow_turn_does_not_hold_up_the_next(rig: Rig) -> None:
    await rig.feed(WORDS)
    first = rig.ear.end()
    await rig.feed(MORE)
    second = rig.ear.end()
    await settle()
    await rig.answer("Two.", 1)
    assert second.result().text == "Two."
    assert not first.done()


@on_a_loop(Rig)
async def test_who_falls_too_far_behind_loses_the_oldest_turn(rig: Rig) -> None:
    answers = []
    for _ in range(pieces.WAITING_TURNS + 1):
        await rig.feed(WORDS)
        answers.append(rig.ear.end())
    await settle()
    assert isinstance(answers[0].exception(), EngineFault)
    assert not any(answer.done() for answer in answers[1:])
    rig.ear.close()


@on_a_loop(Rig)
async def test_giving_up_cancels_the_request(rig: Rig) -> None:
    for give_up in ("drop", "cancel", "close"):
        await rig.feed(WORDS)
        await rig.pause()
        if give_up == "cancel":
            rig.ear.end().cancel()
        else:
            getattr(rig.ear, give_up)()
        await settle()
        assert rig.answers[-1].cancelled(), give_up
    assert not rig.partials


@on_a_loop(Rig)
async def test_a_turn_keeps_no_more_than_a_bound(rig: Rig) -> None:
    for _ in range(pieces.KEPT_OCTETS // len(WORDS) + 5):
        rig.ear.feed(WORDS)
    rig.ear.end()
    await settle()
    assert len(rig.asked[0][0]) == pieces.KEPT_OCTETS
    rig.ear.close()


@on_a_loop(Rig)
async def test_without_audio_for_a_moment_a_piece_is_heard_and_a_pause_settles_it(rig: Rig) -> None:
    rig.ear = PieceEar("pretend", rig.hear, "en", rig.partials.append, early_s=0.01)
    await rig.feed(WORDS)
    while not rig.asked:  # noqa: ASYNC110  (it is the loop's clock that decides)
        await asyncio.sleep(0.005)
    assert rig.asked == [(WORDS, "en", "")]
    await rig.answer("Good morning.")
    assert rig.partials == [Partial("Good morning.", 0, "en", 0)]
    await rig.pause()
    assert rig.partials[1:] == [Partial("Good morning.", 13, "en", 600)]
    assert (await rig.ear.end()).text == "Good morning."
    assert len(rig.asked) == 1


@on_a_loop(Rig)
async def test_a_pause_during_the_request_settles_its_answer(rig: Rig) -> None:
    rig.ear = PieceEar("pretend", rig.hear, "en", rig.partials.append, early_s=0.01)
    await rig.feed(WORDS)
    while not rig.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await rig.pause()
    await rig.answer("Good morning.")
    assert rig.partials == [Partial("Good morning.", 13, "en", 600)]
    rig.ear.close()


@on_a_loop(Rig)
async def test_a_silence_that_is_no_pause_settles_nothing(rig: Rig) -> None:
    rig.ear = PieceEar("pretend", rig.hear, "en", rig.partials.append, early_s=0.01)
    await rig.feed(WORDS)
    while not rig.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await rig.feed(MORE)
    await rig.answer("Good mor.")
    assert rig.partials == [Partial("Good mor.", 0, "en", 0)]
    await rig.pause()
    assert rig.asked[-1] == (WORDS + MORE + PAUSE, "en", "")
    rig.ear.close()


@on_a_loop(Rig)
async def test_who_has_gone_is_not_heard_any_more(rig: Rig) -> None:
    for leave in ("drop", "close"):
        rig.ear = PieceEar("pretend", rig.hear, "en", rig.partials.append, early_s=0.01)
        await rig.feed(WORDS)
        getattr(rig.ear, leave)()
    await asyncio.sleep(0.03)
    assert not rig.asked


@pytest.mark.parametrize("text", ["Good.", "¿Qué?", "Done!", 'He said "no."', "好。", "Well;"])
def test_finished(text: str) -> None:
    assert settled(text)


@pytest.mark.parametrize("text", ["Good", "I would...", "And then…", "so,", "", "the --"])
def test_not_finished(text: str) -> None:
    assert not settled(text)


def test_speech_is_what_stands_out() -> None:
    assert speech_ms(PAUSE) == 0
    assert speech_ms(b"") == 0
    assert speech_ms(PAUSE + WORDS + PAUSE) == 600
    hum = mulaw.encode(np.random.default_rng(3).normal(0, 50, 8000)).tobytes()
    assert speech_ms(WORDS + hum) == 600
    assert speech_ms(hum, loudest_db=-15.0) == 0
