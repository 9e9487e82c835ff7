from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rig import sound_report
from rig.sound_report import WAYS, Scores

from tests.support.listening import Heard
from tests.support.pesqs import CONDITIONS
from tests.support.speech import VOICES

PNG = b"\x89PNG\r\n\x1a\n"


def _scores(gain: float) -> Scores:
    """Eight seeds a voice; ours is `gain` above repeating."""
    rows = np.linspace(-0.05, 0.05, 8 * len(VOICES))
    levels = {"silence": 2.9, "repeat with fade": 3.0, "glotgate, no look-ahead": 3.1, "glotgate": 3.0 + gain}
    return Scores({condition: {way: levels[way] + rows for way in WAYS} for condition in CONDITIONS})


def _call() -> Heard:
    time_s = np.arange(19, 27, 0.02)
    flat = np.full(len(time_s), 40.0)
    return Heard(np.zeros(160, dtype=np.int16), time_s, flat, flat, flat, flat * 0, {"frames_up": 1.0})


def test_columns_of_a_table_line_up() -> None:
    made = sound_report.table(("a", "bb"), [("ccc", "d"), ("e", "ffff")]).splitlines()
    assert len({len(line) for line in made}) == 1
    assert set(made[1]) == set("|-")


def test_the_loss_table_says_what_is_gained() -> None:
    made = sound_report.loss_table(_scores(0.25)).splitlines()
    assert len(made) == 2 + len(CONDITIONS)
    assert made[2].rstrip(" |").endswith("3.25")  # without loss there is nothing to gain
    assert all("+0.25" in line for line in made[3:])


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    bursts = {name: _call() for name in ("one", "two", "three", "four")}
    sound_report.draw(_scores(0.2), bursts, tmp_path / "sound.png")
    assert (tmp_path / "sound.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(("gain", "status"), [(0.11, 0), (0.09, 1)])
def test_exits_by_what_must_be_reached(
    gain: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_report, "score_losses", lambda seeds: _scores(gain))
    monkeypatch.setattr(sound_report, "jitter_rows", lambda calls: iter([("a network", "0.4 %", "100 ms", "97 ms")]))
    monkeypatch.setattr(sound_report, "drift_rows", lambda seconds: iter([("+200", "1 ppm", "60 ms", "0.6")]))
    monkeypatch.setattr(sound_report, "burst_calls", lambda: {name: _call() for name in "abcd"})
    assert sound_report.main([str(tmp_path)]) == status
    page = (tmp_path / "sound.md").read_text()
    assert "img/sound.png" in page
    assert "a network" in page
