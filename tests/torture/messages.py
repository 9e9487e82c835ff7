"""The torture messages of RFC 4475 and RFC 5118, and what those documents say of each.

RFC 4475's are read from `../shared/torture/rfc4475` beside the repository, or from the folder that
`GLOTGATE_TORTURE` names; RFC 5118's stand in `rfc5118/`. Nothing here is played.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]

#: RFC 4475 §3.1.2, §3.3 and §3.4: messages that are not fit for a call, or for an answer other than a refusal.
#: `test`, which no section names, has neither a version nor a Via.
INVALID: Final = {
    *("badinv01", "clerr", "ncl", "scalar02", "scalarlg", "quotbal", "ltgtruri", "lwsruri", "lwsstart", "trws"),
    "escruri",
    *("baddate", "regbadct", "badaspec", "baddn", "badvers", "mismatch01", "mismatch02", "bigcode", "badbranch"),
    *("insuf", "unkscm", "novelsc", "unksm2", "bext01", "invut", "regaut01", "multi01", "mcl01", "bcast", "zeromf"),
    *("cparam01", "cparam02", "regescrt", "sdp01", "inv2543", "test", "ipv6-bad"),
}

#: Invalid messages that a call may come of all the same, each with why.
TAKEN: Final = {
    "baddate": "§3.1.2.12: Date has no say in a call, and an element may take the message",
    "sdp01": "§3.3.15: it is about an Accept that asks for a body of another kind; what it offers we can take",
}

#: What follows these on a stream can not be read (RFC 3261 §18.3): they say a length that is not theirs, or none that
#: is one, or lack the empty line behind which the next message would begin.
UNFRAMED: Final = {
    "clerr": "§3.1.2.2: says to be longer than it is",
    "ncl": "§3.1.2.3: says to have a negative length",
    "mcl01": "§3.3.9: says two lengths",
    "dblreq": "§3.1.1.10: the second of the two requests says to be shorter than it is",
    "baddn": "§3.1.2.15: lacks the empty line behind its header fields",
    "inv2543": "§3.4.1: says no length, which RFC 2543 allowed over UDP",
}


#: A call comes of each, and all have the branch of a dozen others. pjsip tells the transactions of a method apart by
#: the branch alone, so that what came after one of these would be taken for a part of it.
SAME_BRANCH: Final = ("baddate", "esc01", "sdp01")


class Missing(Exception):
    """The messages of RFC 4475 are not where they are expected."""


@dataclass(frozen=True)
class Torture:
    """One message, octet for octet."""

    name: str
    document: str
    raw: bytes

    @property
    def valid(self) -> bool:
        return self.name not in INVALID


def folder() -> Path:
    """Where the messages of RFC 4475 are. Raises Missing."""
    named = os.environ.get("GLOTGATE_TORTURE")
    found = Path(named) if named else ROOT.parent / "shared" / "torture" / "rfc4475"
    if not list(found.glob("*.dat")):
        raise Missing(f"no RFC 4475 messages in {found}: name their folder in GLOTGATE_TORTURE")
    return found


def rfc4475() -> list[Torture]:
    return [Torture(file.stem, "4475", file.read_bytes()) for file in sorted(folder().glob("*.dat"))]


def rfc5118() -> list[Torture]:
    return [Torture(file.stem, "5118", file.read_bytes()) for file in sorted((HERE / "rfc5118").glob("*.dat"))]


def lives(messages: list[Torture]) -> list[list[Torture]]:
    """The messages in groups, each for one life of the gateway."""
    others = [message for message in messages if message.name not in SAME_BRANCH]
    last = [[message] for message in messages if message.name in SAME_BRANCH]
    return [others + last[0], *last[1:]]
