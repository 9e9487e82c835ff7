from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.passing import MAX_HEADERS, MAX_VALUE, passed
from gateway.trunks import IMPLICIT, Trunk


def test_what_goes_through() -> None:
    headers = {
        "x-queue": "sales",
        "reason": "Q.850;cause=16",
        "via": "SIP/2.0/UDP x",
        "authorization": "Digest secret",
        "x-session-speaker": "agent",
        "x-bad": "line\r\nVia: y",
    }
    assert passed(headers, IMPLICIT) == {"x-queue": "sales", "reason": "Q.850;cause=16"}


def test_the_trunk_says_which() -> None:
    headers = {"X-Queue": "sales", "X-Other": "1", "Reason": "SIP;cause=200"}
    assert passed(headers, Trunk(name="a", allow=("::1",), pass_headers=("X-Queue",))) == {"X-Queue": "sales"}
    assert passed(headers, Trunk(name="a", allow=("::1",), pass_headers=())) == {}


def test_the_amount_is_bounded() -> None:
    found = passed({f"x-{number}": "v" * 900 for number in range(50)}, IMPLICIT)
    assert len(found) == MAX_HEADERS
    assert {len(value) for value in found.values()} == {MAX_VALUE}


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=600), max_size=30))
def test_nothing_that_could_begin_a_line(headers: dict[str, str]) -> None:
    for name, value in passed(headers, IMPLICIT).items():
        assert "\n" not in name + value
        assert "\r" not in name + value
