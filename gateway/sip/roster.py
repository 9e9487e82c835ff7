"""As whom we are known, and where: the accounts of the trunks and their registrations, now and after a reload.

Owns what a change of the configuration does to both: an account that became another one leaves where it was registered,
takes its new form, and registers again; one that is gone leaves and takes no new call. What runs keeps its terms.
Refuses to know calls, and when a registration is due (`registration.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import msgspec
from msgspec.structs import replace

from gateway.config import Config
from gateway.sip import events, headers, options
from gateway.sip.ledger import Ledger
from gateway.sip.registration import Registrations
from gateway.sip.stack import Account, Stack, StackError, Timer
from gateway.trunks import in_force

#: A goodbye that has to be said twice (it may be challenged) is said before the next greeting.
GOODBYE_S: Final = 1.0


class Roster:
    """stack: gives the one that was started with this configuration. send: tells the controller. clock: monotonic s."""

    def __init__(
        self,
        config: Config,
        stack: Callable[[], Stack],
        send: Callable[[events.Event], None],
        ledger: Ledger,
        clock: Callable[[], float],
    ) -> None:
        self._stack = stack
        self._send = send
        self._ledger = ledger
        self._clock = clock
        self._accounts = _accounts(config)
        self._registrations = Registrations(
            in_force(config.trunks), self._register, self._told, Random(), self._clock()
        )

    def each_second(self) -> None:
        self._registrations.tick(self._clock())

    def answered(self, account: str, code: int, reason: str, expires_s: int) -> None:
        """What came of a REGISTER."""
        self._registrations.answered(account, code, headers.one_line(reason, 100), expires_s, self._clock())

    def leave(self) -> None:
        """We stop."""
        self._registrations.leave()

    def reconfigure(self, config: Config) -> None:
        """Another configuration is in force."""
        before, self._accounts = self._accounts, _accounts(config)
        changed = {name for name, ours in self._accounts.items() if ours != before.get(name)}
        moved = {name for name in changed if name not in before or _where(before[name]) != _where(self._accounts[name])}
        self._registrations.reconfigure(in_force(config.trunks), moved, self._clock() + GOODBYE_S)
        for name in sorted(changed | before.keys() - self._accounts.keys()):
            try:
                if name in changed:
                    self._stack().account(self._accounts[name])
                else:
                    self._stack().dismiss(name)
            except StackError as error:
                self._failed("sip_account_not_taken", name, error)
                self._accounts.pop(name, None)  # the next reload tries again

    def _register(self, account: str, active: bool) -> bool:
        try:
            self._stack().register(account, active)
        except StackError as error:
            self._failed("sip_not_registered", account, error)
            return False
        return True

    def _failed(self, event: str, trunk: str, error: StackError) -> None:
        self._ledger.count("stack_errors")
        self._ledger.say("warning", event, trunk=trunk, error=str(error))

    def _told(self, news: events.RegistrationChanged) -> None:
        level = "warning" if news.state == "failed" else "info"
        self._ledger.say(level, "registration", **msgspec.structs.asdict(news))
        self._send(news)


def _accounts(config: Config) -> dict[str, Account]:
    return {ours.name: ours for ours in options.of(config).accounts}


def _where(ours: Account) -> Account:
    """What a registrar knows of an account."""
    return replace(ours, timer=Timer(), prack=True)
