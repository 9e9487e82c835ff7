from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.speech.engines import model_worker as worker
from gateway.speech.engines.model_worker import Audio, Hear, Job, Loop, ModelFault, Text, Translate
from gateway.speech.engines.orders import Done, Forget


class Model:
    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self.worked: list[Job] = []
        self.heard: list[bytes] = []

    def work(self, job: Job, octets: bytes) -> Iterator[Text]:
        self.worked.append(job)
        self.heard.append(octets)
        if isinstance(job, Translate) and job.text == "bad":
            raise ModelFault("bad word")
        for word in job.text.split() if isinstance(job, Translate) else ["heard"]:
            yield Text(job.number, word)


def test_a_job_is_answered_and_done_and_the_loop_ends_with_its_channel() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    running = threading.Thread(target=Loop(theirs, Model()).run)
    running.start()
    ours.send(msgspec.msgpack.encode(Translate(1, "one two", "en", "es")))
    said = [msgspec.msgpack.decode(ours.recv(65536), type=worker.Word) for _ in range(3)]
    assert said == [Text(1, "one"), Text(1, "two"), Done(1)]
    ours.close()
    running.join(10)
    assert not running.is_alive()
    theirs.close()


def words(model: Model, *orders: worker.Order) -> list[Any]:
    """What is said to these, all there before the loop begins."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for order in orders:
        ours.send(msgspec.msgpack.encode(order))
    loop = Loop(theirs, model)
    running = threading.Thread(target=loop.run)
    running.start()
    said: list[Any] = []
    jobs = sum(not isinstance(order, Audio | Forget) for order in orders)
    while sum(isinstance(word, Done) for word in said) < jobs:
        said.append(msgspec.msgpack.decode(ours.recv(65536), type=worker.Word))
    ours.close()
    running.join(10)
    assert not running.is_alive()
    assert not loop._audio
    theirs.close()
    return said


def test_audio_belongs_to_its_job() -> None:
    model = Model()
    orders = Audio(1, b"a"), Audio(2, b"x"), Audio(1, b"b"), Hear(1, "en", ""), Forget(2), Hear(3, None, "")
    assert words(model, *orders)[-1] == Done(3)
    assert model.heard == [b"ab", b""]


def test_a_fault_is_told() -> None:
    said = words(Model(), Translate(1, "bad", "en", "es"), Translate(2, "good", "en", "es"))
    assert said == [Done(1, "bad word"), Text(2, "good"), Done(2)]


def test_what_is_forgotten_is_not_done() -> None:
    model = Model()
    said = words(model, Translate(1, "one", "en", "es"), Translate(2, "two", "en", "es"), Forget(2))
    assert said == [Text(1, "one"), Done(1), Done(2, "forgotten")]
    assert [job.number for job in model.worked] == [1]
