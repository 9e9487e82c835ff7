"""gateway/speech/languages.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.sessions.schema import Language as Code
from gateway.speech.languages import TABLE, base, find, name, nearest, same


def test_the_table_is_in_order_and_its_codes_are_the_contracts() -> None:
    codes = [language.code for language in TABLE]
    assert codes == sorted(set(codes))
    accepted = TypeAdapter(Code)
    for language in TABLE:
        assert accepted.validate_python(language.code) == language.code
        assert language.name
        assert language.native
        assert find(language.code) is language


@pytest.mark.parametrize(
    ("code", "expected"),
    [("es", "es"), ("es-MX", "es"), ("es_MX", "es"), ("zh-Hant-TW", "zh"), ("nb-NO", "no"), ("EN", "en"), ("xx", "xx")],
)
def test_base(code: str, expected: str) -> None:
    assert base(code) == expected


def test_names() -> None:
    assert name("es") == "Spanish"
    assert name("es-MX") == "Spanish (MX)"
    assert name("nb") == "Norwegian"
    assert name("xx") == "xx"
    assert find("xx") is None


@pytest.mark.parametrize(
    ("wanted", "offered", "expected"),
    [
        ("es-MX", ["es", "es-MX", "es-ES"], "es-MX"),
        ("es-MX", ["es-ES", "es"], "es"),
        ("es-MX", ["es-ES", "es-AR"], "es-ES"),
        ("en", ["en-US"], "en-US"),
        ("en", ["es"], None),
        ("en", [], None),
        ("nb", ["no"], "no"),
    ],
)
def test_nearest(wanted: str, offered: list[str], expected: str | None) -> None:
    assert nearest(wanted, offered) == expected


_CODES = st.from_regex(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", fullmatch=True)


@given(_CODES, st.lists(_CODES))
def test_what_serves_is_on_offer_and_the_same_language(wanted: str, offered: list[str]) -> None:
    found = nearest(wanted, offered)
    if found is None:
        assert not any(same(wanted, code) for code in offered)
    else:
        assert found in offered
        assert same(wanted, found)
