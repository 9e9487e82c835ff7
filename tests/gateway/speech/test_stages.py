from __future__ import annotations

import pytest

from gateway.speech.stages import ANY, EngineFault, Stage, primary, serves, translates


@pytest.mark.parametrize(
    ("declared", "wanted", "expected"),
    [
        ({"en"}, "en", True),
        ({"en"}, "en-GB", True),
        ({"es-MX"}, "es", True),
        ({"es-ES"}, "es-MX", False),
        ({"es-ES", "es-MX"}, "es-mx", True),
        ({"en"}, "es", False),
        ({ANY}, "eu", True),
        (set(), "en", False),
    ],
)
def test_who_serves_a_language(declared: set[str], wanted: str, expected: bool) -> None:
    assert serves(declared, wanted) is expected


def test_who_translates_a_pair() -> None:
    pairs = {("en", "es"), ("fr", ANY)}
    assert translates(pairs, "en-US", "es-MX")
    assert translates(pairs, "fr", "de")
    assert not translates(pairs, "es", "en")


def test_the_language_of_a_tag() -> None:
    assert primary("es-MX") == "es"
    assert primary("EN") == "en"


def test_a_fault_says_who_and_what() -> None:
    fault = EngineFault(Stage.TRANSLATION, "mine", "it is away", retryable=True)
    assert str(fault) == "translation by mine: it is away"
    assert fault.retryable
