"""Through a real Kamailio: it stays in the path of every request, and goes on to the next gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.daemon import HOST, Daemon, free_port
from rig.demo import create_key, create_session, record_of
from rig.softphone import Softphone
from rig.sound import find, join, silence, speak, write_wav

from tests.interop.kamailio import Kamailio
from tests.support.sip import OFFER, Peer

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def kamailio(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio]:
    """In front of a gateway that is gone, and of one that is there."""
    folder = tmp_path_factory.mktemp("kamailio")
    with Kamailio(folder, [f"{HOST}:{free_port()}", daemon.sip_address]) as running:
        yield running


def test_a_telephone_speaks_through_it_to_the_gateway_that_is_there(
    kamailio: Kamailio, daemon: Daemon, tmp_path: Path
) -> None:
    said = speak("One two three, the quick brown fox jumps over the lazy dog.", tmp_path / "said.wav")
    write_wav(tmp_path / "script.wav", join([silence(1.0), said, silence(said.size / 8000 + 2.0)]))
    phone = Softphone(tmp_path / "phone", tmp_path / "script.wav")
    session = create_session(daemon, create_key(daemon))["id"]
    phone.call(f"sip:{session}@{kamailio.address}", 2 * said.size / 8000 + 3.0, answer_timeout_s=15)
    assert find(said, phone.heard()).likeness > 0.9, kamailio.log.read_text()[-3000:]
    record = record_of(daemon)
    # Its BYE came through Kamailio too: the telephone knows the gateway by its Record-Route alone
    assert record["end_reason"] == "peer_bye"


def test_refusals_pass(kamailio: Kamailio) -> None:
    caller = Peer(int(kamailio.address.rpartition(":")[2]))
    missing = "sess_01HZZZZZZZZZZZZZZZZZZZZZZZ"
    caller.send(caller.request("INVITE", OFFER, user=missing))
    caller.expect("404")
    caller.send(caller.request("ACK", user=missing, same=True))
    caller.close()
