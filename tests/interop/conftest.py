"""Peers and a daemon for the interop tests: each is set up once for all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from rig.daemon import HOST, Daemon, free_port

from tests.interop.asterisk import ACCOUNT, SIP_PORT, Asterisk, Unavailable
from tests.interop.watched import Watched
from tests.support.certificates import Authority
from tests.support.hosted_service import HostedService

#: The play-out delay is fixed and long: what is compared here is sound, and a busy test machine that holds Asterisk up
#: for 100 ms must not look like a loss.
CALM = {"min_ms": 150, "start_ms": 150, "max_ms": 150}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the daemon's certificate."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def daemon(authority: Authority) -> Iterator[Daemon]:
    """The daemon with its embedded session service, whose interpreter plays each utterance back."""
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
    with Daemon(capacity=16, changes={"sip": sip, "media": {"jitter": CALM}}) as running:
        yield running


@pytest.fixture(scope="session")
def watched() -> Iterator[Watched]:
    """A daemon whose session service is the test's: it sees what a session hears, and says what a session may say.

    It has a trunk to Asterisk, where it is registered.
    """
    user, password = ACCOUNT
    trunk = {
        "name": "pbx",
        "allow": ["127.0.0.0/8"],
        "refer": "accept",
        "session_timer": {"expires_s": 90},
        "outbound": {"host": HOST, "port": SIP_PORT, "username": user, "password": password},
        "registration": {"expires_s": 60, "retry_first_s": 1, "retry_max_s": 2},
    }
    route = {"name": "registered", "user": user, "mode": "help_chat_voice"}
    # Asterisk sends nothing while it waits
    changes: dict[str, Any] = {"trunks": [trunk], "routes": [route], "media": {"no_rtp_timeout_s": 0, "jitter": CALM}}
    with HostedService() as service:
        changes["sessions"] = {"mode": "remote", "url": service.url, "api_key": "sk_live_x"}
        with Daemon(capacity=16, changes=changes) as running:
            yield Watched(running, service)


@pytest.fixture(scope="session")
def asterisk(daemon: Daemon, watched: Watched, authority: Authority) -> Iterator[Asterisk]:
    """A running Asterisk with trunks to the daemon."""
    try:
        with Asterisk() as running:
            secure = daemon.config["sip"]["bind"][2]["address"]
            running.trunk(daemon.sip_address, secure, authority.file, watched.daemon.sip_address)
            yield running
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason))
        pytest.skip(str(reason))
