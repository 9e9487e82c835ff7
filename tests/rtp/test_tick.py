"""The phases of a slot, packet by packet, on a virtual clock."""

import itertools
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from rtp import g711
from rtp.errors import RejectReason
from rtp.plane import CONCEALED
from rtp.tick import BEYOND_NS
from tests.support.engine import SLOT_NS, Engine, rtp_packet


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


def speech(n: int) -> bytes:
    """Frame n of a sound that no code point is missing from."""
    return bytes((n * 160 + i) * 37 % 256 for i in range(160))


def fields(datagram: bytes) -> tuple[int, int, int, int, int]:
    """marker, payload type, sequence, timestamp, ssrc."""
    _, second, sequence, timestamp, ssrc = struct.unpack(">BBHII", datagram[:12])
    return second >> 7, second & 0x7F, sequence, timestamp, ssrc


def talk(engine: Engine, row: int, count: int, first: int = 0, **header: int) -> None:
    """`count` frames of time with a packet each."""
    for n in range(first, first + count):
        payload = speech(n)
        if header.get("payload_type") == 8:
            payload = g711.MULAW_TO_ALAW[np.frombuffer(payload, np.uint8)].tobytes()
        engine.deliver(row, rtp_packet(1000 + n, 5000 + n * 160, payload, **header))
        engine.frames(1)


def test_rtp_to_uplink_is_bit_exact_after_the_start_delay(engine: Engine) -> None:
    row = engine.open()
    talk(engine, row, 50)
    engine.frames(2)
    assert engine.heard[row] == [speech(n) for n in range(50)]
    assert engine.plane.stats["frames_concealed"][row] == 0


def test_the_start_delay_is_what_is_configured(engine: Engine) -> None:
    row = engine.open()
    engine.deliver(row, rtp_packet(1, 0, speech(0)))
    slots = 0
    while not engine.heard[row]:
        engine.step()
        slots += 1
    assert (slots - 1) * SLOT_NS == 40_000_000


@pytest.mark.parametrize("early_ms", [0.0, 2.5, 5.0, 7.5, 9.9])
def test_a_leg_gets_the_slot_in_which_its_packets_waited_most_nearly_the_start_delay(
    engine: Engine, early_ms: float
) -> None:
    row = engine.open(slot=None)
    engine.step(3)
    arrival_ns = engine.now_ns - round(early_ms * 1e6)
    engine.deliver(row, rtp_packet(1, 0, speech(0)), arrival_ns)
    while not engine.heard[row]:
        engine.step()
    heard_ns = engine.now_ns - SLOT_NS  # `step` has moved the clock on
    assert abs(heard_ns + BEYOND_NS - arrival_ns - 40_000_000) <= SLOT_NS / 2
    assert row not in engine.table.waiting


@pytest.mark.parametrize("slot", [None, 0, 1])
@pytest.mark.parametrize("delay_ms", [40, 150])
@pytest.mark.parametrize("early_ms", [0.0, 2.5, 5.0, 7.5, 9.9])
def test_a_fixed_delay_is_not_corrected_by_what_its_slot_leaves_it_short(
    early_ms: float, delay_ms: int, slot: int | None
) -> None:
    """Whether the leg gets its slot by its first packet or had one before."""
    engine = Engine(jitter_min_ms=delay_ms, jitter_start_ms=delay_ms, jitter_max_ms=delay_ms)
    row = engine.open(slot=slot)
    engine.step(3)
    for n in range(100):
        engine.deliver(row, rtp_packet(n, n * 160, speech(n)), engine.now_ns - round(early_ms * 1e6))
        engine.frames(1)
    assert engine.plane.stats["frames_stretched"][row] == engine.plane.stats["frames_trimmed"][row] == 0
    assert engine.plane.stats["frames_concealed"][row] == 0
    engine.close()


def test_a_leg_that_hears_nothing_starts_to_speak_after_a_while(engine: Engine) -> None:
    row = engine.open(slot=None)
    engine.frames(4)
    assert not engine.sent[row]
    engine.frames(10)
    assert len(engine.sent[row]) >= 8


def test_headers_of_what_is_sent(engine: Engine) -> None:
    row = engine.open("PCMA")
    engine.frames(5)
    heads = [fields(d) for d in engine.sent[row]]
    assert [h[0] for h in heads] == [1, 0, 0, 0, 0]
    assert {h[1] for h in heads} == {8}
    assert len({h[4] for h in heads}) == 1
    for before, after in itertools.pairwise(heads):
        assert (after[2] - before[2]) & 0xFFFF == 1
        assert (after[3] - before[3]) & 0xFFFFFFFF == 160
    assert all(d[12:] == bytes([g711.A_SILENCE]) * 160 for d in engine.sent[row])


def test_downlink_to_rtp_is_bit_exact(engine: Engine) -> None:
    row = engine.open()
    engine.say(row, b"".join(speech(n) for n in range(20)))
    engine.frames(20)
    sound = b"".join(d[12:] for d in engine.sent[row])
    assert sound[40:-160] == b"".join(speech(n) for n in range(20))[40:-160]


def test_a_law_both_ways(engine: Engine) -> None:
    row = engine.open("PCMA")
    talk(engine, row, 5, payload_type=8)
    engine.frames(2)
    there = [g711.ALAW_TO_MULAW[g711.MULAW_TO_ALAW[np.frombuffer(speech(n), np.uint8)]].tobytes() for n in range(5)]
    assert engine.heard[row] == there


def test_sequence_and_timestamp_wrap(engine: Engine) -> None:
    row = engine.open()
    engine.table.sequence[row] = 65534
    engine.table.timestamp[row] = 2**32 - 200
    engine.frames(4)
    assert [fields(d)[2] for d in engine.sent[row]] == [65534, 65535, 0, 1]
    assert [fields(d)[3] for d in engine.sent[row]] == [2**32 - 200, 2**32 - 40, 120, 280]


def test_a_held_leg_sends_nothing_and_its_media_time_goes_on(engine: Engine) -> None:
    row = engine.open()
    engine.frames(2)
    engine.table.sending[row] = False
    engine.frames(5)
    engine.table.sending[row] = True
    engine.table.marker[row] = 1
    engine.frames(1)
    assert len(engine.sent[row]) == 3
    last, after = fields(engine.sent[row][1]), fields(engine.sent[row][2])
    assert after[0] == 1
    assert (after[2] - last[2]) & 0xFFFF == 1
    assert (after[3] - last[3]) & 0xFFFFFFFF == 6 * 160


def test_a_peer_that_takes_10_ms_gets_two_packets(engine: Engine) -> None:
    row = engine.open()
    engine.table.halves[row] = True
    engine.say(row, b"".join(speech(n) for n in range(10)))
    engine.frames(6)
    heads = [fields(d) for d in engine.sent[row]]
    assert len(heads) == 12
    assert all(len(d) == 92 for d in engine.sent[row])
    assert {(b[3] - a[3]) & 0xFFFFFFFF for a, b in itertools.pairwise(heads)} == {80}
    assert {(b[2] - a[2]) & 0xFFFF for a, b in itertools.pairwise(heads)} == {1}
    sound = b"".join(d[12:] for d in engine.sent[row])
    assert sound[40:] == b"".join(speech(n) for n in range(6))[40:]


def test_a_lost_packet_is_concealed_and_counted(engine: Engine) -> None:
    row = engine.open()
    talk(engine, row, 20)
    engine.frames(1)
    talk(engine, row, 20, first=21)
    engine.frames(2)
    assert engine.plane.stats["frames_concealed"][row] == 1
    assert engine.heard[row][:20] == [speech(n) for n in range(20)]
    assert engine.heard[row][22:41] == [speech(n) for n in range(22, 41)]
    assert (engine.plane.uplink_flags[row] & CONCEALED).sum() == CONCEALED


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"\x80\x00\x00", RejectReason.SHORT),
        (b"\x00" * 172, RejectReason.BAD_VERSION),
        (b"\x8f" + b"\x00" * 20, RejectReason.BAD_HEADER),
        (rtp_packet(1, 1, b"x" * 160, payload_type=77), RejectReason.BAD_PAYLOAD_TYPE),
        (rtp_packet(1, 1, b"x" * 1600), RejectReason.OVERSIZE),
    ],
)
def test_bad_packets_are_counted_and_cost_nobody_anything(
    engine: Engine, datagram: bytes, reason: RejectReason
) -> None:
    row, other = engine.open(), engine.open()
    for n in range(10):
        engine.deliver(row, datagram)
        engine.deliver(other, rtp_packet(n, n * 160, speech(n)))
        engine.frames(1)
    engine.frames(2)
    assert engine.table.rejected[reason] == 10
    assert engine.plane.stats["packets_bad"][row] == 10
    assert engine.heard[row] == []
    assert engine.heard[other] == [speech(n) for n in range(10)]


def test_payload_behind_a_long_header(engine: Engine) -> None:
    row = engine.open()
    for n in range(10):
        plain = rtp_packet(n, n * 160, speech(n))
        extended = bytes([plain[0] | 0x12]) + plain[1:12] + b"\x00" * 8 + b"\xbe\xde\x00\x01abcd" + plain[12:]
        engine.deliver(row, extended)
        engine.frames(1)
    engine.frames(2)
    assert engine.heard[row] == [speech(n) for n in range(10)]


def test_a_leg_on_hold_hears_nothing(engine: Engine) -> None:
    row = engine.open()
    engine.table.receiving[row] = False
    talk(engine, row, 5)
    assert engine.heard[row] == []
    assert engine.table.rejected[RejectReason.NOT_RECEIVING] == 5


def test_a_new_ssrc_goes_on_without_old_audio(engine: Engine) -> None:
    row = engine.open()
    talk(engine, row, 20)
    for n in range(20):
        engine.deliver(row, rtp_packet(40000 + n, 77 + n * 160, speech(500 + n), ssrc=99))
        engine.frames(1)
    engine.frames(2)
    heard = engine.heard[row]
    assert heard[:20] == [speech(n) for n in range(20)]
    assert heard[-10:] == [speech(n) for n in range(510, 520)]
    assert engine.plane.stats["packets_bad"][row] == 0


def test_media_time_is_monotonic_through_restarts(engine: Engine) -> None:
    row = engine.open()
    talk(engine, row, 30)
    talk(engine, row, 10, first=900, ssrc=5)
    head = int(engine.plane.uplink_head[row])
    times = [int(engine.plane.uplink_timestamp_ms[row, n % 64]) for n in range(head)]
    assert times[0] == 0
    assert (np.diff(times) == 20).all()


def test_key_presses_are_told_and_silenced(engine: Engine) -> None:
    row = engine.open()
    loud = bytes([0x80]) * 160
    for n in range(30):
        if 10 <= n < 18:
            duration = (n - 9) * 160
            payload = struct.pack(">BBH", 5, 0x80 if n >= 15 else 10, min(duration, 960))
            engine.deliver(row, rtp_packet(n, 10 * 160, payload, payload_type=101, marker=n == 10))
        else:
            engine.deliver(row, rtp_packet(n, n * 160, loud))
        engine.frames(1)
    presses = [e for e in engine.events if type(e).__name__ == "DigitReceived"]
    assert [(p.digit, p.duration_ms, p.timestamp_ms) for p in presses] == [("5", 120, 200)]
    tone = b"".join(engine.heard[row][11:15])
    assert np.abs(g711.MU_TO_LINEAR[np.frombuffer(tone, np.uint8)].astype(int)).max() < 1000
    assert engine.plane.stats["packets_bad"][row] == 0


def test_digits_are_sent_as_events_with_one_timestamp(engine: Engine) -> None:
    row = engine.open()
    engine.frames(2)
    engine.seldom.dial(row, "7", 100, 60)
    engine.frames(12)
    events = [d for d in engine.sent[row] if fields(d)[1] == 101]
    assert len(events) == 7
    assert len({fields(d)[3] for d in events}) == 1
    assert [fields(d)[0] for d in events] == [1, 0, 0, 0, 0, 0, 0]
    assert {d[12] for d in events} == {7}
    sequences = [fields(d)[2] for d in engine.sent[row]]
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(sequences))
    assert engine.plane.stats["digits_sent"][row] == 1


def test_a_listener_hears_the_original_beside_its_own_stream(engine: Engine) -> None:
    speaker, listener = engine.open(), engine.open(slot=1)
    generation = int(engine.table.generation[speaker])
    engine.table.mixer.set_gains(listener, 1.0, [(speaker, generation, 0.5, 0.25)])
    tone = bytes([0x90]) * 160
    for n in range(20):
        engine.deliver(speaker, rtp_packet(n, n * 160, tone))
        engine.frames(1)
    level = g711.MU_TO_LINEAR[np.frombuffer(engine.sent[listener][-1][12:], np.uint8)].astype(int)
    assert abs(level.mean() - g711.MU_TO_LINEAR[0x90] / 2) < 500
    own = g711.MU_TO_LINEAR[np.frombuffer(engine.sent[speaker][-1][12:], np.uint8)]
    assert not own.any()


def test_skip_moves_every_clock(engine: Engine) -> None:
    row = engine.open()
    talk(engine, row, 5)
    before, cursor = int(engine.table.timestamp[row]), int(engine.table.ring.cursor[row])
    engine.tick.skip(10)
    assert (int(engine.table.timestamp[row]) - before) & 0xFFFFFFFF == 1600
    assert int(engine.table.ring.cursor[row]) - cursor == 1600
    assert engine.table.marker[row] == 1


@pytest.mark.parametrize("row", [0, 3, 6])
def test_a_leg_is_the_same_in_a_crowd_and_alone(row: int) -> None:
    """Isolation: every neighbour loses, reorders and floods; this leg's output is what it is alone."""
    crowd, alone = Engine(8), Engine(8)
    rng = np.random.default_rng(3)
    rows = [crowd.open() for _ in range(8)]
    single = alone.open()
    for n in range(60):
        for r in rows:
            lost = rng.random() < 0.1
            datagram = rtp_packet(n, n * 160, speech(n + r * 1000))
            noise = rng.integers(0, 256, int(rng.integers(0, 300)), np.uint8).tobytes()
            if r == row:
                if not lost:
                    crowd.deliver(r, datagram)
                    alone.deliver(single, datagram)
            elif not lost:
                crowd.deliver(r, datagram)
                crowd.deliver(r, noise)
        chunk = rng.integers(0, 256, 160, np.uint8).tobytes()
        for r in rows:
            crowd.say(r, chunk if r == row else chunk[::-1])
        alone.say(single, chunk)
        crowd.frames(1)
        alone.frames(1)
    assert crowd.heard[row] == alone.heard[single]
    assert [d[12:] for d in crowd.sent[row]] == [d[12:] for d in alone.sent[single]]
    crowd.close()
    alone.close()


def test_tones_stay_in_their_legs() -> None:
    """Power-of-two tones: the FFT of a leg shows only its own bin."""
    engine = Engine(6)
    rows = [engine.open() for _ in range(6)]
    time = np.arange(1024 + 320)
    tones = {r: (8000 * np.sin(2 * np.pi * time * 2 ** (r + 2) / 1024)).astype(np.int16) for r in rows}
    coded = {r: g711.LINEAR_TO_MU[tones[r].view(np.uint16)] for r in rows}
    for n in range(len(time) // 160):
        for r in rows:
            engine.deliver(r, rtp_packet(n, n * 160, coded[r][n * 160 : n * 160 + 160].tobytes()))
        engine.frames(1)
    engine.frames(2)
    for r in rows:
        sound = g711.MU_TO_LINEAR[np.frombuffer(b"".join(engine.heard[r])[:1024], np.uint8)]
        spectrum = np.abs(np.fft.rfft(sound))
        assert spectrum.argmax() == 2 ** (r + 2)
        others = [spectrum[2 ** (q + 2)] for q in rows if q != r]
        assert max(others) < spectrum.max() / 500
    engine.close()


def test_dtx_sends_comfort_noise_now_and_then_and_marks_the_next_talkspurt() -> None:
    engine = Engine(dtx=True)
    row = engine.open()
    engine.frames(70)
    kinds = [fields(d)[1] for d in engine.sent[row]]
    assert kinds == [0] * 10 + [13] * 3
    assert all(len(d) == 13 for d in engine.sent[row][10:])
    engine.say(row, b"\x90" * 480)
    engine.frames(2)
    heads = [fields(d) for d in engine.sent[row]]
    assert [(b[2] - a[2]) & 0xFFFF for a, b in itertools.pairwise(heads)] == [1] * (len(heads) - 1)
    assert (heads[13][0], heads[13][1]) == (1, 0)
    assert (heads[13][3] - heads[0][3]) & 0xFFFFFFFF == 70 * 160
    engine.close()


def test_a_sender_that_is_silent_by_agreement_is_comfort_noise_and_no_loss() -> None:
    engine = Engine()
    row = engine.open()
    talk(engine, row, 20)
    engine.deliver(row, rtp_packet(1020, 5000 + 20 * 160, b"\x32", payload_type=13))
    engine.frames(50)
    for n in range(70, 90):
        engine.deliver(row, rtp_packet(951 + n, 5000 + n * 160, speech(n)))
        engine.frames(1)
    stats = engine.plane.stats[row]
    assert stats["frames_noise"] >= 45
    assert stats["frames_concealed"] == 0
    assert stats["packets_lost"] == 0
    quiet = np.frombuffer(b"".join(engine.heard[row][35:60]), np.uint8)
    level = np.sqrt((g711.MU_TO_LINEAR[quiet].astype(float) ** 2).mean())
    assert 20 * np.log10(level / 32768) == pytest.approx(-50, abs=1.5)
    assert speech(85) in b"".join(engine.heard[row])
    engine.close()


def test_speech_is_told_with_its_media_time() -> None:
    engine = Engine(vad_events=True)
    row = engine.open()
    quiet, loud = b"\xff" * 160, bytes([0x90, 0x10] * 80)
    for n in range(100):
        engine.deliver(row, rtp_packet(n, n * 160, loud if 30 <= n < 50 else quiet))
        engine.frames(1)
    changes = [e for e in engine.events if type(e).__name__ == "SpeechChanged"]
    assert [c.speaking for c in changes] == [True, False]
    assert changes[0].timestamp_ms == pytest.approx(30 * 20, abs=80)
    assert changes[1].timestamp_ms == pytest.approx(50 * 20 + 400, abs=80)
    engine.close()


@pytest.mark.parametrize("kind", ["plain", "halves", "dialling", "dtx"])
def test_octets_sent_are_those_of_the_payloads(kind: str) -> None:
    engine = Engine(dtx=kind == "dtx")
    row = engine.open()
    engine.table.halves[row] = kind == "halves"
    if kind == "dialling":
        engine.seldom.dial(row, "12", 100, 60)
    engine.say(row, speech(1) * 20)
    engine.frames(80)
    assert engine.plane.stats["bytes_sent"][row] == sum(len(datagram) - 12 for datagram in engine.sent[row])
    assert engine.plane.stats["packets_sent"][row] == len(engine.sent[row])
    engine.close()
