"""A configuration arrives as it was sent, however long it is."""

import json

import pytest

from gateway.config import Config
from gateway.sip import pieces
from gateway.sip.events import Reconfigure


def collected(data):
    collector = pieces.Collector()
    got = [collector.take(message) for message in pieces.cut(data)]
    assert got[:-1] == [None] * (len(got) - 1)
    return got[-1]


@pytest.mark.parametrize("count", [0, 1, 3000])
def test_it_comes_out_whole(count):
    routes = [{"name": f"r{number}", "mode": "help_chat_voice", "user": "x" * 50} for number in range(count)]
    config = collected(json.dumps({"routes": routes}).encode())
    assert config == Config.model_validate({"routes": routes})


def test_a_message_holds_no_more_than_a_piece():
    messages = list(pieces.cut(bytes(3 * pieces.PIECE)))
    assert [len(message.piece) for message in messages] == [pieces.PIECE] * 3
    assert [message.last for message in messages] == [False, False, True]


def test_what_is_no_configuration_is_refused_and_forgotten(monkeypatch):
    collector = pieces.Collector()
    with pytest.raises(ValueError, match="Expecting"):
        collector.take(Reconfigure(b"nonsense"))
    assert collector.take(Reconfigure(b"{}")) == Config()
    monkeypatch.setattr(pieces, "MAX_SIZE", 100)
    with pytest.raises(ValueError, match="without an end"):
        collector.take(Reconfigure(bytes(101), False))
    assert collector.take(Reconfigure(b"{}")) == Config()
