"""RFC 4475 and RFC 5118 over UDP and TCP, to the real daemon: what becomes of each, and that nothing else does."""

from __future__ import annotations

import pytest

from tests.torture import play
from tests.torture.messages import TAKEN, UNFRAMED
from tests.torture.play import Played

#: An OPTIONS behind a message is answered in this time. A loaded machine may be late for a few; a message that keeps
#: the gateway busy keeps it busy over both transports.
ALIVE_MS = 200.0


@pytest.fixture(scope="module")
def them() -> list[Played]:
    return play.everything()


def test_all_messages_are_there(them: list[Played]) -> None:
    # RFC 4475's archive holds a `test` beside its 49
    assert [len([one for one in them if one.message.document == rfc]) for rfc in ("4475", "5118")] == [49 + 1, 12]


def test_every_outcome_is_the_one_that_was_looked_at(them: list[Played]) -> None:
    assert play.table(them) == play.GOLDEN.read_text()


def test_the_gateway_is_there_at_once_after_each(them: list[Played]) -> None:
    slow = {one.message.name for one in them if min(one.udp.alive_ms, one.tcp.alive_ms) > ALIVE_MS}
    assert not slow


def test_no_call_comes_of_an_invalid_message(them: list[Played]) -> None:
    called = {
        one.message.name
        for one in them
        if not one.message.valid and b"INVITE" in one.message.raw and 200 in one.udp.answers + one.tcp.answers
    }
    assert called == set(TAKEN)


def test_a_valid_message_is_not_called_malformed(them: list[Played]) -> None:
    refused = {one.message.name: one.udp.answers for one in them if one.message.valid and 400 in one.udp.answers}
    assert not refused


def test_what_follows_on_a_stream_is_read_as_what_it_is(them: list[Played]) -> None:
    lost = {one.message.name for one in them if one.tcp.framing != "answered"}
    assert lost == set(UNFRAMED)


def test_the_ways_of_the_transports_agree(them: list[Played]) -> None:
    apart = {one.message.name for one in them if one.udp.answers != one.tcp.answers} - set(UNFRAMED)
    assert not apart
