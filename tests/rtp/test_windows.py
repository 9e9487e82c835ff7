import numpy as np
import pytest

from rtp.windows import windows


def test_is_what_an_index_per_byte_would_gather() -> None:
    flat = np.random.default_rng(1).integers(0, 256, 1000, np.uint8)
    positions = np.array([0, 7, 840, 333])
    plain = flat[positions[:, None] + np.arange(160)]
    assert (windows(flat, 160)[positions].view(np.uint8).reshape(-1, 160) == plain).all()


def test_writes_through() -> None:
    flat = np.zeros(400, np.uint8)
    view = windows(flat, 160)
    view[np.array([3])] = np.full((1, 160), 9, np.uint8).view(view.dtype)[:, 0]
    assert flat[2:164].tolist() == [0] + [9] * 160 + [0]


def test_beyond_the_last_window_is_an_error() -> None:
    with pytest.raises(IndexError):
        windows(np.zeros(200, np.uint8), 160)[np.array([41])]
