"""gateway/sessions/tokens.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Fault, PeerFault
from gateway.sessions import tokens

SECRET, SESSION, NOW = b"s" * 32, "sess_01M7XARNY7FYAK3YZEAQH7K0E1", 1_800_000_000.0


def refused(token: str, session: str = SESSION, now: float = NOW, secret: bytes = SECRET) -> Fault:
    with pytest.raises(PeerFault) as caught:
        tokens.check(secret, session, token, now)
    return caught.value.fault


def test_a_token_lives_five_minutes() -> None:
    token, expires_at = tokens.issue(SECRET, SESSION, NOW)
    assert token.startswith("kst_")
    assert expires_at == NOW + 300
    tokens.check(SECRET, SESSION, token, NOW + 299.9)
    assert refused(token, now=NOW + 300) is Fault.EXPIRED_TOKEN


def test_a_token_is_good_for_its_session_and_secret_only() -> None:
    token, _ = tokens.issue(SECRET, SESSION, NOW)
    assert refused(token, session=SESSION[:-1] + "2") is Fault.INVALID_TOKEN
    assert refused(token, secret=b"t" * 32) is Fault.INVALID_TOKEN


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    assert refused(text) is Fault.INVALID_TOKEN
    assert refused("kst_" + text) is Fault.INVALID_TOKEN


@given(st.integers(4, 35), st.characters(codec="ascii", categories=("L", "N")))
def test_no_character_can_be_changed(position: int, character: str) -> None:
    token, _ = tokens.issue(SECRET, SESSION, NOW)
    changed = token[:position] + character + token[position + 1 :]
    if changed != token:
        assert refused(changed) is Fault.INVALID_TOKEN
