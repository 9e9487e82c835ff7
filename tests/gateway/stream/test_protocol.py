"""The stream's bytes, both ways, and its rules of patience."""

from __future__ import annotations

import base64
import json
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stream import messages
from gateway.stream.protocol import (
    MAX_CONTROLS,
    MAX_MESSAGE,
    Assembler,
    Backlog,
    Bad,
    Liveness,
    PlayAudio,
    Retry,
    Verdict,
    decode,
    encode,
    input_template,
)


def play(**changes: object) -> bytes:
    audio = {"encoding": "mulaw", "sample_rate_hz": 8000, "payload": base64.b64encode(b"\x01\x02").decode()}
    audio |= changes.pop("audio", {})  # type: ignore[arg-type]
    message = {"type": "audio.output", "session_id": "sess_1", "sequence": 1, "timestamp_ms": 20, "speaker": "agent"}
    return json.dumps(message | changes | {"audio": audio}).encode()


@given(
    st.text(st.characters(exclude_categories=("Cs",))),
    st.integers(0, 2**40),
    st.integers(0, 2**50),
    st.sampled_from([160, 320, 480, 1600]),
    st.data(),
)
def test_the_template_writes_what_json_would(
    speaker: str, sequence: int, timestamp_ms: int, octets: int, data: st.DataObject
) -> None:
    payload = data.draw(st.binary(min_size=octets, max_size=octets))
    text = base64.b64encode(payload).rstrip(b"=")
    written = input_template(speaker, octets) % (sequence, timestamp_ms, text)
    message = msgspec.json.decode(written, type=messages.ClientMessage)
    assert message == messages.AudioInput(
        sequence, timestamp_ms, speaker, messages.Audio(base64.b64encode(payload).decode())
    )


@given(st.binary(max_size=2000), st.none() | st.text(st.characters(exclude_categories=("Cs",))))
def test_audio_output_arrives_as_bytes(payload: bytes, target: str | None) -> None:
    message = decode(play(target=target, audio={"payload": base64.b64encode(payload).decode()}))
    assert isinstance(message, PlayAudio)
    assert (message.audio.payload, message.speaker, message.target) == (payload, "agent", target)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", Bad.NOT_JSON),
        (b"{", Bad.NOT_JSON),
        (b"\xff\xfe", Bad.NOT_JSON),
        (b"[" * 60_000, Bad.NOT_JSON),
        (b"[1]", Bad.BAD_FIELDS),
        (b'"audio.output"', Bad.BAD_FIELDS),
        (b"{}", Bad.BAD_FIELDS),
        (b'{"type":7}', Bad.BAD_FIELDS),
        (b'{"type":"audio.outpt"}', Bad.UNKNOWN_TYPE),
        (b'{"type":"audio.input"}', Bad.UNKNOWN_TYPE),
        (b'{"type":"audio.output","speaker":"a"}', Bad.BAD_FIELDS),
        (b'{"type":"audio.output","speaker":"a","audio":{}}', Bad.BAD_FIELDS),
        (b'{"type":"mark","name":3,"target":"a"}', Bad.BAD_FIELDS),
        (play(speaker=None), Bad.BAD_FIELDS),
        (play(audio={"payload": 5}), Bad.BAD_FIELDS),
        (play(audio={"payload": "é"}), Bad.BAD_FIELDS),
        (play(audio={"payload": "!!!!"}), Bad.BAD_BASE64),
        (play(audio={"payload": "AAA"}), Bad.BAD_BASE64),
        (play(audio={"encoding": "pcm16"}), Bad.BAD_AUDIO_FORMAT),
        (play(audio={"sample_rate_hz": 16000}), Bad.BAD_AUDIO_FORMAT),
        (play(text="x" * MAX_MESSAGE), Bad.TOO_LARGE),
    ],
)
def test_a_bad_message_has_a_cause(data: bytes, cause: Bad) -> None:
    assert decode(data) is cause


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_raise(data: bytes) -> None:
    decode(data)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5), st.text())
def test_no_value_of_a_field_raises(value: object, key: str) -> None:
    for kind in ("audio.output", "mark", "session.ended", "audio.clear", "session.error"):
        decode(json.dumps({"type": kind, key: value, "audio": value, "speaker": value, "target": value}).encode())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"type":"audio.clear"}', messages.AudioClear()),
        (b'{"type":"audio.clear","target":"agent","more":1}', messages.AudioClear("agent")),
        (b'{"type":"error","code":"x","message":"y"}', messages.OlderError("x", "y")),
        (b'{"type":"session.ended","session_id":"s","reason":"timeout"}', messages.SessionEnded("s", "timeout")),
        (b'{"type":"dtmf.send","target":"agent","digits":"1#"}', messages.DtmfSend("agent", "1#")),
        (b'{"type":"call.dial","id":"d","to":"200","from":"+1"}', messages.CallDial("d", "200", from_="+1")),
    ],
)
def test_other_messages_are_understood(data: bytes, expected: object) -> None:
    assert decode(data) == expected


def test_messages_of_ours_carry_their_type() -> None:
    assert json.loads(encode(messages.MarkPlayed("m1", "agent"))) == {
        "type": "mark.played",
        "name": "m1",
        "target": "agent",
    }


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=8))
def test_fragments_are_joined(parts: list[bytes]) -> None:
    assembler = Assembler()
    for i, part in enumerate(parts):
        whole = assembler.add(part, first=i == 0, text=i == 0, final=i == len(parts) - 1)
        assert whole == (b"".join(parts) if i == len(parts) - 1 else None)


def test_fragments_are_bounded_and_the_next_message_is_read() -> None:
    assembler = Assembler()
    half = b"x" * (MAX_MESSAGE // 2 + 1)
    assert assembler.add(half, first=True, text=True, final=False) is None
    assert assembler.add(half, first=False, text=False, final=False) is None
    assert assembler.add(b"{}", first=False, text=False, final=True) is Bad.TOO_LARGE
    assert assembler.add(b"{}", first=True, text=True, final=True) == b"{}"


def test_a_binary_message_is_not_text() -> None:
    assert Assembler().add(b"{}", first=True, text=False, final=True) is Bad.NOT_TEXT


@given(st.integers(0, 20), st.lists(st.booleans(), max_size=60))
def test_the_backlog_keeps_the_newest_audio_in_order(limit: int, kinds: list[bool]) -> None:
    backlog = Backlog(limit)
    sent = [(b"%d" % i, audio) for i, audio in enumerate(kinds)]
    for message, audio in sent:
        (backlog.keep_audio if audio else backlog.keep_control)(message)
    frames = [(m, True) for m, audio in sent if audio]
    taken = []
    while item := backlog.take():
        taken.append(item)
    controls = [(m, False) for m, audio in sent if not audio]
    assert taken == controls + frames[max(0, len(frames) - limit) :]
    assert backlog.audio_dropped == max(0, len(frames) - limit)


def test_controls_that_wait_are_bounded() -> None:
    backlog = Backlog(1)
    for i in range(MAX_CONTROLS + 3):
        backlog.keep_control(b"%d" % i)
    assert (len(backlog), backlog.controls_dropped) == (MAX_CONTROLS, 3)
    assert backlog.take() == (b"3", False)


def test_a_forgotten_backlog_counts_its_frames() -> None:
    backlog = Backlog(10)
    backlog.keep_audio(b"a")
    backlog.keep_control(b"c")
    assert backlog.forget() == 1
    assert (len(backlog), backlog.audio_dropped) == (0, 1)


def test_silence_is_asked_and_then_believed() -> None:
    liveness = Liveness(ping_s=10, pong_timeout_s=5, now=100)
    assert liveness.check(109.9) is Verdict.NOTHING
    assert liveness.check(110) is Verdict.PING
    assert liveness.check(111) is Verdict.NOTHING
    assert liveness.check(115) is Verdict.DEAD


def test_anything_heard_is_a_sign_of_life() -> None:
    liveness = Liveness(ping_s=10, pong_timeout_s=5, now=0)
    assert liveness.check(10) is Verdict.PING
    liveness.heard = True
    assert liveness.check(15) is Verdict.NOTHING
    assert liveness.check(24) is Verdict.NOTHING
    assert liveness.check(25) is Verdict.PING


def test_retries_double_and_are_spread() -> None:
    retry = Retry(first_s=0.2, max_s=5, give_up_s=60, random=Random(1))
    retry.lost(0)
    delays = [retry.delay(1) for _ in range(12)]
    for i, delay in enumerate(delays):
        longest = min(5, 0.2 * 2**i)
        assert delay is not None
        assert longest / 2 <= delay <= longest
    assert len(set(delays)) == len(delays)


def test_retries_end_and_begin_anew_after_a_success() -> None:
    retry = Retry(first_s=0.2, max_s=5, give_up_s=60, random=Random(1))
    retry.lost(0)
    retry.lost(30)  # it has been down since 0
    assert retry.delay(59.9) is not None
    assert retry.delay(60) is None
    retry.restored(90)
    retry.lost(100)
    delay = retry.delay(100)
    assert delay is not None
    assert delay <= 0.2


def test_a_stream_that_is_lost_again_at_once_waits_longer_and_longer() -> None:
    retry = Retry(first_s=0.2, max_s=5, give_up_s=60, random=Random(1))
    for i in range(4):
        retry.lost(i)
        delay = retry.delay(i)
        assert delay is not None
        assert delay >= 0.1 * 2**i
        retry.restored(i + 0.5)


def test_a_stream_that_never_was_open_is_sought_for_as_long_as_it_is_wanted() -> None:
    assert Retry(first_s=0.2, max_s=5, give_up_s=0, random=Random(1)).delay(1e9) is not None
