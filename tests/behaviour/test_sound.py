"""What a bad network sounds like behind the whole engine: ring, delay, concealment and time scaling together.

On the engine's virtual clock and without sockets; the full table is made by tools/sound-report.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from rtp.plane import FRAME
from tests.support import impairments, pesqs
from tests.support.impairments import Schedule, gamma_jitter, schedule, sending_times, spike, stall
from tests.support.listening import Heard, listen
from tests.support.playing import companded
from tests.support.speech import VOICES, speech, with_noise, without_pauses

SECOND = 50  # packets
#: Frames that are made up behind the last packet of a schedule, while the engine still listens.
TAIL = 21


def _spoken(rows: int) -> list[npt.NDArray[np.int16]]:
    """Speech in a quiet room, so that a pause is something to find."""
    return [with_noise(speech(VOICES[row % len(VOICES)]), -65, row) for row in range(rows)]


def _breathless(rows: int) -> list[npt.NDArray[np.int16]]:
    """The same without a pause: nowhere to hide a correction."""
    return [with_noise(without_pauses(speech(VOICES[row % len(VOICES)])), -65, row) for row in range(rows)]


def _on(networks: list[Schedule], every_s: float = 0.1) -> list[Heard]:
    return listen(networks, _spoken(len(networks)), every_s=every_s)


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
def test_a_clean_path_is_bit_exact(ptime_ms: int) -> None:
    packet = ptime_ms * 8
    spoken = [speech(voice) for voice in VOICES]
    sent = [len(samples) // packet for samples in spoken]
    networks = [schedule(n, sent_ns=sending_times(n, ptime_ms)) for n in sent]
    for ours, theirs, n in zip(listen(networks, spoken, packet=packet), spoken, sent, strict=True):
        assert (ours.samples[: n * packet] == companded(theirs[: n * packet])).all()
        assert ours.stats["resyncs"] == 0
        assert ours.present_ms[3] == pytest.approx(40, abs=4)  # the start delay, to a slot


@pytest.mark.parametrize(("shape", "in_order"), [(6.0, False), (8.0, True)])
def test_gamma_jitter_of_30_ms(shape: float, in_order: bool) -> None:
    """Means of four calls of two minutes."""
    packets = 120 * SECOND
    jitter = [gamma_jitter(packets, 30, np.random.default_rng(seed), shape) for seed in range(4)]
    calls = _on([schedule(packets, delay_ns=one, in_order=in_order) for one in jitter], every_s=0.5)
    assert np.mean([call.stats["packets_late"] / packets for call in calls]) <= 0.005
    assert np.mean([(call.stats["frames_concealed"] - TAIL) / packets for call in calls]) <= 0.006
    assert np.mean([call.waited_ms[2:-2].mean() for call in calls]) <= 110


class TestBursts:
    """Trouble in the seconds 20 to 22, from a path that is clean otherwise."""

    @pytest.mark.parametrize("spoken", [_spoken, _breathless])
    @pytest.mark.parametrize(
        "trouble", [stall(30 * SECOND, 1000, 100), spike(30 * SECOND, 1000, 100, 150)], ids=["stall", "150 ms late"]
    )
    def test_two_seconds_of_late_packets_are_forgotten_three_seconds_later(
        self, trouble: impairments.Ns, spoken: Callable[[int], list[npt.NDArray[np.int16]]]
    ) -> None:
        networks = [schedule(30 * SECOND, delay_ns=trouble, in_order=True)] * len(VOICES)
        calls = listen(networks, spoken(len(networks)), every_s=0.1)
        for call in calls:
            later = call.after(25.1)
            assert call.target_ms[later].max() <= 40
            assert call.present_ms[later][:40].max() <= 66  # 40, up to 20 to the next packet's beginning, a slot
            assert call.stats["resyncs"] == 0

    def test_a_stall_within_reach_loses_no_words(self) -> None:
        call = _on([schedule(30 * SECOND, delay_ns=stall(30 * SECOND, 1000, 8))])[0]
        assert call.stats["packets_late"] == 0

    def test_two_lost_seconds_leave_nothing_behind(self) -> None:
        lost = np.zeros(30 * SECOND, dtype=bool)
        lost[1000:1100] = True
        call = _on([schedule(30 * SECOND, lost=lost)])[0]
        assert call.present_ms[call.after(22.3)][:60].max() <= 66
        assert call.stats["resyncs"] == 0

    def test_a_path_out_of_reach_is_followed_and_left_again(self) -> None:
        call = _on([schedule(45 * SECOND, delay_ns=spike(45 * SECOND, 1000, 500, 900), in_order=True)])[0]
        assert call.stats["resyncs"] == 1
        assert call.present_ms[call.after(22)][:50].max() <= 66
        assert call.present_ms[call.after(43)][:10].max() <= 66


def test_drift_is_followed_where_nobody_hears_it() -> None:
    """Five minutes of a fast sender and of a slow one; the hour is in tools/sound-report, and in test_delay."""
    packets = 300 * SECOND
    rates = (200.0, -200.0)
    calls = _on([schedule(packets, sent_ns=sending_times(packets, 20, ppm)) for ppm in rates], every_s=1.0)
    for ppm, call in zip(rates, calls, strict=True):
        assert np.abs(call.ppm[call.after(150)] - ppm).max() <= 10
        settled = call.present_ms[call.after(60)][:-2]
        assert settled.max() <= 66
        assert settled.min() >= 15
        assert call.corrections <= 5  # those in pauses included
        assert call.stats["frames_concealed"] <= TAIL + 13  # the fast sender is through a quarter second earlier
        assert call.stats["packets_late"] == 0


def test_drift_is_hardly_heard_where_nobody_takes_breath() -> None:
    """Six minutes of each voice. 200 ppm are 12 ms a minute: one correction a minute, if each is worth it."""
    minutes = 6
    packets = minutes * 60 * SECOND
    rates = (200.0, -200.0)
    networks = [schedule(packets, sent_ns=sending_times(packets, 20, ppm)) for _ in VOICES for ppm in rates]
    said = [with_noise(without_pauses(speech(voice)), -65, 1) for voice in VOICES for _ in rates]
    for call in listen(networks, said, every_s=1.0):
        assert call.corrections <= minutes
        settled = call.present_ms[call.after(60)][:-2]
        assert settled.max() <= 78  # 66, and up to 12 that no seam was worth yet
        assert settled.min() >= 15
        assert call.stats["packets_late"] == 0


@pytest.mark.parametrize("condition", ["no loss", "random 5 %", "bursts of 5, 10 %"])
def test_loss_sounds_better_than_repeating_the_last_frame(condition: str) -> None:
    frames, lengths = pesqs.framed(VOICES, 2)
    lost = pesqs.losses(condition, lengths, frames.shape[1])
    networks = [schedule(n, lost=row[:n]) for row, n in zip(lost, lengths, strict=True)]
    calls = listen(networks, [row[:n].ravel() for row, n in zip(frames, lengths, strict=True)])
    ours = np.mean(
        [
            pesqs.score(row[:n].ravel(), call.samples[: n * FRAME])
            for row, n, call in zip(frames, lengths, calls, strict=True)
        ]
    )
    received = companded(frames)
    repeated = pesqs.scores(frames, pesqs.repeat_with_fade(received, lost), lengths).mean()
    if condition == "no loss":
        assert ours == pytest.approx(pesqs.scores(frames, received, lengths).mean(), abs=1e-6)
    else:
        assert ours >= repeated + 0.10
