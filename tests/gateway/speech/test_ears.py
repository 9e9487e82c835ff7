from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.speech import ears
from gateway.speech.ears import TurnByTurn
from gateway.speech.fallback import Health
from gateway.speech.resilience import Limits
from gateway.speech.stages import EngineFault, Heard, Partial, Stage
from tests.support.engines import PretendEngine
from tests.support.loops import on_a_loop

A, B, C = (bytes([octet]) * 1600 for octet in (10, 20, 30))  # 200 ms each


def away(name: str) -> EngineFault:
    return EngineFault(Stage.RECOGNITION, name, "away", retryable=True)


class Rig:
    def __init__(self) -> None:
        self.now = 0.0
        self.health = Health(lambda: self.now, Limits(failures=2, rest_s=5.0))
        self.first, self.second = (PretendEngine(name, hears={"en"}) for name in ("first", "second"))
        assert self.first.recognizer is not None
        assert self.second.recognizer is not None
        self.at_first, self.at_second = self.first.recognizer.ears, self.second.recognizer.ears
        self.recognizers = [self.first.recognizer, self.second.recognizer]
        self.partials: list[Partial] = []
        self.ear = TurnByTurn(self.recognizers, self.health, "en", self.partials.append)


@on_a_loop(Rig)
async def test_the_first_hears_all_turns_while_it_is_well(rig: Rig) -> None:
    rig.first.hears_next = ["one", "two"]
    for text in ("one", "two"):
        rig.ear.feed(A)
        assert await rig.ear.end() == Heard(text, "en", 0.9)
    assert rig.at_first[0].fed == A + A
    assert not rig.at_second


@on_a_loop(Rig)
async def test_the_next_hears_the_whole_turn_again(rig: Rig) -> None:
    rig.first.hears_next, rig.second.hears_next = [away("first")], ["one"]
    rig.ear.feed(A)
    rig.ear.pause()
    rig.ear.feed(B)
    assert (await rig.ear.end()).text == "one"
    assert rig.at_second[0].fed == A + B
    assert rig.at_second[0].closed


@on_a_loop(Rig)
async def test_what_was_committed_stays_and_only_the_rest_is_heard_again(rig: Rig) -> None:
    rig.first.hears_next, rig.second.hears_next = [away("first")], ["two three"]
    rig.ear.feed(A)
    rig.ear.pause()
    rig.at_first[0].partial(Partial("one", 3))
    rig.ear.feed(B)
    rig.ear.pause()
    rig.ear.feed(C)
    assert (await rig.ear.end()).text == "one two three"
    assert rig.at_second[0].fed == B + C


@on_a_loop(Rig)
async def test_an_engine_may_say_how_far_it_is(rig: Rig) -> None:
    rig.first.hears_next, rig.second.hears_next = [away("first")], [""]
    rig.ear.feed(A + B)
    rig.ear.pause()
    rig.at_first[0].partial(Partial("one", 3, covered_ms=200))
    assert (await rig.ear.end()).text == "one"
    assert rig.at_second[0].fed == B


@on_a_loop(Rig)
async def test_a_resting_engine_hears_nothing_until_it_is_tried_again(rig: Rig) -> None:
    rig.first.hears_next = [away("first"), away("first"), "four"]
    rig.second.hears_next = ["one", "two", "three"]
    for text in ("one", "two", "three"):
        rig.ear.feed(A)
        assert (await rig.ear.end()).text == text
    assert rig.at_first[0].fed == A + A
    assert rig.at_first[0].closed
    rig.now = 5.0
    rig.ear.feed(B)
    assert (await rig.ear.end()).text == "four"
    assert rig.at_first[-1].fed == B
    assert all(ear.closed for ear in rig.at_second)


@on_a_loop(Rig)
async def test_when_all_fail_the_last_fault_is_told_and_when_all_rest_that(rig: Rig) -> None:
    rig.first.hears_next, rig.second.hears_next = [away("first")] * 2, [away("second")] * 2
    for _ in range(2):
        rig.ear.feed(A)
        with pytest.raises(EngineFault, match="second: away"):
            await rig.ear.end()
    rig.ear.feed(A)
    with pytest.raises(EngineFault, match="first and second: left alone"):
        await rig.ear.end()


@on_a_loop(Rig)
async def test_the_next_turn_is_fed_before_this_one_is_answered(rig: Rig) -> None:
    rig.ear.feed(A)
    answer = rig.ear.end()
    rig.ear.feed(B)
    second = rig.ear.end()
    rig.at_first[0].ends[1].set_result(Heard("two", "en", 1.0))
    rig.at_first[0].ends[0].set_exception(away("first"))
    rig.second.hears_next = ["one"]
    assert (await answer).text == "one"
    assert (await second).text == "two"
    assert rig.at_second[0].fed == A


@on_a_loop(Rig)
async def test_guesses_are_handed_on_only_in_their_turn(rig: Rig) -> None:
    rig.ear.feed(A)
    rig.at_first[0].partial(Partial("on"))
    rig.first.hears_next = ["one"]
    await rig.ear.end()
    rig.at_first[0].partial(Partial("one too late"))
    assert [guess.text for guess in rig.partials] == ["on"]


@on_a_loop(Rig)
async def test_giving_a_turn_up_does_not_count_against_the_engine(rig: Rig) -> None:
    for _ in range(5):
        rig.ear.feed(A)
        answer = rig.ear.end()
        await asyncio.sleep(0)
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)
        rig.ear.feed(A)
        rig.ear.drop()
    assert rig.at_first[0].ends[0].cancelled()
    assert rig.at_first[0].dropped == 5
    assert rig.health.counts[Stage.RECOGNITION, "first", "given_up"] == 10
    assert not any(rig.health.resting().values())


@on_a_loop(Rig)
async def test_closing_gives_up_what_is_not_answered(rig: Rig) -> None:
    rig.ear.feed(A)
    answer = rig.ear.end()
    await asyncio.sleep(0)
    rig.ear.close()
    await asyncio.gather(answer, return_exceptions=True)
    assert answer.cancelled()
    assert rig.at_first[0].closed


@on_a_loop(Rig)
async def test_an_answer_on_the_way_outlives_a_change_of_engine(rig: Rig) -> None:
    rig.first.hears_next = [away("first"), away("first")]
    rig.second.hears_next = ["one", "two"]
    for _ in range(2):
        rig.ear.feed(A)
        await rig.ear.end()
    rig.ear.feed(B)  # at the second now
    slow = rig.ear.end()
    rig.now = 5.0
    rig.ear.feed(C)  # and at the first again
    assert not rig.at_second[-1].closed
    rig.at_second[-1].ends[0].set_result(Heard("three", "en", 1.0))
    assert (await slow).text == "three"
    await asyncio.sleep(0)
    assert rig.at_second[-1].closed


@on_a_loop(Rig)
async def test_no_more_than_a_bound_is_kept(rig: Rig) -> None:
    rig.first.hears_next, rig.second.hears_next = [away("first")], ["end"]
    pieces = ears.KEPT_OCTETS // len(A) + 10
    for _ in range(pieces):
        rig.ear.feed(A)
    await rig.ear.end()
    assert len(rig.at_second[0].fed) == ears.KEPT_OCTETS


@on_a_loop(Rig)
async def test_a_full_engine_is_passed_over_and_no_place_at_all_is_a_fault(rig: Rig) -> None:
    class Full:
        engine, languages, detects = "full", frozenset({"en"}), False

        def listen(self, language: str | None, partial: Callable[[Partial], None]) -> TurnByTurn:
            raise EngineFault(Stage.RECOGNITION, "full", "no room", retryable=True)

    ear = TurnByTurn([Full(), rig.recognizers[1]], rig.health, "en", rig.partials.append)
    rig.second.hears_next = ["one"]
    ear.feed(A)
    assert (await ear.end()).text == "one"
    with pytest.raises(EngineFault, match="no room"):
        TurnByTurn([Full()], rig.health, "en", rig.partials.append)
