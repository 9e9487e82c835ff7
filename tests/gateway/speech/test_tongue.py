"""gateway/speech/tongue.py"""

from __future__ import annotations

import asyncio

import pytest

from gateway.speech.stages import Heard
from tests.support.interpreting import tongue


@pytest.mark.parametrize("spoken", [True, False])
def test_the_language_is_found_out_with_the_first_turn(spoken: bool) -> None:
    async def main() -> None:
        one = tongue(None, "en", "es")
        assert one.language == "en"
        heard = Heard("quiero hablar con una persona", "es" if spoken else "en", 1.0)
        assert await one.hear(heard, spoken) == "es"
        assert one.language == "es"

    asyncio.run(main())


def test_what_is_given_is_not_guessed_at() -> None:
    async def main() -> None:
        one = tongue("en-US", "en", "es")
        assert await one.hear(Heard("quiero hablar con una persona", "es", 1.0), True) == "en-US"

    asyncio.run(main())


def test_where_only_one_is_heard_it_is_that() -> None:
    async def main() -> None:
        assert await tongue(None, "en").hear(Heard("quiero hablar con una persona", "es", 1.0), True) == "en"

    asyncio.run(main())
