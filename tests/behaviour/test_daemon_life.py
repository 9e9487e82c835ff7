"""The whole daemon under calls: drained, reloaded, overloaded, and with its sip process killed.

GLOTGATE_CALLS says how many calls the killed sip process has (a few, unless told otherwise).
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.phones import Phone, phones
from tools.rig.daemon import Daemon

PATIENCE_S = 30.0
#: Of the packets that are due: the last ones are still on their way, or in a socket of the phone.
ENOUGH = 0.8
CALLS = int(os.environ.get("GLOTGATE_CALLS", "6"))
CHANGES: dict[str, Any] = {
    "sessions": {"interpreter": "loopback"},
    "overload": {"enabled": False},
    "media": {"no_rtp_timeout_s": 3, "original_gain_db": 0},
    "drain": {"timeout_s": 60},
}


def get(daemon: Daemon, path: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(daemon.admin_url + path, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as refused:
        found = json.load(refused)
    return found


def until(what: Callable[[], Any], daemon: Daemon) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline, daemon.log_end()
        time.sleep(0.02)
    return found


class Site:
    """A daemon and what an operator and a backend have of it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.port = int(daemon.sip_address.rpartition(":")[2])
        words = daemon.run("keys", "create").split()
        self._key = next(word for word in reversed(words) if word.startswith("sk_"))

    def session(self) -> str:
        body = {"mode": "bidirectional_translation", "source_language": "en", "target_language": "es"}
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        url = f"{self.daemon.sessions_url}/v1/sessions"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=10) as got:
            return str(json.load(got)["id"])

    def connect(self, some: list[Phone]) -> None:
        """Two of them to a session, so that each hears another."""
        for at in range(0, len(some), 2):
            user = self.session()
            for phone in some[at : at + 2]:
                phone.invite(user)
        for phone in some:
            phone.established()
        until(lambda: len(self.calls()) == len(some), self.daemon)

    def calls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = get(self.daemon, "/calls")["calls"]
        return found

    def records(self) -> list[dict[str, Any]]:
        file = Path(str(self.daemon.config["logging"]["call_records"]))
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def change(self, **sections: Any) -> None:
        """Write another configuration."""
        self.daemon.config_file.write_text(json.dumps(self.daemon.config | sections))

    def hears(self, some: list[Phone], seconds: float = 2.5) -> None:
        """Each of them gets packets without a gap to speak of, loud ones among them, and loses none of its own."""
        before = [(phone.heard, phone.loud) for phone in some]
        time.sleep(seconds)
        for phone, (heard, _) in zip(some, before, strict=True):
            assert phone.heard - heard > seconds * 50 * ENOUGH
        # One that is alone in its session hears a sentence of its own when that is over.
        until(lambda: all(phone.loud > loud for phone, (_, loud) in zip(some, before, strict=True)), self.daemon)
        sent = {phone.peer.call_id: phone.sent for phone in some}

        def received() -> list[dict[str, Any]]:
            """The calls when all that was sent has been counted; their figures are of the last second."""
            media = {call["sip_call_id"]: call["media"] for call in self.calls()}
            assert media.keys() >= sent.keys()
            heard = [media[call_id]["packets_received"] >= count for call_id, count in sent.items()]
            return [media[call_id] for call_id in sent] if all(heard) else []

        assert [media["packets_lost"] for media in until(received, self.daemon)] == [0] * len(some)


@contextmanager
def site(calls: int, **changes: Any) -> Iterator[Site]:
    with Daemon(capacity=2 * calls + 8, changes=CHANGES | changes) as daemon:
        yield Site(daemon)


def refused(phone: Phone) -> Any:
    phone.invite("sess_whatever")
    answer = phone.peer.expect("503")
    phone.peer.send(phone.peer.request("ACK", same=True))
    return answer


def test_killing_the_sip_process_costs_nobody_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with site(CALLS) as gateway, phones(gateway.port, CALLS + 2) as some:
        daemon, old, new = gateway.daemon, some[:CALLS], some[CALLS:]
        gateway.connect(old)
        gateway.hears(old, 1.5)
        pid = get(daemon, "/readyz")["processes"]["sip"]
        before = [phone.heard for phone in old]
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)

        def answers() -> bool:
            try:
                return new[0].options().start.startswith("SIP/2.0 200")
            except OSError:
                return False

        until(answers, daemon)
        back_s = time.monotonic() - killed
        packets = [phone.heard - count for phone, count in zip(old, before, strict=True)]
        assert min(packets) > back_s * 50 * ENOUGH
        with capsys.disabled():
            print(f"\n{CALLS} calls: new ones after {back_s:.2f} s, at least {min(packets)} packets each meanwhile")
        user = gateway.session()
        for phone in new:
            phone.invite(user)
        for phone in new:
            phone.established()
        gateway.hears(old)

        # Some hang up; the rest fall silent, as a peer does whose session timer has fired.
        polite, silent = old[::2], old[1::2]
        for phone in polite:
            assert phone.bye().start.startswith("SIP/2.0 481")
            phone.speaking = False
        for phone in silent:
            phone.speaking = False
        until(lambda: len(gateway.calls()) == len(new), daemon)
        reasons = Counter(record["end_reason"] for record in gateway.records())
        assert reasons == {"peer_bye": len(polite), "sip_lost": len(silent)}
        gateway.hears(new, 1.0)
        metrics = daemon.metrics()
        assert metrics['glotgate_process_restarts_total{process="sip"}'] == 1
        assert metrics['glotgate_calls_end_reason_total{reason="sip_lost"}'] == len(silent)
        assert metrics["glotgate_calls_active"] == len(new)


def test_a_drain_refuses_new_calls_and_lets_the_running_one_finish() -> None:
    with site(2) as gateway, phones(gateway.port, 3) as some:
        daemon, pair, late = gateway.daemon, some[:2], some[2]
        gateway.connect(pair)
        (pid, process) = daemon.pid, daemon._process
        assert process is not None
        os.kill(pid, signal.SIGTERM)
        until(lambda: late.options().start.startswith("SIP/2.0 503"), daemon)
        assert late.options().get("retry-after")
        assert refused(late).get("retry-after")
        assert get(daemon, "/readyz")["reasons"] == ["draining"]
        gateway.hears(pair, 1.5)
        for phone in pair:
            assert phone.bye().start.startswith("SIP/2.0 200")
        assert process.wait(PATIENCE_S) == 0
        assert {record["end_reason"] for record in gateway.records()} >= {"peer_bye"}


def test_a_second_signal_ends_the_calls_now() -> None:
    with site(2) as gateway, phones(gateway.port, 2) as some:
        daemon, process = gateway.daemon, gateway.daemon._process
        assert process is not None
        gateway.connect(some)
        daemon.run("drain", "--now", "--no-wait")
        for phone in some:
            goodbye = phone.peer.expect("BYE")
            assert goodbye.get("reason")
            phone.peer.reply(goodbye)
        assert process.wait(PATIENCE_S) == 0
        assert Counter(record["end_reason"] for record in gateway.records()) == {"draining": 2}


def test_a_reload_under_a_call_changes_what_it_can_and_a_bad_file_nothing() -> None:
    with site(2) as gateway, phones(gateway.port, 4) as some:
        daemon, pair = gateway.daemon, some[:2]
        gateway.connect(pair)
        route = {"name": "all", "user": "9.*", "mode": "bidirectional_translation", "target_language": "es"}
        media = daemon.config["media"] | {"capacity": 5}
        gateway.change(routes=[route], media=media, logging=daemon.config["logging"] | {"level": "debug"})
        said = daemon.run("reload")
        assert "in force now: routes" in said
        assert "in force now: logging.level" in said
        assert "needs a restart: media.capacity" in said
        some[2].invite("911")
        some[2].established()
        until(lambda: len(gateway.calls()) == 3, daemon)

        gateway.change(routes=[route | {"user": "("}])
        os.kill(daemon.pid, signal.SIGHUP)
        report = until(lambda: (found := get(daemon, "/readyz"))["configuration"]["reloads"] == 2 and found, daemon)
        assert "routes[0].user: not a regular expression" in report["configuration"]["problems"][0]
        some[3].invite("912")
        some[3].established()
        gateway.hears(some)
        assert daemon.metrics()['glotgate_config_reloads_total{result="refused"}'] == 1


def test_a_trunk_that_is_taken_out_takes_no_new_calls() -> None:
    with site(2) as gateway, phones(gateway.port, 3) as some:
        gateway.connect(some[:2])
        gateway.change(trunks=[{"name": "elsewhere", "allow": ["192.0.2.0/24"]}])
        assert "in force now: trunks" in gateway.daemon.run("reload")
        some[2].invite("sess_x")
        some[2].peer.expect("403")
        some[2].peer.send(some[2].peer.request("ACK", same=True))
        gateway.hears(some[:2], 1.5)


def test_overload_refuses_new_calls_and_spares_the_running_ones() -> None:
    with site(2) as gateway, phones(gateway.port, 3) as some:
        daemon = gateway.daemon
        gateway.connect(some[:2])
        limits = {"enabled": True, "cpu_percent": 0.000001, "after_s": 1, "recover_s": 1}
        gateway.change(overload=limits)  # any work at all is too much
        daemon.run("reload")
        report = until(lambda: not (found := get(daemon, "/readyz"))["ready"] and found, daemon)
        assert report["reasons"][0].startswith("overloaded: the CPUs are busy")
        assert refused(some[2]).get("retry-after")
        assert daemon.metrics()["glotgate_overloaded"] == 1
        gateway.hears(some[:2], 1.5)
        gateway.change(overload={"enabled": False})
        daemon.run("reload")
        until(lambda: get(daemon, "/readyz")["ready"], daemon)
        text = daemon.log.read_text()
        assert (text.count('"event":"overloaded"'), text.count('"event":"no_longer_overloaded"')) == (1, 1)


def test_what_a_call_said_on_the_wire_is_there_afterwards() -> None:
    with site(2) as gateway, phones(gateway.port, 2) as some:
        gateway.connect(some)
        for phone in some:
            phone.bye()
        until(lambda: len(gateway.records()) == 2, gateway.daemon)
        record = gateway.records()[0]
        trace = get(gateway.daemon, record["trace"])
        assert [message["text"].split(" ")[0] for message in trace["messages"] if not message["sent"]] == [
            *("INVITE", "ACK", "BYE"),
        ]
        printed = gateway.daemon.run("trace", record["call_id"])
        assert "INVITE sip:sess_" in printed
        assert "SIP/2.0 200 OK" in printed
