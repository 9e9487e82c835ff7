import os
from collections.abc import Iterator

import numpy as np
import pytest

from rtp import plane
from rtp.plane import Plane
from rtp.settings import Settings
from rtp.table import CROWD, NO_SLOT, START_NS, Table

RNG = np.random.default_rng(1)


@pytest.fixture
def table() -> Iterator[Table]:
    fd = plane.create(3)
    yield Table(Plane(fd, 3), Settings(capacity=3))
    os.close(fd)


def test_rows_run_out_and_come_back(table: Table) -> None:
    rows = [table.open(1, RNG) for _ in range(3)]
    assert sorted(r for r in rows if r is not None) == [0, 1, 2]
    assert table.open(1, RNG) is None
    table.close(1)
    assert table.open(1, RNG) == 1


def test_a_generation_is_never_used_twice(table: Table) -> None:
    seen = set()
    for _ in range(20):
        row = table.open(1, RNG)
        assert row is not None
        generation = int(table.generation[row])
        assert table.holds(row, generation)
        seen.add(generation)
        table.close(row)
        assert not table.holds(row, generation)
    assert len(seen) == 20
    assert 0 not in seen


def test_holds_takes_any_number(table: Table) -> None:
    assert not table.holds(-1, 1)
    assert not table.holds(99, 1)
    assert not table.holds(0, 0)


def test_a_reused_row_remembers_nothing(table: Table) -> None:
    row = table.open(1, RNG)
    assert row == 0
    fresh = {name: np.copy(value[0]) for name, value in vars(table).items() if isinstance(value, np.ndarray)}
    table.sending[0] = table.receiving[0] = table.halves[0] = table.dialling[0] = True
    table.accept[0] = 1
    table.law[0] = 1
    table.plane.written[0] = table.plane.consumed[0] = table.plane.uplink_head[0] = 99
    table.plane.stats["packets_stranger"][0] = 7
    table.schedule(0, 1)
    table.close(0)
    table.open(1, RNG)
    table.close(1)
    table.open(1, RNG)
    table.close(2)
    assert table.open(1, RNG) == 0
    drawn_at_random = {"generation", "sequence", "timestamp", "ssrc"}
    for name, before in fresh.items():
        if name not in drawn_at_random and len(getattr(table, name)) == table.capacity:
            assert (getattr(table, name)[0] == before).all(), name
    assert table.plane.written[0] == table.plane.consumed[0] == table.plane.uplink_head[0] == 0
    assert table.plane.stats["packets_stranger"][0] == 0
    assert table.slot[0] == NO_SLOT


def test_each_row_stands_in_one_slot_in_order(table: Table) -> None:
    for _ in range(3):
        table.open(1, RNG)
    for row in (2, 0, 1):
        table.schedule(row, 1)
    assert table.rows_of_slot[1].tolist() == [0, 1, 2]
    table.schedule(0, 0)
    assert table.rows_of_slot[1].tolist() == [1, 2]
    assert table.rows_of_slot[0].tolist() == [0]
    table.close(2)
    assert table.rows_of_slot[1].tolist() == [1]


def test_a_leg_gets_the_slot_nearest_to_where_it_would_best_be_served(table: Table) -> None:
    assert [table.nearest(wanted) for wanted in (0.0, 0.4, 0.6, 1.0, 1.4, 1.6, 3.6, -0.4)] == [0, 0, 1, 1, 1, 0, 0, 0]


def test_a_slot_that_has_far_more_to_do_than_the_other_gives_some_of_it_away() -> None:
    capacity = 3 * CROWD
    table = Table(Plane(plane.create(capacity), capacity), Settings(capacity=capacity))
    for _ in range(capacity):
        row = table.open(1, RNG)
        assert row is not None
        table.schedule(row, table.nearest(0.2))
    first, second = (len(rows) for rows in table.rows_of_slot)
    assert first + second == capacity
    assert CROWD < first <= 2 * second + CROWD + 1


def test_who_waits_is_scheduled_after_a_while(table: Table) -> None:
    row = table.open(1, RNG)
    assert row is not None
    table.configured_ns[row] = 1
    table.waiting.append(row)
    table.schedule_waiting(START_NS)
    assert table.slot[row] == NO_SLOT
    table.schedule_waiting(START_NS + 1)
    assert table.slot[row] != NO_SLOT
    assert table.waiting == []
