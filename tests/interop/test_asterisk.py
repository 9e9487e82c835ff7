"""Interop with a real Asterisk 22: it dials a session, speaks, and records what it hears.

What was spoken and what was heard are compared by place and by signal-to-noise ratio, so that loss, a wrong law,
a wrong byte order or a slipped clock all fail. The samples of etc/asterisk are used as they are.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from rig.daemon import Daemon
from rig.demo import create_key, create_session, record_of
from rig.sound import Samples, find, read_wav, speak, write_wav

from tests.interop.asterisk import SIP_PORT, Asterisk
from tests.support.sipp import Calls, calling

pytestmark = pytest.mark.interop

#: G.711 alone scores 37 to 39 dB on this speech, one law after the other 34; one lost frame takes it below 20.
ENOUGH_DB = {"ulaw": 33.0, "alaw": 31.0}


@pytest.fixture(scope="module")
def speech(asterisk: Asterisk, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """A sentence, put where Asterisk plays it from."""
    folder = tmp_path_factory.mktemp("speech")
    samples = speak("One two three, the quick brown fox jumps over the lazy dog.", folder / "espeak.wav")
    write_wav(asterisk.spool / "speech.wav", samples)
    (asterisk.spool / "speech.wav").chmod(0o644)
    return samples


@pytest.fixture(scope="module")
def key(daemon: Daemon) -> str:
    return create_key(daemon)


def recorded(asterisk: Asterisk, name: str) -> Samples:
    file: Path = asterisk.spool / f"{name}.wav"
    assert file.exists(), f"Asterisk recorded no {name}; its channels:\n{asterisk.cli('core show channels')}"
    return read_wav(file)


def test_asterisk_sees_that_the_gateway_takes_calls(asterisk: Asterisk) -> None:
    assert asterisk.reachable(), asterisk.cli("pjsip show contacts")


@pytest.mark.parametrize("trunk", ["ulaw", "alaw", "tcp", "tls"])
def test_what_asterisk_says_to_a_session_comes_back(
    asterisk: Asterisk, daemon: Daemon, key: str, speech: Samples, trunk: str
) -> None:
    session = create_session(daemon, key)["id"]
    asterisk.originate(f"glotgate-{trunk}", session, f"speak-alone-{trunk}")
    assert asterisk.finished(f"alone-{trunk}"), f"{asterisk.cli('pjsip show contacts')}\n{daemon.log_end()}"
    said = find(speech, recorded(asterisk, f"alone-{trunk}-said"))
    assert said.likeness > 0.99, "Asterisk itself did not say the sentence"
    heard = find(speech, recorded(asterisk, f"alone-{trunk}-heard"))
    assert heard.snr_db >= ENOUGH_DB.get(trunk, ENOUGH_DB["ulaw"]), record_of(daemon)
    # With media_encryption=sdes Asterisk takes no answer without a key: what was heard over tls was sealed
    record = record_of(daemon)
    assert record["transport"] == (trunk if trunk in ("tcp", "tls") else "udp")
    # The interpreter plays an utterance once it is over.
    assert heard.start_s >= said.start_s + speech.size / 8000 - 0.1


def test_two_channels_of_one_session_hear_each_other_through_different_laws(
    asterisk: Asterisk, daemon: Daemon, key: str, speech: Samples
) -> None:
    session = create_session(daemon, key)["id"]
    asterisk.originate("glotgate-alaw", session, "quiet-agent")
    asterisk.originate("glotgate-ulaw", session, "speak-customer")
    assert asterisk.finished("customer")
    assert find(speech, recorded(asterisk, "agent-heard")).snr_db >= ENOUGH_DB["alaw"]
    # Nobody translates the agent's silence: the customer must not hear itself.
    assert find(speech, recorded(asterisk, "customer-heard")).likeness < 0.5


def test_the_sample_dialplan_joins_a_telephone_to_its_session(
    asterisk: Asterisk, daemon: Daemon, key: str, tmp_path: Path
) -> None:
    session = create_session(daemon, key)["id"]
    phone = Calls(tmp_path, f"127.0.0.1:{SIP_PORT}", calling(stays_ms=500), user=session)
    assert phone.done() == (1, 0), phone.story()
    assert asterisk.until(lambda: record_of(daemon)["session_id"] == session, 10)
    assert (record_of(daemon)["direction"], record_of(daemon)["speaker"]) == ("inbound", "customer")


def test_an_unknown_session_is_refused_and_leaves_nothing(asterisk: Asterisk, daemon: Daemon) -> None:
    def refused() -> float:
        return daemon.metrics()['glotgate_calls_ended_total{outcome="session_not_found"}']

    before = refused()
    asterisk.originate("glotgate", "sess_01HZZZZZZZZZZZZZZZZZZZZZZZ", "speak-nobody")
    assert asterisk.until(lambda: refused() == before + 1, 10)
    assert asterisk.until(lambda: daemon.metrics()["glotgate_calls_active"] == 0, 10)
    assert not (asterisk.spool / "nobody-said.wav").exists()


def test_keys_by_info_arrive_each_once(asterisk: Asterisk, daemon: Daemon, key: str) -> None:
    before = daemon.metrics()["glotgate_sip_info_digits_total"]
    asterisk.originate("glotgate-tcp", create_session(daemon, key)["id"], "keys")
    assert asterisk.until(lambda: daemon.metrics()["glotgate_sip_info_digits_total"] == before + 5, 10)
    assert asterisk.until(lambda: "0 active channels" in asterisk.cli("core show channels count"), 10)
