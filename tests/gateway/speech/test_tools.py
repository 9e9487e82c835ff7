"""gateway/speech/tools.py"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.speech.tools import SCHEMA_LIMIT, ToolDefinition, arguments_of, duplicate

FLAT = {
    "name": "order_status",
    "description": "Where an order is.",
    "parameters": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
    "url": "https://example.com/tools/order",
    "timeout_seconds": 5,
}
NESTED = {
    "type": "function",
    "function": {name: FLAT[name] for name in ("name", "description", "parameters")},
    "webhook": {"url": FLAT["url"], "timeout_seconds": 5},
}


def test_both_spellings_mean_the_same() -> None:
    flat, nested = ToolDefinition.model_validate(FLAT), ToolDefinition.model_validate(NESTED)
    assert flat == nested
    assert flat.called == "order_status"
    told = flat.told()
    assert (told.name, told.description, told.parameters) == (FLAT["name"], FLAT["description"], FLAT["parameters"])
    assert ToolDefinition.model_validate(flat.model_dump(exclude_none=True)) == flat


def test_the_ones_that_the_gateway_does() -> None:
    human = ToolDefinition.model_validate({"type": "transfer_to_human", "to": "sip:600@pbx.example.com"})
    assert (human.called, human.method) == ("transfer_to_human", "refer")
    assert "human" in human.told().description
    assert ToolDefinition.model_validate({"type": "end_call"}).told().name == "end_call"
    assert ToolDefinition.model_validate({"name": "x", "url": "http://a/"}).told().parameters["type"] == "object"


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"name": "x"},
        {"url": "https://example.com"},
        FLAT | {"name": "transfer_to_human"},
        FLAT | {"name": "with space"},
        FLAT | {"url": "ftp://example.com"},
        FLAT | {"timeout_seconds": 0},
        FLAT | {"timeout_seconds": 31},
        FLAT | {"parameters": {"type": "string"}},
        FLAT | {"parameters": {"x": "y" * SCHEMA_LIMIT}},
        {"type": "transfer_to_human"},
        {"type": "transfer_to_human", "to": "sip:a b"},
        {"type": "transfer_to_human", "to": "sip:a@b\r\nX: y"},
        {"type": "transfer_to_human", "to": "+1555", "method": "shout"},
        {"type": "something"},
        [],
    ],
)
def test_what_is_refused(bad: Any) -> None:
    with pytest.raises(ValidationError):
        ToolDefinition.model_validate(bad)


def test_two_of_one_name() -> None:
    one = ToolDefinition.model_validate(FLAT)
    end = ToolDefinition.model_validate({"type": "end_call"})
    assert duplicate([one, end]) is None
    assert duplicate([end, one, end]) == "end_call"


def test_arguments() -> None:
    schema = {
        "properties": {"n": {"type": "integer"}, "s": {"type": "string"}, "x": {"type": "number"}},
        "required": ["n"],
    }
    assert arguments_of('{"n": 1, "s": "a", "x": 2.5, "more": null}', schema) == {
        "n": 1, "s": "a", "x": 2.5, "more": None,
    }  # fmt: skip
    assert arguments_of("", None) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "object"),
        ("{}", "missing arguments: n"),
        ('{"n": true}', "n must be of the type integer"),
        ('{"n": "1"}', "n must be of the type integer"),
    ],
)
def test_what_is_wrong_is_said(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        arguments_of(text, {"properties": {"n": {"type": "integer"}}, "required": ["n"]})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(_JSON)
def test_no_description_raises_anything_else(value: Any) -> None:
    with suppress(ValidationError):
        assert ToolDefinition.model_validate(value).called


@given(st.text(), st.dictionaries(st.text(), _JSON))
def test_no_arguments_raise_anything_else(text: str, schema: dict[str, Any]) -> None:
    with suppress(ValueError):
        assert isinstance(arguments_of(text, schema), dict)
