"""Looking up the names of hosts beside the thread that does the signalling, so that a slow name server stops nothing.

A name is wanted when the stack has something to send there; those of the trunks are looked up before, and again before
they are too old. Who looks is one of a few threads, which may be stuck for as long as the system's resolver likes: a
name that takes too long is answered with nothing meanwhile, and as it should be when its answer comes after all. An
outage of the name servers does not cost a trunk its last known address.

Owns the threads, the bound on what is under way, and how long an answer is good for. Refuses to know the stack.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Final, NamedTuple

THREADS: Final = 4
#: Names that are being looked up at once; strangers may put any into a message.
MAX_ASKED: Final = 256
#: How long an answer is good, and one that says that there is no such host.
GOOD_S: Final = 60
BAD_S: Final = 5
#: How long whoever wants to send may have to wait for it.
PATIENCE_S: Final = 5.0
#: Trunks' names are looked up again this long before their answer is too old.
AHEAD_S: Final = 20.0
#: How long the last known address of a trunk serves while its name can not be looked up.
STALE_S: Final = 3600.0

#: Gives the addresses of a host, the best first. Raises OSError.
LookUp = Callable[[str], list[str]]


class Answer(NamedTuple):
    """What is known of a name, for so many seconds; no addresses: it has none, or nobody knows."""

    name: str
    addresses: list[str]
    good_s: int


def system(name: str) -> list[str]:
    """As the host is configured: /etc/hosts, the search list, DNS."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Names:
    """`want` a name, wait on `fileno`, and `take` the answers. kept: those that are to be known at any time.

    refused: names that were one too many. slow: those that were not answered in time.
    """

    def __init__(self, clock: Callable[[], float], look_up: LookUp = system) -> None:
        self.refused = self.slow = 0
        self._clock = clock
        self._look_up = look_up
        self._asked: dict[str, float] = {}  # since when; in time order
        self._overdue: set[str] = set()
        self._kept: dict[str, float] = {}  # when to look again
        self._last: dict[str, tuple[list[str], float]] = {}  # of those kept: the addresses, and as of when
        self._at_once: list[Answer] = []
        self._questions: SimpleQueue[str] = SimpleQueue()
        self._found: SimpleQueue[tuple[str, list[str]]] = SimpleQueue()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._threads = 0

    def fileno(self) -> int:
        """Readable when there are answers."""
        return self._bell

    def keep(self, names: Iterable[str]) -> None:
        """These are to be known at any time, and no others."""
        self._kept = {name: self._kept.get(name, 0.0) for name in map(str.lower, names)}
        self._last = {name: last for name, last in self._last.items() if name in self._kept}

    def want(self, name: str) -> None:
        """Somebody waits for it."""
        name = name.lower()
        if name in self._asked:
            return
        if len(self._asked) >= MAX_ASKED:
            self.refused += 1
            self._say(Answer(name, [], BAD_S))
            return
        self._asked[name] = self._clock()
        self._questions.put(name)
        if self._threads < min(THREADS, len(self._asked)):
            self._threads += 1
            threading.Thread(target=self._work, name=f"names-{self._threads}", daemon=True).start()

    def each_second(self) -> None:
        """What must not grow old is looked up again, and who waits for too long is told that nobody knows."""
        now = self._clock()
        for name, due in self._kept.items():
            if now >= due:
                self._kept[name] = now + GOOD_S - AHEAD_S
                self.want(name)
        for name, since in self._asked.items():
            if now - since >= PATIENCE_S and name not in self._overdue:
                self._overdue.add(name)
                self.slow += 1
                self._say(self._answer(name, []))

    def take(self) -> list[Answer]:
        """What has been found since the last time."""
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return []
        answers, self._at_once = self._at_once, []
        while not self._found.empty():
            name, addresses = self._found.get()
            self._asked.pop(name, None)
            self._overdue.discard(name)
            answers.append(self._answer(name, addresses))
        return answers

    def _answer(self, name: str, addresses: list[str]) -> Answer:
        now = self._clock()
        if addresses:
            if name in self._kept:
                self._last[name] = addresses, now
            return Answer(name, addresses, GOOD_S)
        last, since = self._last.get(name, ([], 0.0))
        if last and now - since < STALE_S:
            return Answer(name, last, GOOD_S)
        if name in self._kept:  # sooner than usual
            self._kept[name] = now + BAD_S
        return Answer(name, [], BAD_S)

    def _say(self, answer: Answer) -> None:
        self._at_once.append(answer)
        os.eventfd_write(self._bell, 1)

    def _work(self) -> None:
        """One of the threads."""
        while True:
            name = self._questions.get()
            try:
                found = self._look_up(name)
            except (OSError, UnicodeError):  # no such host; or no name at all (IDNA)
                found = []
            self._found.put((name, found))
            os.eventfd_write(self._bell, 1)
