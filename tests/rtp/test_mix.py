import numpy as np

from rtp import g711
from rtp.mix import STEP, Mixer
from rtp.plane import FRAME

GENERATION = np.arange(1, 9, dtype=np.uint64)


def tone(amplitude: int) -> np.ndarray:
    return g711.LINEAR_TO_MU[np.full(FRAME, amplitude, np.int16).view(np.uint16)]


def hear(mixer: Mixer, rows: list[int], own: list[np.ndarray], playing: list[bool], frames: dict[int, np.ndarray]):
    listeners = np.array(rows)
    sources = mixer.sources(listeners)
    original = np.array([frames[s] for s in sources.tolist()], np.uint8).reshape(len(sources), FRAME)
    out = mixer.mix(listeners, np.array(own), np.array(playing), GENERATION, original, sources)
    return g711.MU_TO_LINEAR[out].astype(int)


def settle(mixer: Mixer, *args: object) -> np.ndarray:
    for _ in range(5):
        last = hear(mixer, *args)  # type: ignore[arg-type]
    return last


def test_a_leg_without_sources_is_not_mixed() -> None:
    mixer = Mixer(8)
    mixer.set_gains(1, 1.0, [])
    assert not mixer.mixing[1]
    mixer.set_gains(1, 1.0, [(2, 3, 1.0, 0.125)])
    assert mixer.mixing[1]


def test_original_is_ducked_while_translation_plays_and_comes_back() -> None:
    mixer = Mixer(8)
    mixer.set_gains(1, 1.0, [(2, 3, 1.0, 0.125)])
    silence = tone(0)
    alone = settle(mixer, [1], [silence], [False], {2: tone(8000)})
    assert abs(alone[0, -1] - 8000) < 300
    both = settle(mixer, [1], [tone(4000)], [True], {2: tone(8000)})
    assert abs(both[0, -1] - 5000) < 200
    back = settle(mixer, [1], [silence], [False], {2: tone(8000)})
    assert abs(back[0, -1] - 8000) < 300


def test_gains_move_in_ramps_of_50_ms() -> None:
    mixer = Mixer(8)
    mixer.set_gains(1, 1.0, [(2, 3, 1.0, 0.0)])
    levels = [hear(mixer, [1], [tone(0)], [False], {2: tone(8000)})[0] for _ in range(4)]
    joined = np.concatenate(levels)
    assert joined[0] < 200
    assert (np.diff(joined) >= 0).all()
    assert abs(levels[0][-1] - 8000 * STEP) < 200
    assert abs(levels[2][-1] - 8000) < 300


def test_conference_sums_what_each_listener_may_hear() -> None:
    mixer = Mixer(8)
    mixer.set_gains(1, 1.0, [(2, 3, 1.0, 1.0), (3, 4, 0.5, 0.5)])
    mixer.set_gains(3, 0.0, [(1, 2, 1.0, 1.0)])
    frames = {1: tone(1000), 2: tone(2000), 3: tone(6000)}
    heard = settle(mixer, [1, 3], [tone(400), tone(9000)], [False, False], frames)
    assert abs(heard[0, -1] - (400 + 2000 + 3000)) < 200
    assert abs(heard[1, -1] - 1000) < 60


def test_a_row_that_was_reused_is_not_heard() -> None:
    mixer = Mixer(8)
    mixer.set_gains(1, 1.0, [(2, 99, 1.0, 1.0)])
    assert not settle(mixer, [1], [tone(0)], [False], {2: tone(8000)}).any()


def test_too_loud_is_limited_and_does_not_wrap() -> None:
    mixer = Mixer(8)
    mixer.set_gains(1, 1.0, [(2, 3, 1.0, 1.0)])
    heard = settle(mixer, [1], [tone(30000)], [True], {2: tone(30000)})
    assert heard.min() > 30000


def test_reset_removes_a_leg_as_listener_and_as_source() -> None:
    mixer = Mixer(8)
    mixer.set_gains(1, 1.0, [(2, 3, 1.0, 1.0)])
    mixer.set_gains(4, 1.0, [(1, 2, 1.0, 1.0), (2, 3, 1.0, 1.0)])
    mixer.reset(np.array([2]))
    assert mixer.sources(np.array([1])).tolist() == []
    assert mixer.sources(np.array([4])).tolist() == [1]


def test_leaving_the_mix_keeps_the_present_gain_of_who_stays() -> None:
    mixer = Mixer(8)
    mixer.set_gains(1, 1.0, [(2, 3, 1.0, 1.0)])
    settle(mixer, [1], [tone(0)], [False], {2: tone(8000)})
    mixer.set_gains(1, 1.0, [(2, 3, 1.0, 1.0), (3, 4, 1.0, 1.0)])
    first = hear(mixer, [1], [tone(0)], [False], {2: tone(8000), 3: tone(0)})
    assert abs(first[0, 0] - 8000) < 300


def test_what_others_hear_stays_when_somebody_joins_or_leaves() -> None:
    mixer = Mixer(8)
    frames = {row: tone(500 * row) for row in range(1, 6)}
    listeners = [5, 1, 3, 2, 4]  # they come in any order
    for count in (2, 3, 4, 5, 3):
        there = listeners[:count]
        for row in there:
            mixer.set_gains(row, 1.0, [(s, s + 1, 1.0, 1.0) for s in there if s != row])
        for row in listeners[count:]:
            mixer.set_gains(row, 1.0, [])
        rows = sorted(there)
        heard = settle(mixer, rows, [tone(0)] * count, [False] * count, frames)
        for row, level in zip(rows, heard[:, -1].tolist(), strict=True):
            wanted = sum(500 * s for s in there if s != row)
            assert abs(level - wanted) < 60 + wanted / 30
