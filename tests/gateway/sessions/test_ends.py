"""gateway/sessions/ends.py: what stores, and what carries, fit the interfaces."""

from __future__ import annotations

import inspect

import pytest

from gateway.sessions.ends import Observer, Peer
from gateway.sessions.hub import Hub
from gateway.sessions.stream import Stream


@pytest.mark.parametrize(("interface", "implementation"), [(Observer, Hub), (Peer, Stream)])
def test_signatures_agree(interface: type, implementation: type) -> None:
    methods = [name for name in vars(interface) if not name.startswith("_")]
    assert methods
    for name in methods:
        wanted, found = (inspect.signature(getattr(one, name)) for one in (interface, implementation))
        assert list(found.parameters) == list(wanted.parameters), name
        assert found.return_annotation == wanted.return_annotation, name
