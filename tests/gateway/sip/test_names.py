"""Names of hosts: looked up beside, bounded, kept fresh; and what the stack does while a name server is silent."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.sip import events
from gateway.sip.names import AHEAD_S, BAD_S, GOOD_S, MAX_ASKED, PATIENCE_S, STALE_S, THREADS, Answer, Names, system
from tests.support.pbx import Pbx
from tests.support.sip import OFFER, Controller, Peer, sip_process


class Server:
    """A name server in our hands: silent until released, and knows what it is told."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        assert self.open.wait(10)
        if name not in self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.hosts[name]


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.server = Server()
        self.names = Names(lambda: self.now, self.server)

    def answers(self, count: int = 1) -> list[Answer]:
        """So many answers, waited for."""
        found: list[Answer] = []
        while len(found) < count:
            assert select.select([self.names], [], [], 10)[0], f"only {found} came"
            found += self.names.take()
        return found

    def idle(self) -> bool:
        return not select.select([self.names], [], [], 0)[0]


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.server.open.set()


def test_a_name_is_looked_up_once_for_all_who_want_it(rig: Rig) -> None:
    rig.server.hosts["pbx.example"] = ["192.0.2.1", "2001:db8::1"]
    rig.server.open.clear()
    rig.names.want("PBX.example")
    rig.names.want("pbx.EXAMPLE")
    assert rig.names.take() == []
    rig.server.open.set()
    assert rig.answers() == [Answer("pbx.example", ["192.0.2.1", "2001:db8::1"], GOOD_S)]
    assert rig.server.asked == ["pbx.example"]
    rig.names.want("pbx.example")
    assert rig.answers()[0].good_s == GOOD_S


@pytest.mark.parametrize("name", ["nowhere.example", "", "a" * 300, "ä" * 70, "a..b"])
def test_what_has_no_address_is_answered_with_none(name: str) -> None:
    names = Names(lambda: 0.0, lambda asked: system(asked) if asked != "nowhere.example" else [])
    names.want(name)
    assert select.select([names], [], [], 10)[0]
    assert names.take() == [Answer(name, [], BAD_S)]


def test_who_waits_for_too_long_is_told_and_the_late_answer_counts(rig: Rig) -> None:
    rig.server.hosts["slow.example"] = ["192.0.2.9"]
    rig.server.open.clear()
    rig.names.want("slow.example")
    rig.now += PATIENCE_S - 0.1
    rig.names.each_second()
    assert rig.idle()
    rig.now += 0.1
    for _ in range(3):
        rig.names.each_second()
    assert rig.answers() == [Answer("slow.example", [], BAD_S)]
    assert rig.names.slow == 1
    rig.server.open.set()
    assert rig.answers() == [Answer("slow.example", ["192.0.2.9"], GOOD_S)]


def test_strangers_can_not_make_us_look_for_ever_more_names(rig: Rig) -> None:
    rig.server.open.clear()
    before = threading.active_count()
    for number in range(MAX_ASKED + 3):
        rig.names.want(f"h{number}.example")
    assert (rig.names.refused, len(rig.answers(3))) == (3, 3)
    assert threading.active_count() - before <= THREADS
    rig.server.open.set()
    assert len(rig.answers(MAX_ASKED)) == MAX_ASKED


def test_names_of_trunks_are_known_before_and_kept_fresh(rig: Rig) -> None:
    rig.server.hosts["pbx.example"] = ["192.0.2.1"]
    rig.names.keep({"PBX.example"})
    rig.names.each_second()
    assert rig.answers() == [Answer("pbx.example", ["192.0.2.1"], GOOD_S)]
    rig.now += GOOD_S - AHEAD_S - 1
    rig.names.each_second()
    assert len(rig.server.asked) == 1
    rig.now += 1
    rig.server.hosts["pbx.example"] = ["192.0.2.2"]
    rig.names.each_second()
    assert rig.answers() == [Answer("pbx.example", ["192.0.2.2"], GOOD_S)]
    rig.names.keep(())
    rig.now += GOOD_S
    rig.names.each_second()
    assert len(rig.server.asked) == 2


def test_an_outage_costs_no_trunk_its_address_until_that_is_too_old(rig: Rig) -> None:
    rig.server.hosts["pbx.example"] = ["192.0.2.1"]
    rig.names.keep({"pbx.example"})
    rig.names.each_second()
    rig.answers()
    del rig.server.hosts["pbx.example"]
    rig.now += STALE_S - 1
    rig.names.each_second()
    assert rig.answers() == [Answer("pbx.example", ["192.0.2.1"], GOOD_S)]
    rig.now += GOOD_S
    rig.names.each_second()
    assert rig.answers() == [Answer("pbx.example", [], BAD_S)]


def test_the_system_knows_this_host() -> None:
    assert "127.0.0.1" in system("localhost")


#: In the sip process: every look-up but localhost's takes for ever.
SILENT = """
import socket, time
real = socket.getaddrinfo
def silent(host, *args, **kwargs):
    if host != "localhost":
        time.sleep(60)
    return real(host, *args, **kwargs)
socket.getaddrinfo = silent
"""


def _agent(folder: Path, *trunks: dict[str, Any]) -> Any:
    (folder / "sitecustomize.py").write_text(SILENT)
    return sip_process(folder / "log", environment={"PYTHONPATH": str(folder)}, trunks=list(trunks))


def _expects_options(controller: Controller) -> None:
    """Each is answered at once; with 503 until the process has read that it is to be ready."""
    for _ in range(100):
        peer = Peer(controller.port)
        peer.send(peer.request("OPTIONS"))
        peer.sock.settimeout(0.5)
        answer = peer.receive()
        peer.close()
        if answer.start.startswith("SIP/2.0 200"):
            return
    raise AssertionError(f"not ready: {answer.start}")


def test_a_name_server_that_is_silent_stops_no_signalling(tmp_path: Path) -> None:
    """Neither a trunk's host nor a Contact of a caller's; and who is called there is told in bounded time."""
    trunks = (
        {"name": "in", "allow": ["127.0.0.0/8"]},
        {"name": "far", "outbound": {"host": "pbx.silent.example"}, "registration": {}},
    )
    with _agent(tmp_path, *trunks) as controller:
        controller.send(events.SetReadiness(True))
        controller.send(events.Dial(-1, "sip:200@pbx.silent.example", OFFER, trunk="far"))
        _expects_options(controller)
        peer = Peer(controller.port)
        peer.send(
            peer.request("INVITE", OFFER).replace(f"Contact: <sip:pbx@{peer.here}", "Contact: <sip:pbx@evil.test")
        )
        invited = controller.expect(events.Invited)
        controller.send(events.Accept(invited.dialog, OFFER))
        peer.expect("200")
        peer.send(peer.request("ACK"))
        controller.expect(events.Acknowledged)
        controller.send(events.Hangup(invited.dialog, "over"))  # the BYE goes to evil.test
        _expects_options(controller)
        ended = controller.expect(events.Ended, lambda e: e.dialog == -1)
        assert (ended.cause, ended.code) == ("failed", 502)
        failed = controller.expect(events.RegistrationChanged, lambda e: e.state == "failed")
        assert failed.trunk == "far"
        assert controller.expect(events.Ended, lambda e: e.dialog == invited.dialog).cause == "local"
        assert controller.count("names_slow") >= 1
        peer.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_trunk_with_a_name_is_called_by_it(tmp_path: Path, transport: str) -> None:
    pbx = Pbx()
    listener = socket.create_server(("127.0.0.1", pbx.port))
    listener.settimeout(10)
    suffix = "" if transport == "udp" else ";transport=tcp"
    trunk = {"name": "near", "outbound": {"host": "localhost", "port": pbx.port, "transport": transport}}
    with _agent(tmp_path, trunk) as controller:
        controller.send(events.Dial(-1, f"sip:200@localhost:{pbx.port}{suffix}", OFFER, trunk="near"))
        if transport == "udp":
            invite = pbx.expect("INVITE")
            assert invite.start == f"INVITE sip:200@localhost:{pbx.port} SIP/2.0"
            pbx.reply(invite, 486, "Busy Here")
            assert controller.expect(events.Ended, lambda e: e.dialog == -1).code == 486
        else:
            connection, _ = listener.accept()
            assert connection.recv(100).startswith(f"INVITE sip:200@localhost:{pbx.port};transport=tcp".encode())
            connection.close()
    listener.close()
    pbx.close()
