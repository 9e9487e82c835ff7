from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.source_lock import CONSISTENT, MAX_CANDIDATES, MAX_TOLD, SILENCE_NS, Address, SourceLock

MS = 1_000_000
SDP = ("192.0.2.1", 4000)
RTCP = ("192.0.2.1", 4001)
NAT = ("198.51.100.7", 61000)
EVIL = ("203.0.113.66", 5555)


class Leg:
    """A lock with the bookkeeping that the loop does around it."""

    def __init__(self, mode: str, sdp: Address = SDP, rtcp: Address | None = RTCP) -> None:
        self.lock = SourceLock()
        self.last_valid = 0
        self.believed_packets = 0
        self.now = 10_000 * MS
        self.lock.expect(sdp, rtcp, mode, self.now)
        self.adoptions: list[Address] = []

    def packet(self, source: Address, ssrc: int, sequence: int, at_ms: float = 0.0) -> bool:
        """Whether the packet was believed."""
        now = self.now + int(at_ms * MS)
        if source == self.lock.believed:
            self.last_valid = now
            return True
        verdict = self.lock.stranger(source, ssrc, sequence % 65536, now // (2 * MS), now, self.last_valid)
        if verdict.adopt is not None:
            assert verdict.adopt == source == self.lock.believed
            self.adoptions.append(source)
            self.last_valid = now
            return True
        return False

    def stream(
        self, source: Address, count: int, start_ms: float = 0, ssrc: int = 1, sequence: int = 100
    ) -> list[bool]:
        return [self.packet(source, ssrc, sequence + n, start_ms + 20 * n) for n in range(count)]


def test_off_never_believes_a_stranger() -> None:
    leg = Leg("off")
    assert not any(leg.stream(NAT, 500))
    assert leg.lock.believed == SDP


def test_on_believes_the_fourth_consistent_packet() -> None:
    leg = Leg("on")
    assert leg.stream(NAT, 10) == [False] * 3 + [True] * 7
    assert leg.lock.believed == NAT
    assert leg.lock.learned


def test_on_does_not_leave_an_sdp_address_that_speaks() -> None:
    leg = Leg("on")
    assert leg.packet(SDP, 1, 1)
    assert not any(leg.stream(EVIL, 20, start_ms=20))
    assert leg.lock.believed == SDP


def test_auto_waits_for_silence_of_the_sdp_address() -> None:
    leg = Leg("auto")
    heard = leg.stream(NAT, 40)
    assert heard.index(True) == 25  # 500 ms
    assert leg.lock.believed == NAT


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_the_sdp_address_is_taken_back_when_it_speaks(mode: str) -> None:
    leg = Leg(mode)
    leg.stream(EVIL, 50)
    assert leg.lock.believed == EVIL
    assert leg.stream(SDP, 5, start_ms=1000, ssrc=2) == [False, False, False, True, True]
    assert not leg.lock.learned


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_burst_in_one_slot_never_locks(mode: str) -> None:
    leg = Leg(mode)
    for n in range(1000):
        assert not leg.packet(EVIL, 9, n, at_ms=600)
    assert leg.lock.believed == SDP


def test_a_burst_that_takes_several_slots_to_read_is_one_burst() -> None:
    lock = SourceLock()
    lock.expect(SDP, None, "on", 1)
    for n in range(100):
        assert not lock.stranger(EVIL, 9, n, n // 8, n * 500_000, 0).adopt
    assert lock.stranger(EVIL, 9, 100, 14, 60_000_000, 0).adopt == EVIL


def test_a_burst_locks_only_with_a_later_slot() -> None:
    leg = Leg("on")
    for n in range(3):
        assert not leg.packet(NAT, 9, n, at_ms=0)
    assert leg.packet(NAT, 9, 3, at_ms=20)


@pytest.mark.parametrize("broken", ["ssrc", "gap", "repeat", "backwards"])
def test_inconsistent_packets_never_lock(broken: str) -> None:
    leg = Leg("on")
    for n in range(200):
        ssrc = n if broken == "ssrc" else 1
        sequence = {"ssrc": n, "gap": 2 * n, "repeat": n // 3, "backwards": -n}[broken]
        assert not leg.packet(EVIL, ssrc, sequence, at_ms=20 * n)


def test_a_lost_packet_only_starts_the_count_again() -> None:
    leg = Leg("on")
    heard = [leg.packet(NAT, 1, n, at_ms=20 * n) for n in (1, 2, 3, 5, 6, 7, 8)]
    assert heard == [False] * 6 + [True]


def test_consistency_holds_over_the_wrap() -> None:
    leg = Leg("on")
    assert leg.stream(NAT, 4, sequence=65534)[-1]


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_learned_source_is_left_after_500_ms_of_silence_only(mode: str) -> None:
    leg = Leg(mode)
    leg.stream(NAT, 50)  # last heard at 980 ms
    other = ("198.51.100.7", 61001)
    heard = leg.stream(other, 40, start_ms=1000, sequence=9000)
    assert heard.index(True) == 24  # 1480 ms
    assert leg.lock.believed == other


@pytest.mark.parametrize("mode", ["auto", "on", "off"])
def test_a_new_sdp_is_believed_at_once_and_the_former_source_is_not_relearned(mode: str) -> None:
    leg = Leg(mode)
    leg.stream(SDP, 10)
    new = ("192.0.2.9", 7000)
    leg.now += 200 * MS
    assert leg.lock.expect(new, None, mode, leg.now)
    assert leg.lock.believed == new
    assert not any(leg.stream(SDP, 20))  # the last packets of the former source
    assert leg.packet(new, 5, 1, at_ms=400)
    assert leg.lock.believed == new


def test_a_new_sdp_learns_anew() -> None:
    leg = Leg("on")
    leg.stream(NAT, 10)
    leg.now += 200 * MS
    leg.lock.expect(("10.0.0.9", 9000), None, "on", leg.now)
    fresh = ("198.51.100.7", 62222)
    assert leg.stream(fresh, 4) == [False, False, False, True]


@pytest.mark.parametrize("again", [SDP, ("0.0.0.0", 4000), ("::", 4000), ("192.0.2.5", 0)])
def test_the_same_or_no_address_keeps_what_was_learned(again: Address) -> None:
    leg = Leg("on")
    leg.stream(NAT, 10)
    assert not leg.lock.expect(again, RTCP, "on", leg.now + 300 * MS)
    assert leg.lock.believed == NAT


def test_mode_off_returns_to_the_sdp_address() -> None:
    leg = Leg("on")
    leg.stream(NAT, 10)
    assert leg.lock.expect(SDP, RTCP, "off", leg.now)
    assert leg.lock.believed == SDP
    assert not leg.lock.expect(SDP, RTCP, "off", leg.now)


def test_an_unknown_mode_is_a_bug() -> None:
    with pytest.raises(ValueError, match="maybe"):
        SourceLock().expect(SDP, None, "maybe", 0)


def test_before_any_sdp_nobody_is_believed() -> None:
    lock = SourceLock()
    for n in range(10):
        assert lock.stranger(EVIL, 1, n, n, n * 20 * MS, 0).adopt is None
    assert lock.believed is None
    assert not lock.rtcp_is_from_peer(EVIL, 1, None)


@pytest.mark.parametrize(
    ("mode", "honest_starts_ms"),
    [(mode, ms) for mode, latest in (("off", 5000), ("auto", 480), ("on", 40)) for ms in (0, 20, latest)],
)
def test_bleed_and_inject(mode: str, honest_starts_ms: int) -> None:
    """10,000 packets of 3 wrong sources beside a live stream, its SSRC and sequence numbers copied."""
    leg = Leg(mode)
    wrong = [EVIL, ("203.0.113.67", 4000), (SDP[0], 4002)]
    injected = honest = sent_to_wrong = n = 0
    for tick in range(3400):
        at = tick * 20.0
        for k, source in enumerate(wrong):
            copied = k < 2
            injected += leg.packet(source, 1 if copied else 77, 100 + tick, at + k * 0.1)
            n += 1
            sent_to_wrong += leg.lock.believed != SDP
        if at >= honest_starts_ms:
            honest += leg.packet(SDP, 1, 100 + tick, at + 5)
    assert n >= 10_000
    assert (injected, sent_to_wrong, leg.adoptions) == (0, 0, [])
    assert honest == 3400 - honest_starts_ms // 20


def test_bleed_and_inject_behind_nat() -> None:
    leg = Leg("on", sdp=("10.1.2.3", 4000))
    assert leg.stream(NAT, 4) == [False, False, False, True]
    for n in range(4, 5000):
        assert leg.packet(NAT, 1, 100 + n, 20 * n)
        assert not leg.packet(EVIL, 1, 100 + n, 20 * n + 1)
        assert not leg.packet(("203.0.113.67", 1), 1, 101 + n, 20 * n + 2)
    assert leg.adoptions == [NAT]


def test_a_flood_of_sources_does_not_displace_an_honest_stream() -> None:
    leg = Leg("on")
    heard = []
    for n in range(4):
        heard.append(leg.packet(NAT, 1, n, 20 * n))
        for k in range(30):
            assert not leg.packet(("203.0.113.1", 1000 + 200 * n + k), k, n, 20 * n + 1)
    assert heard == [False, False, False, True]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.integers(0, 9), st.integers(0, 40)), max_size=200))
def test_memory_is_bounded_and_a_lock_needs_four_packets(packets: list[tuple[int, int, int, int]]) -> None:
    leg = Leg("on")
    counts: dict[Address, int] = {}
    at = 0
    told = 0
    for port, ssrc, sequence, wait in packets:
        at += wait
        source = ("203.0.113.1", 1000 + port)
        counts[source] = counts.get(source, 0) + 1
        now = leg.now + at * MS
        verdict = leg.lock.stranger(source, ssrc, sequence, now // (2 * MS), now, leg.last_valid)
        told += verdict.unheard_of
        if verdict.adopt:
            assert counts[source] >= CONSISTENT
            leg.last_valid = now
        assert len(leg.lock._candidates) <= MAX_CANDIDATES
    assert told <= MAX_TOLD


def test_each_stranger_is_told_once() -> None:
    leg = Leg("off")
    told = [leg.lock.stranger((EVIL[0], port), 1, n, n, 0, 0).unheard_of for n in range(3) for port in range(1, 20)]
    assert told == [True] * MAX_TOLD + [False] * (57 - MAX_TOLD)


def test_rtcp_of_the_sdp_address() -> None:
    lock = Leg("off").lock
    assert lock.rtcp_is_from_peer(RTCP, 7, None)
    assert lock.rtcp_is_from_peer(RTCP, 7, 7)
    assert lock.rtcp_is_from_peer(SDP, 7, 7)  # rtcp-mux
    assert not lock.rtcp_is_from_peer(RTCP, 8, 7)  # speaks of another stream
    assert not lock.rtcp_is_from_peer((SDP[0], 9), 7, 7)
    assert not lock.rtcp_is_from_peer(EVIL, 7, 7)
    assert lock.rtcp_target == RTCP


def test_rtcp_behind_nat_needs_the_believed_host_and_the_ssrc() -> None:
    leg = Leg("on")
    leg.stream(NAT, 4, ssrc=7)
    assert leg.lock.rtcp_is_from_peer((NAT[0], 61999), 7, 7)
    assert not leg.lock.rtcp_is_from_peer((NAT[0], 61999), 8, 7)
    assert not leg.lock.rtcp_is_from_peer((NAT[0], 61999), 7, None)
    assert not leg.lock.rtcp_is_from_peer(EVIL, 7, 7)
    assert not leg.lock.rtcp_is_from_peer(RTCP, 7, 7)  # the SDP's address is not where the stream comes from
    assert leg.lock.rtcp_target == (NAT[0], NAT[1] + 1)


def test_rtcp_target_with_mux_and_without_rtcp() -> None:
    mux = Leg("on", rtcp=SDP)
    assert mux.lock.rtcp_target == SDP
    mux.stream(NAT, 4)
    assert mux.lock.rtcp_target == NAT
    assert Leg("on", rtcp=None).lock.rtcp_target is None


def test_silence_is_half_a_second() -> None:
    assert SILENCE_NS == 500 * MS
