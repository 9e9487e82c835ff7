"""What happens within calls between Asterisk 22 and the gateway: keys, hold, transfer, registration, session timers.

The session service is the test's own, so that it sees what a session is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np
import pytest
from rig.sound import Samples, find, read_wav, speak, write_wav

from tests.interop.asterisk import ACCOUNT, SIP_PORT, Asterisk
from tests.interop.watched import Watched, until
from tests.support.scenario import Scenario, sdp
from tests.support.sip import OFFER, Peer
from tests.support.sipp import Calls

pytestmark = pytest.mark.interop

ASTERISK: Final = f"127.0.0.1:{SIP_PORT}"
#: Half of the shortest session timer (RFC 4028 §4) is when it is refreshed; so long after the call began, at most.
REFRESHED_S: Final = 60.0


@pytest.fixture(scope="module")
def speech(asterisk: Asterisk, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """A sentence, put where Asterisk plays it from, in whole packets."""
    samples = speak("The meeting begins tomorrow morning.", tmp_path_factory.mktemp("speech") / "espeak.wav")
    samples = np.pad(samples, (0, -samples.size % 160))
    write_wav(asterisk.spool / "speech.wav", samples)
    (asterisk.spool / "speech.wav").chmod(0o644)
    return samples


@pytest.fixture(scope="module", autouse=True)
def long_calls(asterisk: Asterisk, watched: Watched) -> Iterator[None]:
    """One each way, for the last test: they last while the others run."""
    assert until(lambda: registered(watched), 15), watched.daemon.log_end()
    asterisk.originate("watched", "sess_timedin", "stay-100")
    watched.dial("sess_timedout", "stay-100")
    yield
    asterisk.cli("channel request hangup all")


def registered(watched: Watched) -> bool:
    return watched.daemon.metrics().get('glotgate_trunk_registered{trunk="pbx"}') == 1


def gone(watched: Watched, session: str) -> bool:
    return until(lambda: not watched.call(session))


@pytest.mark.parametrize("way", ["watched", "watched-info"])
def test_keys_arrive_each_once(asterisk: Asterisk, watched: Watched, way: str) -> None:
    session = f"sess_keys{len(way)}"
    before = watched.daemon.metrics()["glotgate_sip_info_digits_total"]
    asterisk.originate(way, session, "keys")
    talk = watched.conversation(session)
    assert until(lambda: len(talk.digits()) >= 5), watched.daemon.log_end()
    assert gone(watched, session)
    assert talk.digits() == "1234#"
    assert {message["speaker"] for message in talk.of("dtmf")} == {"customer"}
    by_info = watched.daemon.metrics()["glotgate_sip_info_digits_total"] - before
    assert by_info == (5 if way == "watched-info" else 0)


def test_keys_that_the_session_presses_are_read_by_asterisk(asterisk: Asterisk, watched: Watched) -> None:
    asterisk.originate("watched", "sess_pressing", "read")
    talk = watched.conversation("sess_pressing")
    assert until(lambda: talk.of("call.joined")), watched.daemon.log_end()
    talk.tell({"type": "dtmf.send", "target": "customer", "digits": "97*0"})
    assert until(lambda: asterisk.variable("PRESSED") == "97*0"), asterisk.variable("PRESSED")
    assert not talk.of("call.error")


def holding() -> Scenario:
    """A telephone that is answered, puts the other end on hold, takes it back and hangs up."""
    return (
        Scenario()
        .invite()
        .answered()
        .pause(1500)
        .invite(sdp("sendonly", version=2))
        .answered("a=recvonly")
        .pause(1500)
        .invite(sdp("sendrecv", version=3))
        .answered()
        .pause(1500)
        .bye()
    )


def assert_held_and_resumed(watched: Watched, session: str, phone: Calls) -> None:
    talk = watched.conversation(session)
    assert until(lambda: talk.of("call.held"), 15), phone.story()
    assert watched.call(session)["held"]
    sent = watched.call(session)["media"]["packets_sent"]
    assert until(lambda: talk.of("call.resumed")), phone.story()
    resumed = watched.call(session)
    assert not resumed["held"]
    assert resumed["media"]["packets_sent"] - sent < 50, "who is on hold is not sent anything"
    assert until(lambda: watched.call(session)["media"]["packets_sent"] > sent + 50), "nothing is sent after the hold"
    assert phone.done() == (1, 0), phone.story()
    kinds = [message["type"] for message in talk.of("call.held", "call.resumed", "call.left")]
    assert kinds[:2] == ["call.held", "call.resumed"]


def test_a_telephone_of_asterisk_puts_our_call_on_hold(asterisk: Asterisk, watched: Watched, tmp_path: Path) -> None:
    phone = Calls(tmp_path, ASTERISK, holding(), user="through-sess_heldin")
    assert_held_and_resumed(watched, "sess_heldin", phone)
    assert watched.record("sess_heldin")["end_reason"] == "peer_bye"


def test_a_telephone_of_asterisk_puts_a_call_that_we_placed_on_hold(
    asterisk: Asterisk, watched: Watched, tmp_path: Path
) -> None:
    phone = Calls(tmp_path, ASTERISK, holding(), user="park")
    assert until(lambda: asterisk.variable("PARKED"))
    watched.dial("sess_heldout", "meet")
    assert_held_and_resumed(watched, "sess_heldout", phone)
    assert gone(watched, "sess_heldout")


def test_we_are_registered_and_called_where_we_are(asterisk: Asterisk, watched: Watched, speech: Samples) -> None:
    user, password = ACCOUNT
    assert watched.daemon.sip_address in asterisk.cli(f"pjsip show aor {user}")
    assert password not in watched.daemon.log.read_text()
    asterisk.cli(f"channel originate PJSIP/{user} extension speak-registered@interop")
    talk = watched.conversation("sess_created")
    assert until(lambda: find(speech, talk.heard()).snr_db > 30, 15), watched.daemon.log_end()
    record = watched.record("sess_created")
    assert (record["route"], record["outcome"]) == ("registered", "ok")


def test_asterisk_sends_our_caller_to_somebody_else(asterisk: Asterisk, watched: Watched, speech: Samples) -> None:
    asterisk.originate("watched", "sess_blind", "blind")
    talk = watched.conversation("sess_blind")
    assert until(lambda: asterisk.variable("TRANSFERRED")), watched.daemon.log_end()
    assert asterisk.variable("TRANSFERRED") == "SUCCESS"
    assert until(lambda: find(speech, talk.heard()).snr_db > 30, 15), watched.daemon.log_end()
    talk.say(speech)
    record = watched.record("sess_blind", 15)
    assert (record["outcome"], record["end_reason"]) == ("ok", "peer_bye")
    assert [message["type"] for message in talk.of("call.joined", "call.left")] == ["call.joined", "call.left"]
    heard = asterisk.spool / "blind-heard.wav"
    assert until(lambda: find(speech, read_wav(heard)).snr_db > 30), "whom it was sent to hears nothing of the session"


def test_a_telephone_connects_its_two_calls(asterisk: Asterisk, watched: Watched, speech: Samples) -> None:
    """Attended transfer (RFC 5589 §7): the REFER names the telephone's call with Asterisk, which we replace."""
    port = int(watched.daemon.sip_address.rpartition(":")[2])
    ours, other = Peer(port), Peer(SIP_PORT)
    ours.send(ours.request("INVITE", OFFER, user="sess_attended"))
    ours.expect("200")
    ours.send(ours.request("ACK", user="sess_attended"))
    asked = other.request("INVITE", OFFER, user="speak-attended").replace("<sip:pbx@", "<sip:caller@")
    other.send(asked)
    ok = other.expect("200")
    other.send(other.request("ACK", user="speak-attended").replace("From: <sip:pbx@", "From: <sip:caller@"))
    theirs = (ok.get("to") or "").partition("tag=")[2]
    replaces = quote(f"{other.call_id};to-tag={theirs};from-tag={other.tag}", safe="")
    target = f"Refer-To: <sip:speak-attended@{ASTERISK}?Replaces={replaces}>\r\n"
    ours.send(ours.request("REFER", user="sess_attended", extra=target))
    assert ours.expect("SIP/2.0").start.split()[1] == "202"
    assert other.expect("BYE").start.startswith("BYE "), "Asterisk did not replace the telephone's call"
    talk = watched.conversation("sess_attended")
    assert until(lambda: find(speech, talk.heard()).snr_db > 30, 15), watched.daemon.log_end()
    ours.close()
    other.close()


def test_the_session_sends_asterisks_telephone_to_somebody_else(
    asterisk: Asterisk, watched: Watched, tmp_path: Path
) -> None:
    staying = Scenario().invite().answered().comes("BYE").reply()
    phone = Calls(tmp_path, ASTERISK, staying, user="through-sess_refer")
    talk = watched.conversation("sess_refer")
    assert until(lambda: talk.of("call.joined"), 15), phone.story()
    talk.tell({"type": "call.transfer", "target": "customer", "to": f"sip:desk@{ASTERISK}"})
    assert until(lambda: talk.of("call.left", "call.error")), watched.daemon.log_end()
    assert not talk.of("call.error")
    assert watched.record("sess_refer")["end_reason"] == "hangup"
    assert phone.done() == (1, 0), phone.story()


@pytest.mark.parametrize(("session", "refresher"), [("sess_timedin", "uac"), ("sess_timedout", "uac")])
def test_session_timers_keep_calls_up(watched: Watched, session: str, refresher: str) -> None:
    """Of the call that came to us Asterisk is the refresher, of the one that we placed we are."""
    call = watched.call(session)
    assert call, "it did not last"
    ours = session == "sess_timedout"

    def refreshed() -> bool:
        trace = watched.trace(call["call_id"])
        asked = re.findall(r"^(?:UPDATE|INVITE) sip:.*?\r?\n\r?\n", trace, re.M | re.S)
        return sum("Session-Expires" in request for request in asked) > 1

    assert until(refreshed, REFRESHED_S), watched.trace(call["call_id"])
    trace = watched.trace(call["call_id"])
    assert f"refresher={refresher}" in trace, trace
    assert watched.call(session)["state"] == "active"
    assert (watched.call(session)["direction"] == "outbound") is ours
