"""gateway/speech/interpreter.py: the sessions' runtime and the interpreters fit the interfaces."""

from __future__ import annotations

import inspect

import pytest

from gateway.sessions.live import LiveSession
from gateway.speech.interpreter import Interpreter, Sink
from gateway.speech.loopback import Loopback


@pytest.mark.parametrize(("interface", "implementation"), [(Interpreter, Loopback), (Sink, LiveSession)])
def test_signatures_agree(interface: type, implementation: type) -> None:
    methods = [name for name in vars(interface) if not name.startswith("_")]
    assert methods
    for name in methods:
        wanted = inspect.signature(getattr(interface, name))
        assert inspect.signature(getattr(implementation, name)) == wanted, name
