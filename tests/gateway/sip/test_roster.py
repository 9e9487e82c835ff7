"""Trunks that change under running calls: their accounts and registrations, with and without the stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.bootstrap import plain
from gateway.config import Config
from gateway.sip import events, pieces
from gateway.sip.ledger import Ledger
from gateway.sip.roster import GOODBYE_S, Roster
from gateway.sip.stack import Account, StackError
from tests.support.pbx import Pbx
from tests.support.sip import OFFER, Controller, sip_process

OFFICE: dict[str, Any] = {"name": "office", "outbound": {"host": "192.0.2.1"}, "registration": {"expires_s": 300}}


def _config(*trunks: dict[str, Any]) -> Config:
    return Config.model_validate({"trunks": trunks})


class Rig:
    """A stack that notes what it is told."""

    def __init__(self, *trunks: dict[str, Any]) -> None:
        self.done: list[tuple[str, Any]] = []
        self.told: list[events.RegistrationChanged] = []
        self.lines: list[dict[str, Any]] = []
        self.now = 100.0
        self.refuses = False
        ledger = Ledger(self.lines.append, lambda: self.now)
        self.roster = Roster(_config(*trunks), lambda: self, self.told.append, ledger, lambda: self.now)  # type: ignore

    def register(self, account: str, active: bool) -> None:
        self.done.append(("register" if active else "leave", account))

    def account(self, ours: Account) -> None:
        if self.refuses:
            raise StackError("Too many objects of the specified type")
        self.done.append(("account", ours))

    def dismiss(self, account: str) -> None:
        self.done.append(("dismiss", account))

    def registered(self) -> None:
        self.roster.each_second()
        self.roster.answered("office", 200, "OK", 300)
        self.done.clear()
        self.told.clear()

    def take(self, *trunks: dict[str, Any]) -> list[tuple[str, Any]]:
        self.roster.reconfigure(_config(*trunks))
        done, self.done = self.done, []
        return done


def test_nothing_changes_where_nothing_is_different() -> None:
    rig = Rig(OFFICE)
    rig.registered()
    assert rig.take(OFFICE | {"allow": ["10.0.0.0/8"], "max_calls": 3}) == []
    rig.now += 100
    rig.roster.each_second()
    assert (rig.done, rig.told) == ([], [])


@pytest.mark.parametrize(
    "change",
    [
        {"outbound": {"host": "192.0.2.2"}},
        {"registration": {"expires_s": 600}},
        {"registration": {"contact_user": "9"}},
    ],
)
def test_a_registration_that_moves_leaves_before_it_comes_again(change: dict[str, Any]) -> None:
    rig = Rig(OFFICE)
    rig.registered()
    assert [what for what, _ in rig.take(OFFICE | change)] == ["leave", "account"]
    assert [told.state for told in rig.told] == ["off"]
    rig.roster.each_second()
    assert rig.done == []
    rig.now += GOODBYE_S
    rig.roster.each_second()
    assert rig.done == [("register", "office")]


def test_another_timer_is_no_reason_to_register_again() -> None:
    rig = Rig(OFFICE)
    rig.registered()
    ((what, ours),) = rig.take(OFFICE | {"session_timer": {"expires_s": 600}})
    assert (what, ours.timer.expires_s, rig.told) == ("account", 600, [])


def test_other_waits_are_kept_from_the_next_failure_on() -> None:
    rig = Rig(OFFICE)
    rig.registered()
    assert rig.take(OFFICE | {"registration": {"expires_s": 300, "retry_first_s": 40, "retry_max_s": 40}}) == []
    rig.roster.answered("office", 503, "Service Unavailable", 0)
    for wait, sent in ((19, []), (21, [("register", "office")])):
        rig.now += wait
        rig.roster.each_second()
        assert rig.done == sent


def test_a_trunk_that_is_gone_leaves_and_a_new_one_comes() -> None:
    rig = Rig(OFFICE)
    rig.registered()
    done = rig.take({"name": "new", "outbound": {"host": "192.0.2.3"}})
    assert [(what, getattr(who, "name", who)) for what, who in done] == [
        ("leave", "office"),
        ("account", "new"),
        ("dismiss", "office"),
    ]
    rig.roster.answered("office", 200, "OK", 300)  # under way when it went
    rig.now += 1000
    rig.roster.each_second()
    assert (rig.done, rig.told) == ([], [])


def test_an_account_that_the_stack_can_not_take_is_told_and_the_others_are_taken() -> None:
    rig = Rig()
    rig.refuses = True
    assert rig.take(OFFICE) == []
    assert ("sip_account_not_taken", "office") in [(line["event"], line["trunk"]) for line in rig.lines]
    rig.refuses = False
    assert [what for what, _ in rig.take(OFFICE)] == ["account"]  # the next reload tries again


class Wire:
    """The real stack between a controller and two PBXs."""

    def __init__(self, controller: Controller, old: Pbx, new: Pbx) -> None:
        self.controller, self.old, self.new = controller, old, new

    def reconfigure(self, *trunks: dict[str, Any]) -> None:
        for piece in pieces.cut(json.dumps(plain(_config(*trunks), "sip")).encode()):
            self.controller.send(piece)

    def talking(self, dialog: int, pbx: Pbx) -> Any:
        self.controller.send(events.Dial(dialog, f"sip:200@{pbx.here}", OFFER, trunk="office"))
        invite = pbx.expect("INVITE")
        pbx.reply(invite, 200, "OK", pbx.sdp)
        pbx.expect("ACK")
        self.controller.expect(events.Answered, lambda e: e.dialog == dialog)
        return invite

    def still_talks(self, dialog: int, pbx: Pbx, invite: Any) -> None:
        """A re-INVITE is answered with our description, and a BYE ends it."""
        pbx.within(invite, "INVITE", pbx.sdp)
        self.controller.expect(events.Reinvited, lambda e: e.dialog == dialog)
        self.controller.send(events.Accept(dialog, OFFER))
        assert "m=audio 4000" in pbx.expect("SIP/2.0", "200").body
        pbx.within(invite, "ACK")
        pbx.within(invite, "BYE")
        pbx.expect("SIP/2.0", "200")
        assert self.controller.expect(events.Ended, lambda e: e.dialog == dialog).cause == "bye"


def _trunk(pbx: Pbx, user: str, **more: Any) -> dict[str, Any]:
    return {"name": "office", "outbound": {"host": "127.0.0.1", "port": pbx.port, "from_user": user}} | more


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    old, new = Pbx(), Pbx()
    trunks: list[dict[str, object]] = [_trunk(old, "one", registration={})]
    with sip_process(tmp_path / "log", trunks=trunks) as controller:
        controller.send(events.SetReadiness(True))
        yield Wire(controller, old, new)
    assert "callback_fault" not in (tmp_path / "log").read_text()
    old.close()
    new.close()


def _granted(wire: Wire, pbx: Pbx) -> Any:
    request = pbx.expect("REGISTER")
    pbx.reply(request, 200, "OK", extra=f"Contact: {request.get('contact')};expires=300\r\nExpires: 300\r\n")
    wire.controller.expect(events.RegistrationChanged, lambda e: e.state == "registered")
    return request


def test_a_trunk_moves_to_another_pbx_under_a_running_call(wire: Wire) -> None:
    _granted(wire, wire.old)
    invite = wire.talking(-1, wire.old)
    timed = {"session_timer": {"expires_s": 600}}
    wire.reconfigure(_trunk(wire.new, "two", registration={}, **timed))
    gone = wire.old.expect("REGISTER")
    assert "expires=0" in (gone.get("contact") or "") or gone.get("expires") == "0"
    wire.old.reply(gone, 200)
    assert "<sip:two@127.0.0.1>" in (_granted(wire, wire.new).get("from") or "")
    wire.still_talks(-1, wire.old, invite)
    another = wire.talking(-2, wire.new)
    assert "<sip:two@127.0.0.1>" in (another.get("from") or "")
    assert another.get("session-expires") == "600"
    wire.still_talks(-2, wire.new, another)


def test_a_trunk_goes_under_a_running_call_and_comes_back(wire: Wire) -> None:
    _granted(wire, wire.old)
    invite = wire.talking(-1, wire.old)
    wire.reconfigure()
    wire.old.reply(wire.old.expect("REGISTER"), 200)
    wire.controller.send(events.Dial(-2, f"sip:200@{wire.old.here}", OFFER, trunk="office"))
    ended = wire.controller.expect(events.Ended, lambda e: e.dialog == -2)
    assert (ended.code, "no account office" in ended.reason) == (500, True)
    wire.reconfigure(_trunk(wire.old, "three"))
    another = wire.talking(-3, wire.old)
    wire.still_talks(-1, wire.old, invite)
    assert "<sip:three@127.0.0.1>" in (another.get("from") or "")
    wire.still_talks(-3, wire.old, another)
    assert wire.old.quiet("REGISTER")


def test_many_reloads_use_up_nothing(wire: Wire) -> None:
    """The stack has 64 accounts; each of these rounds makes one and lets it go."""
    _granted(wire, wire.old)
    for number in range(70):
        wire.reconfigure({"name": f"t{number}", "outbound": {"host": "127.0.0.1", "port": wire.new.port}})
    wire.reconfigure(_trunk(wire.old, "again"))
    invite = wire.talking(-1, wire.old)
    wire.still_talks(-1, wire.old, invite)
    assert wire.controller.count("stack_errors", 0) == 0
