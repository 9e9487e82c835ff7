import numpy as np

from rtp.backlog import SLACK, WINDOW, Backlog

ROW = np.array([1])


def run(backlog: Backlog, arrivals: list[int], queue: int, windows: int = 1) -> int:
    """Feed whole windows; `arrivals` is what comes in each frame, `queue` what waits. Returns the excess."""
    written = 0
    for n in range(WINDOW * windows):
        written += arrivals[n % len(arrivals)]
        backlog.observe(ROW, np.array([written]), np.array([queue]))
    return int(backlog.excess[1])


def test_a_real_time_sender_behind_a_long_queue_has_a_backlog() -> None:
    assert run(Backlog(3, 480), [160], 480 + SLACK + 3000) == 3000


def test_the_lead_and_some_jitter_are_no_backlog() -> None:
    assert run(Backlog(3, 480), [160], 480 + SLACK) == 0


def test_a_burst_has_a_right_to_its_queue() -> None:
    assert run(Backlog(3, 480), [40_000] + [0] * (WINDOW - 1), 30_000) == 0
    assert run(Backlog(3, 480), [0], 30_000) == 0


def test_a_sender_that_is_much_faster_than_sound_bursts() -> None:
    assert run(Backlog(3, 480), [320], 30_000) == 0


def test_it_is_gone_when_it_was_worked_off() -> None:
    backlog = Backlog(3, 480)
    run(backlog, [160], 480 + SLACK + 100)
    backlog.worked_off(ROW, np.array([80]))
    assert backlog.excess[1] == 20
    backlog.worked_off(ROW, np.array([80]))
    assert backlog.excess[1] == 0


def test_rows_are_judged_alone_and_reset() -> None:
    backlog = Backlog(3, 480)
    run(backlog, [160], 9000)
    assert backlog.excess.tolist() == [0, 9000 - 480 - SLACK, 0]
    backlog.reset(ROW)
    assert backlog.excess[1] == 0
