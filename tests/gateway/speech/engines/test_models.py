"""The pool with real processes and a pretended model. How long anything takes is not asserted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.engines.model_worker import PIECE, Hear, Speak, Text, Translate
from gateway.speech.engines.models import FULL, WINDOW_S, Load, Pool
from gateway.speech.engines.orders import Sound
from gateway.speech.stages import EngineFault, Stage


def story(
    test: Callable[[Pool], Awaitable[None]],
    *,
    workers: int = 1,
    waiting: int = 4,
    timeout_s: float = 20.0,
    **settings: Any,
) -> None:
    async def main() -> None:
        pool = Pool(
            "mine", Stage.TRANSLATION, "tests.support.pretend_model", settings,
            workers=workers, waiting=waiting, timeout_s=timeout_s,
        )  # fmt: skip
        try:
            await pool.start()
            await test(pool)
        finally:
            await pool.close()

    asyncio.run(main())


async def translate(pool: Pool, text: str) -> list[str]:
    answers = pool.run(lambda number: Translate(number, text, "en", "es"))
    return [answer.text async for answer in answers if isinstance(answer, Text)]


def test_jobs_are_done_in_turn() -> None:
    async def test(pool: Pool) -> None:
        assert pool.about["pairs"] == [["en", "es"]]
        texts = await asyncio.gather(*(translate(pool, f"word {n}") for n in range(4)))
        assert texts == [["WORD", str(n)] for n in range(4)]

    story(test)


def test_audio_may_be_longer_than_a_message() -> None:
    async def test(pool: Pool) -> None:
        audio = bytes(3 * PIECE + 5)
        (answer,) = [one async for one in pool.run(lambda number: Hear(number, None, "before"), audio)]
        assert isinstance(answer, Text)
        assert answer.text == f"{len(audio)} octets after 'before'"
        assert answer.language == "es"

    story(test)


def test_speech_comes_in_pieces() -> None:
    async def test(pool: Pool) -> None:
        run = pool.run(lambda number: Speak(number, "uno dos tres", "es", None))
        assert [one.mulaw for one in [piece async for piece in run] if isinstance(one, Sound)] == [
            b"uno",
            b"dos",
            b"tres",
        ]

    story(test)


def test_a_bad_job_is_a_fault_of_its_own() -> None:
    async def test(pool: Pool) -> None:
        with pytest.raises(EngineFault, match="no such word"):
            await translate(pool, "bad")
        assert await translate(pool, "good") == ["GOOD"]

    story(test)


def test_a_process_that_dies_costs_its_job_and_is_started_anew() -> None:
    async def test(pool: Pool) -> None:
        dying = asyncio.create_task(translate(pool, "die"))
        next_one = asyncio.create_task(translate(pool, "good"))
        with pytest.raises(EngineFault, match="has died"):
            await dying
        assert await next_one == ["GOOD"]

    story(test)


def test_a_job_that_nobody_waits_for_is_taken_back() -> None:
    async def test(pool: Pool) -> None:
        slow = asyncio.create_task(translate(pool, "slow 0.2 " + "word " * 500))
        waiting = asyncio.create_task(translate(pool, "slow 0.2 " + "word " * 500))
        await asyncio.sleep(0.3)
        slow.cancel()
        waiting.cancel()
        assert await translate(pool, "good") == ["GOOD"]

    story(test)


def test_a_process_that_is_stuck_is_ended() -> None:
    async def test(pool: Pool) -> None:
        with pytest.raises(EngineFault, match=r"nothing came for 0\.5 s"):
            await translate(pool, "stuck")
        with pytest.raises(EngineFault, match=r"nothing came"):
            await translate(pool, "good")  # behind the stuck one
        while True:
            try:
                assert await translate(pool, "good") == ["GOOD"]
            except EngineFault:
                continue
            break

    story(test, timeout_s=0.5)


def test_more_than_may_wait_are_refused() -> None:
    async def test(pool: Pool) -> None:
        assert not pool.full()
        jobs = [asyncio.create_task(translate(pool, "slow 0.1 x")) for _ in range(6)]
        await asyncio.sleep(0)
        assert pool.full()
        with pytest.raises(EngineFault, match="too many jobs wait"):
            await translate(pool, "x")
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert sum(isinstance(one, EngineFault) for one in results) == 1

    story(test)


def test_two_processes_work_side_by_side() -> None:
    async def test(pool: Pool) -> None:
        slow = asyncio.create_task(translate(pool, "slow 1 a"))
        assert await translate(pool, "quick") == ["QUICK"]
        assert not slow.done()
        slow.cancel()

    story(test, workers=2)


@pytest.mark.parametrize(("settings", "told"), [({"broken": True}, "folder is empty"), ({"crashes": True}, "ready")])
def test_a_model_that_can_not_be_loaded_is_said(settings: dict[str, Any], told: str) -> None:
    async def test(pool: Pool) -> None:
        raise AssertionError("it must not start")

    with pytest.raises(EngineFault, match=told) as caught:
        story(test, workers=2, **settings)
    assert not caught.value.retryable


def test_closing_fails_what_is_in_progress() -> None:
    async def test(pool: Pool) -> None:
        job = asyncio.create_task(translate(pool, "slow 20 x"))
        await asyncio.sleep(0.1)
        await pool.close()
        with pytest.raises(EngineFault, match="closed"):
            await job

    story(test)


def test_load_is_the_busy_share_of_the_last_seconds() -> None:
    load = Load(2)
    assert load.share(100.0) == 0.0
    load.begin(1, 100.0)
    assert load.share(105.0) == 5.0 / WINDOW_S / 2
    load.end(1, 105.0)
    assert load.share(110.0) == 5.0 / WINDOW_S / 2
    assert load.share(112.0) == 3.0 / WINDOW_S / 2
    assert load.share(115.0) == 0.0
    load.begin(2, 120.0)
    load.begin(3, 120.0)
    assert load.share(120.0 + FULL * WINDOW_S + 0.01) > FULL
    load.end(9, 130.0)


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.001, 5)), max_size=40))
def test_load_is_never_more_than_all(steps: list[tuple[int, float]]) -> None:
    load, now, running = Load(1), 0.0, False
    for number, (begin, wait) in enumerate(steps):
        now += wait
        if begin and not running:
            load.begin(number, now)
            running, current = True, number
        elif running and not begin:
            load.end(current, now)
            running = False
        assert -1e-9 <= load.share(now) <= 1 + 1e-9
