"""gateway/sessions/ids.py"""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.ids import ULID_PATTERN, is_session_id, new_id


@given(st.floats(0, 4e9))
def test_an_id_is_its_prefix_and_a_ulid(now: float) -> None:
    assert re.fullmatch("sess_" + ULID_PATTERN, new_id("sess", now))


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = [new_id("evt", second) for second in range(200) for _ in range(5)]
    assert len(set(ids)) == len(ids)
    assert [i[:14] for i in ids] == sorted(i[:14] for i in ids)


def test_what_is_a_session_id() -> None:
    assert is_session_id(new_id("sess", 1.0))
    for text in (
        "",
        "sess_",
        "call_01M7XARNY7FYAK3YZEAQH7K0E1",
        "sess_01M7XARNY7FYAK3YZEAQH7K0EU",
        "sess_01M7XARNY7FYAK3YZEAQH7K0E1\n",
        "sess_91M7XARNY7FYAK3YZEAQH7K0E1",
    ):
        assert not is_session_id(text)
