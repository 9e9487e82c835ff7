"""gateway/speech/engines/worker.py"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from gateway.speech.engines import worker as module
from gateway.speech.engines.worker import Link, Ready, Worker, WorkerFailed, pair
from tests.support import echo_worker
from tests.support.echo_worker import Ask, Word


class Owner:
    def __init__(self) -> None:
        self.words: list[Any] = []
        self.losses = 0

    def heard(self, message: Any) -> None:
        self.words.append(message)

    def gone(self) -> None:
        self.losses += 1


async def until(come: Callable[[], object]) -> None:
    for _ in range(2000):
        if come():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")


def test_a_worker_answers_dies_and_is_there_again() -> None:
    async def main() -> None:
        owner = Owner()
        worker = Worker(echo_worker.__name__, Word, owner)
        assert worker.link is None
        await worker.start()
        assert worker.about["says"] == "echo"
        first = worker.about["pid"]
        assert worker.link is not None
        worker.link.send(Ask("hello"))
        await until(lambda: owner.words)
        assert owner.words[0].text == "hello"
        os.kill(first, signal.SIGKILL)
        await until(lambda: worker.link is not None and worker.about["pid"] != first)
        assert owner.losses == 1
        assert worker.restarts == 1
        worker.link.send(Ask("again"))
        await until(lambda: len(owner.words) == 2)
        second = worker.about["pid"]
        await worker.close()
        with pytest.raises(ProcessLookupError):
            os.kill(second, 0)

    asyncio.run(main())


def test_a_worker_that_ends_at_once_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        worker = Worker("tests.support.no_such_module", Word, Owner())
        with pytest.raises(WorkerFailed, match="ended before it was ready"):
            await worker.start()
        await worker.close()

    asyncio.run(main())


def test_a_worker_that_does_not_get_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOADING_S", 0.0)

    async def main() -> None:
        worker = Worker(echo_worker.__name__, Word, Owner())
        with pytest.raises(WorkerFailed, match="did not get ready"):
            await worker.start()
        await worker.close()

    asyncio.run(main())


def test_a_link_queues_for_who_does_not_read_and_says_when_the_other_is_gone() -> None:
    async def main() -> None:
        ours, theirs = pair()
        gone: list[bool] = []
        link = Link(ours, Ready, lambda message: None, lambda: gone.append(True))
        while not link.backlog:
            link.send(Ask("x" * 1000))
        theirs.recv(4096)
        for _ in range(200):
            if not link.backlog:
                break
            theirs.recv(4096)
            await asyncio.sleep(0.001)
        assert link.backlog == 0
        theirs.close()
        await until(lambda: gone)
        assert not link.open
        link.send(Ask("nobody"))
        link.close()
        assert gone == [True]

    asyncio.run(main())
