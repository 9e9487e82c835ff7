"""The engine as a whole, on a virtual clock."""

from collections.abc import Iterator

import pytest

from tests.support.stepped import Stepped


@pytest.fixture
def loop() -> Iterator[Stepped]:
    made = Stepped()
    yield made
    made.close()
