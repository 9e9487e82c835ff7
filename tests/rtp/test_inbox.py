"""What waits for a slot, in rounds of one datagram per leg."""

from __future__ import annotations

import numpy as np

from rtp.inbox import LONGEST, ROUNDS, Batch, Inbox


def octets(value: int, length: int = 20) -> np.ndarray:
    return np.full(length, value, np.uint8)


def test_each_leg_stands_once_in_a_batch_and_its_datagrams_keep_their_order() -> None:
    inbox = Inbox(4)
    for value, row in enumerate((2, 0, 2, 3, 2, 0)):
        inbox.put(row, octets(value), 20 + value, value * 1000)
    seen: dict[int, list[int]] = {}
    for batch in inbox.batches():
        assert len(set(batch.rows.tolist())) == len(batch.rows)
        for row, packet, length, arrival in zip(batch.rows, batch.octets, batch.lengths, batch.arrival_ns, strict=True):
            value = int(packet[0])
            assert (length, arrival) == (20 + value, value * 1000)
            seen.setdefault(int(row), []).append(value)
    assert seen == {2: [0, 2, 4], 0: [1, 5], 3: [3]}
    assert list(inbox.batches()) == []


def test_a_leg_has_its_share_and_no_more() -> None:
    inbox = Inbox(2)
    for value in range(2 * ROUNDS):
        inbox.put(0, octets(value), 20, 0)
    inbox.put(1, octets(99), 20, 0)
    batches = list(inbox.batches())
    assert [int(batch.octets[0, 0]) for batch in batches] == list(range(ROUNDS))
    assert batches[0].rows.tolist() == [0, 1]
    inbox.put(0, octets(7), 20, 0)  # the next slot begins anew
    assert [batch.rows.tolist() for batch in inbox.batches()] == [[0]]


def test_a_datagram_that_was_cut_off_keeps_its_length() -> None:
    inbox = Inbox(1)
    inbox.put(0, octets(1, LONGEST), LONGEST + 4, 0)
    assert next(inbox.batches()).lengths.tolist() == [LONGEST + 4]


def test_entries_can_be_picked() -> None:
    batch = Batch(np.arange(3), np.zeros((3, LONGEST), np.uint8), np.arange(3) * 10, np.arange(3) * 100)
    picked = batch.only(np.array([2, 0]))
    assert picked.rows.tolist() == [2, 0]
    assert picked.lengths.tolist() == [20, 0]
    assert picked.arrival_ns.tolist() == [200, 0]
