"""What the account says of packets is what was done to them."""

from collections import Counter

import pytest
from rig.replay import PAYLOAD_TYPES, Account, EventLine, FrameLine, PacketLine, Replay

from rtp import g711
from rtp.settings import Settings
from tests.support import call_capture
from tests.support.engine import rtp_packet

MS = 1_000_000


def speech(n: int) -> bytes:
    return bytes((n * 160 + i) * 37 % 255 for i in range(160))


def replay(packets: list[tuple[int, bytes]], **settings: int) -> Account:
    timed = [(n, at, data) for n, (at, data) in enumerate(packets, 1)]
    return Replay(Settings(capacity=1, vad_events=True, **settings), PAYLOAD_TYPES).run(timed)


def even(count: int, **header: int) -> list[tuple[int, bytes]]:
    return [(n * 20 * MS, rtp_packet(n, n * 160, speech(n), **header)) for n in range(count)]


def of_packets(account: Account) -> list[PacketLine]:
    return [line for line in account.lines if isinstance(line, PacketLine)]


def of_frames(account: Account) -> list[FrameLine]:
    return [line for line in account.lines if isinstance(line, FrameLine)]


def test_an_even_stream_is_heard_bit_by_bit() -> None:
    account = replay(even(50))
    assert account.heard == b"".join(map(speech, range(50)))
    assert [line.what for line in of_packets(account)] == ["played"] * 50
    assert {line.waited_ms for line in of_packets(account)} == {40.0}
    assert of_packets(account)[0].notes == ["start"]
    assert of_frames(account) == []


def test_the_summary_is_of_the_time_in_which_packets_came() -> None:
    summary = replay(even(300)).summary
    assert summary["waited_ms"] == {"p50": 40.0, "p99": 40.0, "most": 40.0}
    assert summary["delay_mean_ms"] == 40.0
    assert summary["mos_mean"] == pytest.approx(4.41, abs=0.01)
    assert replay(even(20)).summary["mos_mean"] == pytest.approx(4.41, abs=0.01)


def test_the_clock_of_the_capture_does_not_matter() -> None:
    later = [(at + 1_700_000_000_000_000_000, data) for at, data in even(20)]
    assert replay(later) == replay(even(20))


@pytest.mark.parametrize("ptime", [10, 20, 30, 60])
def test_every_ptime(ptime: int) -> None:
    sound = b"".join(map(speech, range(60)))
    step = ptime * 8
    packets = [
        (n * ptime * MS, rtp_packet(n, n * step, sound[n * step : (n + 1) * step])) for n in range(len(sound) // step)
    ]
    account = replay(packets)
    assert account.heard == sound
    assert {line.what for line in of_packets(account)} == {"played"}


def test_a_law_is_heard_as_its_mu_law() -> None:
    account = replay(even(20, payload_type=8))
    coded = g711.ALAW_TO_MULAW.tobytes()
    assert account.heard == b"".join(bytes(coded[b] for b in speech(n)) for n in range(20))


def test_a_hole_is_named_where_it_is_heard() -> None:
    packets = even(50)
    del packets[20:22]
    account = replay(packets)
    (hole,) = of_frames(account)
    assert (hole.heard, hole.frames, hole.media_ms, hole.at_ms) == ("concealed", 2, 400, 440.0)
    assert account.summary["packets_lost"] == 2


def test_the_whole_call() -> None:
    account = replay(call_capture.packets(), jitter_min_ms=60, jitter_start_ms=60, jitter_max_ms=60)
    lines = of_packets(account)
    counts = Counter(line.what for line in lines)
    assert counts == {"played": 196, "late": 1, "duplicate": 1, "rejected": 8, "event": 7, "rtcp": 1}
    assert Counter(line.reason for line in lines if line.reason) == {
        "bad_payload_type": 1,
        "short": 1,
        "bad_version": 1,
        "bad_header": 1,
        "bad_padding": 1,
        "oversize": 1,
        "bad_sequence": 2,
    }
    assert Counter(note for line in lines for note in line.notes) == {
        "start": 1,
        "reordered": 2,
        "restart": 2,
        "new-ssrc": 1,
    }
    (digit,) = [line for line in account.lines if isinstance(line, EventLine) and line.event == "digit"]
    assert (digit.digit, digit.duration_ms, digit.media_ms) == ("5", 100, 1800)
    assert account.summary["digits"] == "5"
    assert account.summary["ssrc_changes"] == 1
    assert account.summary["frames"]["total"] * 160 == len(account.heard)
    assert [line.at_ms for line in account.lines] == sorted(line.at_ms for line in account.lines)


def test_speech_and_its_end_are_told() -> None:
    told = [line.event for line in replay(call_capture.packets()).lines if isinstance(line, EventLine)]
    assert told[:2] == ["speech-started", "speech-stopped"]


def test_a_press_without_an_end_is_told_when_it_is_given_up() -> None:
    press = [(at + 1000 * MS, rtp_packet(50, 8000, b"\x09\x0a\x00\xa0", 101)) for at in (0,)]
    account = replay(even(50) + press)
    assert account.summary["digits"] == "9"


def test_comfort_noise_is_no_loss() -> None:
    packets = [*even(20), (400 * MS, rtp_packet(20, 3200, b"\x40", 13))]
    packets += [(at + 800 * MS, rtp_packet(21 + n, 6400 + n * 160, speech(n))) for n, (at, _) in enumerate(even(10))]
    account = replay(packets)
    assert {line.heard for line in of_frames(account)} == {"noise"}
    assert account.summary["packets"] == {"total": 31, "played": 30, "noise": 1}
    assert account.summary["frames"]["concealed"] == 0


def test_a_keepalive_is_empty() -> None:
    account = replay([*even(5), (100 * MS, rtp_packet(5, 800, b""))])
    assert of_packets(account)[-1].what == "empty"


def test_a_stall_leaves_no_delay_behind() -> None:
    """A second in which nothing came, then all of it at once."""
    packets = [(2000 * MS if 50 <= n < 100 else at, data) for n, (at, data) in enumerate(even(300))]
    account = replay(sorted(packets, key=lambda item: item[0]))
    late = [line for line in of_packets(account) if line.what == "late"]
    assert {line.at_ms for line in late} == {2000.0}
    assert of_frames(account)[0].heard == "concealed"
    assert of_packets(account)[-1].waited_ms in (20.0, 40.0)


def test_nothing_to_replay_and_a_gap_that_is_no_call() -> None:
    with pytest.raises(ValueError, match="nothing"):
        replay([])
    with pytest.raises(ValueError, match="hour"):
        replay([*even(5), (4000 * 1_000_000_000, rtp_packet(5, 800, b""))])
