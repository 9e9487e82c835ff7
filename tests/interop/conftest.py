"""Peers and a daemon for the interop tests: each is set up once for all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from rig.daemon import Daemon

from tests.interop.asterisk import Asterisk, Unavailable


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """The daemon with its embedded session service, whose interpreter plays each utterance back.

    The play-out delay is fixed and long: what is compared here is sound, and a busy test machine that holds
    Asterisk up for 100 ms must not look like a loss.
    """
    with Daemon(capacity=16, changes={"media": {"jitter": {"min_ms": 150, "start_ms": 150, "max_ms": 150}}}) as running:
        yield running


@pytest.fixture(scope="session")
def asterisk(daemon: Daemon) -> Iterator[Asterisk]:
    """A running Asterisk with a trunk to the daemon."""
    try:
        with Asterisk() as running:
            running.trunk(daemon.sip_address)
            yield running
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason))
        pytest.skip(str(reason))
