"""Keeping ourselves registered at other people's PBXs (RFC 3261 §10.2). Sans-IO: time is an argument.

Theory of operation. A registration is tried, and when it was granted, again after most of its life; when it was
not, again after a wait that doubles up to a bound, each taken by half to whole at random, so that the gateways of a
PBX that restarts do not come back in one wave. Wrong credentials wait the longest at once: whoever knocks with them
every few seconds is locked out. A trial that nobody answers is a failure, too.

    OFF ──► TRYING ──200──► REGISTERED ──most of its life──► TRYING …
                └── refused, no answer ──► FAILED ──wait──► TRYING …

Owns when to REGISTER and what is told of it. Refuses to know the stack, passwords and sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from random import Random
from typing import Final

from gateway.sip import events
from gateway.trunks import Registration, Trunk

#: Of what was granted, when to come again: with time to spare for a trial that is lost.
REFRESH_AT: Final = (0.7, 0.85)
#: The stack gives a request up after 32 s (RFC 3261 §17.1.2.2, timer F); twice that is a stack that forgot.
PATIENCE_S: Final = 70.0
#: What another try in a moment will not change.
REFUSED_FOR_GOOD: Final = (401, 403, 404, 407)


class State(StrEnum):
    OFF = "off"
    TRYING = "trying"
    REGISTERED = "registered"
    FAILED = "failed"


class Schedule:
    """When one trunk registers. due_at: when to REGISTER next, or when to give the running trial up."""

    def __init__(self, terms: Registration, random: Random, now: float) -> None:
        self.terms = terms  #: may be replaced by others, from the next wait on
        self.state = State.OFF
        self.code = 0
        self.reason = ""
        self.expires_s = 0
        self.failures = 0
        self.due_at = now
        self._random = random
        self._asked = False

    def wants(self, now: float) -> bool:
        """Whether to send a REGISTER now; then it counts as sent. A trial without an answer is a failure first."""
        if now < self.due_at:
            return False
        if self._asked:
            self.answered(408, "no answer", 0, now)
            return False
        if self.state is not State.REGISTERED:  # while it is refreshed, a registration still holds
            self.state = State.TRYING
        self._asked = True
        self.due_at = now + PATIENCE_S
        return True

    def answered(self, code: int, reason: str, expires_s: int, now: float) -> None:
        """What came of it. expires_s: as granted."""
        self._asked = False
        self.code, self.reason = code, reason
        if 200 <= code < 300 and expires_s > 0:
            self.state, self.failures, self.expires_s = State.REGISTERED, 0, expires_s
            low, high = REFRESH_AT
            self.due_at = now + expires_s * (low + (high - low) * self._random.random())
            return
        self.state, self.expires_s = State.FAILED, 0
        self.due_at = now + self._wait(code)
        self.failures += 1

    def _wait(self, code: int) -> float:
        terms = self.terms
        longest = float(terms.retry_max_s)
        if code not in REFUSED_FOR_GOOD:
            longest = min(longest, terms.retry_first_s * 2.0 ** min(self.failures, 20))
        return longest * (0.5 + 0.5 * self._random.random())


class Registrations:
    """All trunks that register. register: has the stack send one; False: it could not. tell: the news."""

    def __init__(
        self,
        trunks: Sequence[Trunk],
        register: Callable[[str, bool], bool],
        tell: Callable[[events.RegistrationChanged], None],
        random: Random,
        now: float,
    ) -> None:
        self._register = register
        self._tell = tell
        self._random = random
        self._schedules = {
            trunk.name: Schedule(trunk.registration, random, now) for trunk in trunks if trunk.registration is not None
        }

    def tick(self, now: float) -> None:
        """Call each second."""
        for name, schedule in self._schedules.items():
            before = schedule.state
            if schedule.wants(now) and not self._register(name, True):
                schedule.answered(503, "the stack could not send it", 0, now)
            if schedule.state is not before:
                self._say(name)

    def answered(self, name: str, code: int, reason: str, expires_s: int, now: float) -> None:
        schedule = self._schedules.get(name)
        if schedule is not None:
            schedule.answered(code, reason, expires_s, now)
            self._say(name)

    def reconfigure(self, trunks: Sequence[Trunk], moved: Collection[str], when: float) -> None:
        """Other trunks. moved: those that are somebody else now, or elsewhere.

        They leave, as those that are gone do, and register again from `when` on. Call it while the stack still has the
        accounts as they were.
        """
        terms = {trunk.name: trunk.registration for trunk in trunks if trunk.registration is not None}
        for name in [name for name in self._schedules if name not in terms or name in moved]:
            self._leave(name)
        for name, wanted in terms.items():
            if (schedule := self._schedules.get(name)) is not None:
                schedule.terms = wanted
            else:
                self._schedules[name] = Schedule(wanted, self._random, when)
                self._say(name)

    def leave(self) -> None:
        """We stop: say so where we are registered. Nobody waits for the answer."""
        for name in list(self._schedules):
            self._leave(name)

    def _leave(self, name: str) -> None:
        if self._schedules.pop(name).state is State.REGISTERED:
            self._register(name, False)

    def _say(self, name: str) -> None:
        now = self._schedules[name]
        self._tell(events.RegistrationChanged(name, str(now.state), now.code, now.reason, now.expires_s))
