"""Plays all torture messages over both transports to real daemons, and writes what came of them as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rig.daemon import HOST, Daemon, free_port

from tests.torture import messages
from tests.torture.messages import Torture
from tests.torture.player import Outcome, Player

GOLDEN: Final = Path(__file__).with_name("golden.txt")
TRANSPORTS: Final = ("udp", "tcp")
HOSTS: Final = {"4475": HOST, "5118": "[::1]"}
HEAD: Final = """\
# What becomes of each torture message: the final responses over UDP and over TCP (200 to an INVITE is a call), and
# whether a request behind it on the same connection is answered. Written by: PYTHONPATH=tools python -m tests.torture
"""


@dataclass(frozen=True)
class Played:
    message: Torture
    udp: Outcome
    tcp: Outcome


def everything() -> list[Played]:
    """RFC 4475 over IPv4, RFC 5118 over IPv6."""
    them = messages.rfc4475() + messages.rfc5118()
    found: dict[tuple[str, str], Outcome] = {}
    for group in messages.lives(them):
        for transport in TRANSPORTS:
            found |= {(name, transport): outcome for name, outcome in _life(group, transport).items()}
    return [Played(message, found[message.name, "udp"], found[message.name, "tcp"]) for message in them]


def _life(group: list[Torture], transport: str) -> dict[str, Outcome]:
    """One daemon's: whatever is not refused becomes a call, for every user part has a route."""
    addresses = {document: f"{host}:{free_port()}" for document, host in HOSTS.items()}
    binds = [{"transport": each, "address": address} for each in TRANSPORTS for address in addresses.values()]
    changes = {
        "sip": {"bind": binds, "advertise": None},
        "routes": [{"name": "any", "mode": "bidirectional_translation"}],
    }
    outcomes = {}
    with Daemon(capacity=len(group), changes=changes) as daemon:
        for document, address in addresses.items():
            with Player(address) as player:
                play = player.over_udp if transport == "udp" else player.over_tcp
                outcomes |= {message.name: play(message) for message in group if message.document == document}
        assert "process ended" not in daemon.log.read_text(), daemon.log_end()
    return outcomes


def table(them: list[Played]) -> str:
    rows = [("message", "verdict", "UDP", "TCP", "behind it")]
    for one in them:
        verdict = "valid" if one.message.valid else "invalid"
        rows.append((one.message.name, verdict, str(one.udp), str(one.tcp), one.tcp.framing))
    widths = [max(len(row[i]) for row in rows) + 2 for i in range(len(rows[0]))]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return HEAD + "\n".join(lines) + "\n"
