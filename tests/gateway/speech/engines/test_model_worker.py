from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.speech.engines import model_worker as worker
from gateway.speech.engines.model_worker import Audio, Done, Forget, Hear, Job, Loop, ModelFault, Text, Translate


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


def test_audio_belongs_to_its_job() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    model = Model()
    for order in (Audio(1, b"a"), Audio(2, b"x"), Audio(1, b"b"), Hear(1, "en", ""), Forget(2), Hear(3, None, "")):
        ours.send(msgspec.msgpack.encode(order))
    loop = Loop(theirs, model)
    loop._read(wait=True)
    for expected in (b"ab", b""):
        job = loop._jobs.popleft()
        assert loop._work(job, bytes(loop._audio.pop(job.number, b""))) == ""
        assert model.heard[-1] == expected
    assert not loop._audio
    assert not loop._forgotten
    ours.close()
    theirs.close()


def test_a_fault_is_told() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = Loop(theirs, Model())
    assert loop._work(Translate(1, "bad", "en", "es"), b"") == "bad word"
    ours.close()
    theirs.close()


def test_what_is_forgotten_is_not_done() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    model = Model()
    for order in (Translate(1, "one", "en", "es"), Translate(2, "two", "en", "es"), Forget(2), Forget(77)):
        ours.send(msgspec.msgpack.encode(order))
    loop = Loop(theirs, model)
    loop._read(wait=True)
    assert loop._forgotten == {2}
    assert loop._work(loop._jobs[1], b"") == "forgotten"
    assert not model.worked
    ours.close()
    theirs.close()
    assert Done(2, "forgotten").error
