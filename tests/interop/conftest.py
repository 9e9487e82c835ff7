"""Peers and a daemon for the interop tests: each is set up once for all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from rig.daemon import HOST, Daemon, free_port

from tests.interop.asterisk import Asterisk, Unavailable
from tests.support.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the daemon's certificate."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def daemon(authority: Authority) -> Iterator[Daemon]:
    """The daemon with its embedded session service, whose interpreter plays each utterance back.

    The play-out delay is fixed and long: what is compared here is sound, and a busy test machine that holds
    Asterisk up for 100 ms must not look like a loss.
    """
    pair = authority.issue("gateway")
    address = f"{HOST}:{free_port()}"
    sip = {
        "bind": [
            {"transport": "udp", "address": address},
            {"transport": "tcp", "address": address},
            {"transport": "tls", "address": f"{HOST}:{free_port()}"},
        ],
        "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
        "srtp": "optional",
    }
    jitter = {"min_ms": 150, "start_ms": 150, "max_ms": 150}
    with Daemon(capacity=16, changes={"sip": sip, "media": {"jitter": jitter}}) as running:
        yield running


@pytest.fixture(scope="session")
def asterisk(daemon: Daemon, authority: Authority) -> Iterator[Asterisk]:
    """A running Asterisk with trunks to the daemon."""
    try:
        with Asterisk() as running:
            running.trunk(daemon.sip_address, daemon.config["sip"]["bind"][2]["address"], authority.file)
            yield running
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason))
        pytest.skip(str(reason))
