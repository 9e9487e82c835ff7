"""The fuzz: spoilt messages and descriptions to the real daemon, beside running calls.

Owns the course of a run and its verdict. What is sent is `mutate.py`'s, how is `gun.py`'s; the calls beside it and the
session service are the bench's C programs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from rig import mutate, processes
from rig.bench import PREFIX, Program, raise_file_limit
from rig.daemon import Daemon
from rig.gun import VOLLEY, Deaf, Gun

Figures = dict[str, Any]
#: Of so many offers one is for a session that exists: a call comes of it when the offer is still good.
ONE_IN: Final = 20
#: Calls that messages are spoilt in belong to sessions from this number on; to the ones below, those that run beside.
KEPT: Final = 40_000
#: The calls have settled, and each process has done everything once, before memory is compared.
SETTLE_S: Final = 3.0
WARM_UP: Final = 2000
#: Memory that may still be held a minute after the last message, beyond that before the first.
GROWTH_MB: Final = 20.0


@dataclass(frozen=True)
class Plan:
    """rate: the most messages a second. calls: that run beside it. after_s: quiet time before memory is compared."""

    datagrams: int
    offers: int
    seed: int = 1
    rate: float = 2000.0
    calls: int = 20
    after_s: float = 60.0

    @property
    def window_s(self) -> float:
        """How long the calls are listened to: all of it, when the gateway takes the messages nearly as they come."""
        return (self.datagrams + self.offers + 2 * WARM_UP) / self.rate * 1.25 + self.after_s + 2


def run(plan: Plan) -> Figures:
    """One run; `faults` is empty when it passed."""
    raise_file_limit()
    with Program("echo") as echo:
        port = echo.event("listening", 5)["port"]
        with Daemon(capacity=plan.calls + 200, changes=_changes(plan, port)) as daemon:
            arguments = ["--target", daemon.sip_address, "--calls", str(plan.calls), "--rate", "20"]
            arguments += ["--seconds", f"{plan.window_s:.0f}", "--settle", str(SETTLE_S), "--prefix", PREFIX]
            with Program("load", *arguments) as load, contextlib.closing(Gun(daemon.sip_address)) as gun:
                return _measure(plan, daemon, load, echo, gun)


def _changes(plan: Plan, port: int) -> Figures:
    return {
        "sessions": {"mode": "remote", "url": f"http://127.0.0.1:{port}", "api_key": "sk_test_fuzz"},
        "logging": {"level": "error"},
        # Thousands of short calls, one after the other: their ports must not have to rest for half a minute
        "media": {
            "ports": {"quarantine_s": 1},
            "no_rtp_timeout_s": 5,
            # The one who fires, the generator and the service share the machine: what they are late is not a loss
            "jitter": {"min_ms": 200, "start_ms": 200, "max_ms": 200},
            "playout": {"lead_ms": 500},
        },
    }


def _measure(plan: Plan, daemon: Daemon, load: Program, echo: Program, gun: Gun) -> Figures:
    up = load.event("up", 30)
    window = load.event("window", 5)
    echo.tell(f"window {window['from']} {window['to']}")
    faults = [] if up["up"] == plan.calls else [f"only {up['up']} of {plan.calls} calls came up"]
    time.sleep(SETTLE_S)
    took: dict[str, float] = {}
    pids = processes.roles(daemon.pid)
    growth: dict[str, float] = {}
    try:
        gun.fire(_datagrams(plan.seed + 1000, gun), WARM_UP, plan.rate)
        gun.fire(_offers(plan.seed + 1000, gun.here), WARM_UP, plan.rate)
        before = {role: processes.rss_mb(pid) for role, pid in pids.items()}
        for name, messages, count in (
            ("datagrams", _datagrams(plan.seed, gun), plan.datagrams),
            ("offers", _offers(plan.seed, gun.here), plan.offers),
        ):
            began = time.monotonic()
            gun.fire(messages, count, plan.rate)
            took[name] = time.monotonic() - began
        time.sleep(plan.after_s)
        gun.await_answer()
        growth = {role: round(processes.rss_mb(pid) - before[role], 1) for role, pid in pids.items()}
    except Deaf as deaf:
        faults.append(str(deaf))
    if time.monotonic_ns() > window["end_ns"]:
        faults.append("the gateway took the messages more slowly than planned: for some, nobody listened to the calls")
    if processes.roles(daemon.pid) != pids:
        faults.append(f"a process ended: {pids} became {processes.roles(daemon.pid)}")
    if sum(growth.values()) >= GROWTH_MB:
        faults.append(
            f"{sum(growth.values()):.1f} MB more memory {plan.after_s:.0f} s after the last message: {growth}"
        )
    heard = load.event("report", plan.window_s + 60)
    lost = heard["sent"] - heard["returned"]
    if lost or not heard["sent"]:
        faults.append(f"the calls lost {lost} of {heard['sent']} frames")
    if heard["ended_early"]:
        faults.append(f"{heard['ended_early']} of the calls were ended: {_reasons(daemon)}")
    return {
        "plan": {"datagrams": plan.datagrams, "offers": plan.offers, "seed": plan.seed, "calls": plan.calls},
        "messages_per_s": {name: round(getattr(plan, name) / seconds) for name, seconds in took.items() if seconds},
        "answers": dict(sorted(gun.tally.answers.items())),
        "slowest_options_ms": round(gun.tally.slowest_ms, 1),
        "options_resent": gun.tally.resent,
        "frames": {"sent": heard["sent"], "lost": lost},
        "rss_growth_mb": growth,
        "faults": faults,
    }


def _reasons(daemon: Daemon) -> Counter[str]:
    """Why calls of the generator ended, as the gateway sees it."""
    records = Path(daemon.config["logging"]["call_records"]).read_text().splitlines()
    ended = (json.loads(line) for line in records if f"{PREFIX}0" in line)
    return Counter(f"{record.get('outcome')} {record.get('end_reason')}" for record in ended)


def _datagrams(seed: int, gun: Gun) -> Iterator[bytes]:
    """Messages of strangers, and one volley in so many within a call."""
    strangers = mutate.datagrams(seed, gun.here, "nobody")
    for n in itertools.count(seed * 1_000_000):
        good = random.Random(n)
        # Each in a session of its own: what is spoilt may put it on hold for good, and a session takes few calls
        name, user = f"kept{n}", f"{PREFIX}{KEPT + n % KEPT:05d}"
        if dialog := gun.dial(name, mutate.request(good, name, gun.here, "INVITE", user, mutate.sdp(good))):
            yield from islice(mutate.within(n, gun.here, user, dialog), VOLLEY)
            gun.hang_up()
        yield from islice(strangers, (ONE_IN - 1) * VOLLEY)


def _offers(seed: int, here: str) -> Iterator[bytes]:
    """Offers to nobody, and one now and then to a session."""
    nobody, somebody = mutate.offers(seed, here, "nobody"), mutate.offers(seed + 500_000, here, f"{PREFIX}99999")
    while True:
        yield from chain(islice(nobody, ONE_IN - 1), islice(somebody, 1))
