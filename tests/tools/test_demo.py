"""The demo's judgement: when audio has come back, and what a tap makes of packets."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig import demo, latency, sound, tap
from rig.sound import RATE, Placed, Samples

CALLER, GATEWAY, STREAM = 40000, 12000, 8081
MS = 1_000_000


def speech(seconds: float, seed: int = 1) -> Samples:
    """Noise with the slow swell of speech: no two parts of it are alike."""
    noise = np.random.default_rng(seed).normal(0, 0.2, int(seconds * RATE))
    swell = 0.6 + 0.4 * np.sin(np.arange(noise.size) * 2 * np.pi * 4 / RATE)
    return np.asarray(noise * swell, dtype=np.float32)


def recording(utterance: Samples, at_s: float, seconds: float, noise: float = 0.0) -> Samples:
    made = np.random.default_rng(9).normal(0, noise, int(seconds * RATE)) if noise else np.zeros(int(seconds * RATE))
    start = int(at_s * RATE)
    made[start : start + utterance.size] += utterance
    return np.asarray(made, dtype=np.float32)


def test_an_utterance_is_found_where_it_stands() -> None:
    place = sound.find(speech(1.0), recording(speech(1.0), 2.25, 5.0))
    assert place.start_s == pytest.approx(2.25, abs=1 / RATE)
    assert place.likeness > 0.999
    assert place.snr_db > 60


def test_noise_lowers_the_ratio_and_not_the_place() -> None:
    place = sound.find(speech(1.0), recording(speech(1.0), 2.25, 5.0, noise=0.02))
    assert place.start_s == pytest.approx(2.25, abs=1 / RATE)
    assert 10 < place.snr_db < 30


@pytest.mark.parametrize(
    "heard",
    [
        np.zeros(5 * RATE, np.float32),
        recording(speech(1.0, seed=2), 2.0, 5.0),
        recording(speech(1.0)[: RATE // 3], 2.0, 5.0),
        np.full(5 * RATE, 0.5, np.float32),
    ],
    ids=["silence", "somebody else", "a third of it", "a hum"],
)
def test_energy_alone_is_not_the_utterance(heard: Samples) -> None:
    assert sound.find(speech(1.0), heard).likeness < demo.ENOUGH


def test_a_recording_shorter_than_the_utterance_does_not_hold_it() -> None:
    assert sound.find(speech(1.0), np.zeros(100, np.float32)).likeness < demo.ENOUGH


def test_wav_files_keep_their_samples(tmp_path: Path) -> None:
    sound.write_wav(tmp_path / "a.wav", speech(0.5))
    assert np.abs(sound.read_wav(tmp_path / "a.wav") - speech(0.5)).max() < 2 / 32768


def test_words_are_found_though_no_sample_is_the_same(tmp_path: Path) -> None:
    once = sound.speak("Me gustaría reservar una mesa", tmp_path / "a.wav", "es", 160)
    softer = np.asarray(-0.3 * once, dtype=np.float32)
    place = sound.find_words(once, recording(softer, 2.25, 6.0, noise=0.001))
    assert place.start_s == pytest.approx(2.25, abs=0.02)
    assert place.likeness > demo.ENOUGH
    other = sound.speak("Mi hija tiene dolor de cabeza", tmp_path / "b.wav", "es", 160)
    assert sound.find_words(once, recording(other, 2.25, 6.0)).likeness < 0.6
    assert sound.find_words(once, np.zeros(100, np.float32)).likeness < 0.6


def udp(at_ms: float, source: int, target: int, sequence: int, payload: bytes) -> tuple[int, bytes]:
    rtp = bytes([0x80, 0]) + sequence.to_bytes(2, "big") + bytes(8) + payload
    head = bytes([0x45, 0]) + (28 + len(rtp)).to_bytes(2, "big") + bytes(5) + bytes([17]) + bytes(10)
    return int(at_ms * MS), head + struct.pack("!HHHH", source, target, 8 + len(rtp), 0) + rtp


def tcp(at_ms: float, source: int, target: int, sequence: int, body: bytes) -> tuple[int, bytes]:
    head = bytes([0x45, 0]) + (40 + len(body)).to_bytes(2, "big") + bytes(5) + bytes([6]) + bytes(10)
    return int(at_ms * MS), head + struct.pack("!HHII", source, target, sequence, 0) + bytes([0x50]) + bytes(7) + body


def frame(message: dict[str, Any], mask: bytes = b"") -> bytes:
    text = json.dumps(message).encode()
    size = (
        bytes([len(text) | 0x80 * bool(mask)])
        if len(text) < 126
        else bytes([126 | 0x80 * bool(mask)]) + (len(text).to_bytes(2, "big"))
    )
    hidden = bytes(byte ^ mask[i % 4] for i, byte in enumerate(text)) if mask else text
    return b"\x81" + size + mask + hidden


def audio(kind: str, data: bytes) -> dict[str, Any]:
    return {"type": kind, "audio": {"payload": base64.b64encode(data).decode()}}


def sounding(index: int) -> bytes:
    return np.random.default_rng(index).integers(0, 256, 160, dtype=np.uint8).tobytes()


def test_stream_messages_are_read_from_masked_and_cut_segments_and_what_comes_twice_is_left_out() -> None:
    first, second = frame({"type": "ping"}, b"\x01\x02\x03\x04"), frame(audio("audio.input", sounding(1)), b"abcd")
    request, whole = b"GET / HTTP/1.1\r\n\r\n", first + second
    packets = [
        tcp(1, 5000, STREAM, 100, request + whole[:5]),
        tcp(2, 5000, STREAM, 100 + len(request) + 5, whole[5:40]),
        tcp(2.5, 5000, STREAM, 100 + len(request) + 5, whole[5:40]),
        tcp(3, 5000, STREAM, 100 + len(request) + 40, whole[40:]),
        tcp(3, 5000, 9999, 1, b"another connection"),
    ]
    messages = tap.messages_of(packets, STREAM)
    assert [(m.at_ns // MS, m.from_gateway, m.content["type"]) for m in messages] == [
        (2, True, "ping"),
        (3, True, "audio.input"),
    ]
    assert tap.audio_of(messages[1]) == sounding(1)


def test_rtp_is_told_from_other_datagrams_and_other_ports() -> None:
    packets = [udp(1, CALLER, GATEWAY, 7, sounding(0)), udp(2, 1, 2, 8, sounding(0)), (3, b"short")]
    assert [(p.at_ns // MS, p.sequence, p.payload) for p in tap.rtp_of(packets, {CALLER})] == [(1, 7, sounding(0))]


def test_latency_to_the_stream_is_that_of_each_packets_first_byte() -> None:
    packets = list(tap.rtp_of([udp(20 * i, CALLER, GATEWAY, i, sounding(i)) for i in range(3)], {CALLER}))
    stream = b"\xff" * 40 + b"".join(sounding(i) for i in range(3))
    messages = [
        tap.Message(int((31 + 20 * i) * MS), True, audio("audio.input", stream[160 * i : 160 * (i + 1)]))
        for i in range(3)
    ]
    # Cut 40 bytes beside the packets: each first byte is in the message of the same number; the last has not all come.
    assert latency.rtp_to_stream(packets, messages, {CALLER}) == pytest.approx([31, 31])


def test_a_sentence_that_comes_at_once_is_late_only_by_what_its_own_length_does_not_explain() -> None:
    messages = [
        tap.Message(1000 * MS, False, audio("audio.output", sounding(0) + sounding(1))),
        tap.Message(1001 * MS, False, audio("audio.output", sounding(2))),
        tap.Message(2000 * MS, False, audio("audio.output", sounding(3))),
    ]
    sent = [(1060, 0), (1080, 1), (1105, 2), (2061, 3)]
    packets = list(tap.rtp_of([udp(at, GATEWAY, CALLER, i, sounding(i)) for at, i in sent], {CALLER}))
    assert latency.stream_to_rtp(packets, messages, {CALLER}) == pytest.approx([60, 60, 65, 61])


def test_silence_is_not_measured_and_nothing_measured_is_said() -> None:
    quiet = list(tap.rtp_of([udp(1, CALLER, GATEWAY, 1, b"\xff" * 160)], {CALLER}))
    messages = [tap.Message(2 * MS, True, audio("audio.input", b"\xff" * 160))]
    assert latency.rtp_to_stream(quiet, messages, {CALLER}) == []
    with pytest.raises(ValueError, match="nothing was measured"):
        latency.quantile([], 0.5)
    assert latency.quantile([3.0, 1.0, 2.0], 0.5) == 2.0


def result(*likeness: float) -> demo.Result:
    place = Placed(1.0, 1.0, 30.0)
    spanish = ("Me gustaría reservar una mesa para dos personas", "La reunión empieza mañana por la mañana")
    ways = [
        demo.Said(
            text, expected, place, 1.0, {"text": text, "translation": {"text": words}}, Placed(3.0, value, 0.0), 1.5
        )
        for (text, expected), words, value in zip(demo.SENTENCES, spanish, likeness, strict=True)
    ]
    record = {"legs": [{"packets_lost": 0, "jitter_ms": 0.42, "mos": 4.41}]}
    said = recording(speech(1.0), 1.0, 5.0)
    return demo.Result(said, said, ways, 0.1, [24.0, 25.0], [], "needs root", record)


def test_the_demo_passes_only_when_every_sentence_was_heard_in_spanish() -> None:
    assert result(0.99, 0.98).passed
    assert not result(0.99, 0.4).passed


@pytest.mark.parametrize(
    "turn", [None, {"text": "x"}, {"text": "x", "translation": {"text": "La reunión empieza hoy"}}]
)
def test_words_that_are_missing_in_the_transcript_fail_it(turn: dict[str, Any] | None) -> None:
    way = replace(result(0.99, 0.99).sentences[1], turn=turn)
    assert not way.passed


def test_the_table_says_what_was_measured_and_what_was_not() -> None:
    rows = dict(demo.table(result(0.99, 0.4), 12.3, 1.5))
    assert rows["RTP → stream, play-out delay included"] == "p50 25.0 ms   p99 25.0 ms   (2 packets)"
    assert rows["stream → RTP, play-out lead included"] == "not measured: needs root"
    assert (rows["jitter"], rows["MOS (E-model)"], rows["packets lost"]) == ("0.42 ms", "4.41", "0")
    assert rows[f"said “{demo.SENTENCES[0][0]}”"].startswith("understood")
    assert rows["  heard in Spanish"].startswith("NOT HEARD")
    lost = replace(result(0.99, 0.4), sentences=[replace(result(0.99, 0.4).sentences[0], turn=None, heard=None)])
    assert "NOT UNDERSTOOD" in dict(demo.table(lost, None, 1.5)).values()


def test_what_is_written_can_be_opened(tmp_path: Path) -> None:
    demo.write(tmp_path, result(0.99, 0.4))
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert sound.read_wav(tmp_path / "said.wav").size == sound.read_wav(tmp_path / "heard.wav").size == 5 * RATE


def test_each_sentence_leaves_time_to_be_heard_in_spanish(tmp_path: Path) -> None:
    made = demo.script(tmp_path)
    assert [text for text, _, _ in made.sentences] == [text for text, _ in demo.SENTENCES]
    for text, at, samples in made.sentences:
        assert sound.find(samples, made.samples).start_s == pytest.approx(at, abs=1 / RATE), text
        following = made.samples[int(at * RATE) + samples.size :][: int(4 * RATE)]
        assert not following.any()
