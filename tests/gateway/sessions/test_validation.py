"""gateway/sessions/validation.py"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.errors import Fault, PeerFault
from gateway.sessions.schema import SessionCreate, SessionEnd
from gateway.sessions.validation import parse

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def refusal(model: type[BaseModel], body: bytes) -> PeerFault | None:
    try:
        parse(model, body)
    except PeerFault as fault:
        return fault
    return None


@given(st.binary(max_size=100))
def test_any_octets_are_a_model_or_a_fault(body: bytes) -> None:
    fault = refusal(SessionEnd, body)
    assert fault is None or fault.fault.value.http == 400


@given(st.sampled_from(list(SessionCreate.model_fields)), json_values)
def test_any_value_of_any_field_is_taken_or_named(field: str, value: object) -> None:
    fault = refusal(SessionCreate, msgspec.json.encode({"mode": "help_chat_voice", field: value}))
    if fault is not None:
        assert fault.fault.value.http == 400
        assert fault.param is not None
        assert fault.param.split(".")[0] in (field, "ai_agent")


def test_a_metadata_key_that_ends_like_a_language() -> None:
    with pytest.raises(PeerFault) as caught:
        parse(SessionCreate, b'{"mode":"help_chat_voice","metadata":{"language":5}}')
    assert caught.value.fault is Fault.INVALID_FIELD


def test_fields_of_a_newer_api_are_ignored() -> None:
    assert parse(SessionEnd, b'{"reason":"x","shiny":1}').reason == "x"
