"""gateway/speech/loopback.py"""

from __future__ import annotations

from gateway.speech.loopback import Loopback
from tests.gateway.speech.test_endpointing import SILENCE, mulaw


class Sink:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str | None, int, bytes]] = []

    def audio(self, speaker: str, target: str | None, timestamp_ms: int, mulaw: bytes) -> None:
        self.heard.append((speaker, target, timestamp_ms, mulaw))

    def clear(self, target: str | None) -> None:
        raise AssertionError("loopback clears nothing")

    def partial(self, *_: object) -> None:
        raise AssertionError("loopback recognizes nothing")

    final = settled = failed = processing = mark = transfer = end_call = partial


def speak(loopback: Loopback, speaker: str) -> bytes:
    speech = mulaw(-20, 500)
    audio = SILENCE * 4000 + speech + SILENCE * 4000
    for at in range(0, len(audio), 160):
        loopback.audio(speaker, at // 8, audio[at : at + 160])
    return speech


def test_a_lone_speaker_hears_itself() -> None:
    sink = Sink()
    speech = speak(Loopback(sink), "customer")
    ((speaker, target, at_ms, heard),) = sink.heard
    assert (speaker, target) == ("customer", "customer")
    assert speech in heard
    assert at_ms < 500


def test_two_hear_each_other() -> None:
    sink = Sink()
    loopback = Loopback(sink)
    loopback.joined("agent")
    speak(loopback, "customer")
    speak(loopback, "agent")
    assert [heard[:2] for heard in sink.heard] == [("customer", "agent"), ("agent", "customer")]


def test_of_three_all_others_hear() -> None:
    sink = Sink()
    loopback = Loopback(sink)
    for speaker in ("agent", "participant-3"):
        loopback.joined(speaker)
    speak(loopback, "customer")
    assert [heard[:2] for heard in sink.heard] == [("customer", None)]


def test_who_leaves_in_the_middle_is_heard_so_far() -> None:
    sink = Sink()
    loopback = Loopback(sink)
    loopback.joined("agent")
    speech = mulaw(-20, 500)
    loopback.audio("customer", 0, speech)
    loopback.left("customer")
    assert sink.heard == [("customer", "agent", 0, speech)]
    speak(loopback, "agent")
    assert sink.heard[-1][:2] == ("agent", "agent")


def test_what_became_of_its_audio_is_nothing_to_it() -> None:
    sink = Sink()
    loopback = Loopback(sink)
    loopback.played("customer", "nobody's mark")
    loopback.cleared("customer", 20, 40)
    loopback.refused("customer", "nobody asked")
    assert sink.heard == []
