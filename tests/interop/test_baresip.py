"""baresip, a telephone that nobody here wrote, straight to the gateway: sound both ways, keys, hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rig.softphone import Softphone
from rig.sound import find, join, silence, speak, write_wav

from tests.interop.watched import Watched, until

pytestmark = pytest.mark.interop


def test_a_telephone_speaks_listens_presses_keys_and_holds(watched: Watched, tmp_path: Path) -> None:
    said = speak("One two three, the quick brown fox jumps over the lazy dog.", tmp_path / "said.wav")
    length_s = said.size / 8000
    write_wav(tmp_path / "script.wav", join([silence(1.5), said, silence(20)]))
    phone = Softphone(tmp_path / "phone", tmp_path / "script.wav")
    talk = watched.conversation("sess_baresip")
    keys = [(0.3, "5"), (0.8, "#"), (length_s + 3.0, "x"), (length_s + 4.0, "X")]
    uri = f"sip:sess_baresip@{watched.daemon.sip_address}"
    with ThreadPoolExecutor(1) as beside:
        call = beside.submit(phone.call, uri, length_s + 6.0, typed=keys)
        assert until(lambda: talk.of("call.joined")), watched.daemon.log_end()
        talk.say(said)
        assert until(lambda: talk.of("call.held"), length_s + 10), watched.daemon.log_end()
        assert find(said, talk.heard()).likeness > 0.98
        assert until(lambda: talk.of("call.resumed")), watched.daemon.log_end()
        call.result()
    assert talk.digits() == "5#"
    assert find(said, phone.heard()).likeness > 0.98, "the telephone heard nothing of the session"
    record = watched.record("sess_baresip")
    assert (record["outcome"], record["end_reason"], record["unexpected_events"]) == ("ok", "peer_bye", 0)
