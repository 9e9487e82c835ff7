import os

import numpy as np

from rtp import plane
from rtp.plane import DOWNLINK_BYTES, STATS, UPLINK_FRAMES, Plane


def test_two_mappings_see_the_same_arrays_and_no_two_arrays_overlap() -> None:
    fd = plane.create(5)
    here, there = Plane(fd, 5), Plane(fd, 5)
    names = [name for name, value in vars(here).items() if isinstance(value, np.ndarray)]
    for number, name in enumerate(names, 1):
        view = getattr(here, name)
        if view.dtype == STATS:
            view["packets_sent"] = number
        else:
            view[...] = number
    for number, name in enumerate(names, 1):
        view = getattr(there, name)
        seen = view["packets_sent"] if view.dtype == STATS else view
        assert (seen == number).all(), name
    os.close(fd)


def test_shapes() -> None:
    fd = plane.create(2)
    p = Plane(fd, 2)
    assert p.uplink.shape == (2, UPLINK_FRAMES, 160)
    assert p.downlink.shape == (2, DOWNLINK_BYTES)
    assert DOWNLINK_BYTES & (DOWNLINK_BYTES - 1) == 0
    assert os.fstat(fd).st_size == plane.size_of(2)
    os.close(fd)


def test_a_new_block_is_zero_and_columns_are_aligned() -> None:
    fd = plane.create(3)
    p = Plane(fd, 3)
    for value in vars(p).values():
        if isinstance(value, np.ndarray):
            assert value.ctypes.data % 64 == 0
            assert not value.tobytes().strip(b"\x00")
    os.close(fd)
