from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.section import dotted, split_host_port


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:5060", ("127.0.0.1", 5060)),
        ("[::1]:5060", ("::1", 5060)),
        ("pbx.example:0", ("pbx.example", 0)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert split_host_port(text) == expected


@given(st.text(max_size=20))
def test_host_and_port_of_anything(text: str) -> None:
    try:
        host, port = split_host_port(text)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65535


def test_paths_as_people_write_them() -> None:
    assert dotted(("sip", "bind", 0, "address")) == "sip.bind[0].address"
    assert dotted(()) == ""
