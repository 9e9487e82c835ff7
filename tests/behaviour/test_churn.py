"""Many short calls to the real daemon, which end in every way that calls end in, and leave nothing behind.

`tools/bench-signalling churn` does it with 20,000, and looks at memory too.
"""

from __future__ import annotations

import random
import socket
import time
from collections import Counter

from rig import mutate, signalling
from rig.bench import PREFIX, Program
from rig.daemon import Daemon
from rig.gun import Gun

CALLS, RATE, HOLD_S = 1000, 50, 0.5
ODD = 200
#: Who sends no ACK is waited for 32 s (RFC 3261 §13.3.1.4).
PATIENCE_S = 90.0
REASONS = "glotgate_calls_end_reason_total{reason="
GOOD = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\n"
    "a=rtpmap:101 telephone-event/8000\r\n"
)


def test_nothing_is_left_of_calls_however_they_end() -> None:
    with Program("echo") as echo:
        port = echo.event("listening", 5)["port"]
        changes = {
            "sessions": {"mode": "remote", "url": f"http://127.0.0.1:{port}", "api_key": "sk_test_churn"},
            "logging": {"level": "error"},
            "overload": {"enabled": False},
            "media": {"no_rtp_timeout_s": 1, "ports": {"quarantine_s": 1}},
        }
        with Daemon(capacity=300, changes=changes) as daemon:
            rest = signalling.at_rest(daemon)
            plain = ["--target", daemon.sip_address, "--calls", str(CALLS), "--rate", str(RATE), "--hold", str(HOLD_S)]
            with Program("load", *plain, "--seconds", "0", "--settle", "0", "--prefix", PREFIX) as load:
                answers = odd_endings(daemon)
                heard = load.event("report", 60)
            assert heard["up"] == CALLS, heard
            assert {200, 404, 487, 488} <= set(answers), answers
            until = time.monotonic() + PATIENCE_S
            while (found := signalling.remains(signalling.left(daemon, rest))) and time.monotonic() < until:
                time.sleep(0.5)
            assert not found, found
            ended = {name for name, count in daemon.metrics().items() if name.startswith(REASONS) and count}
            assert {f'{REASONS}"peer_bye"}}', f'{REASONS}"no_rtp"}}'} <= ended


def odd_endings(daemon: Daemon) -> Counter[int]:
    """Calls that are refused, cancelled, never acknowledged, or that nobody ends. Answers by status code."""
    rng, kept = random.Random(1), 0
    target, gun = daemon.sip_address, Gun(daemon.sip_address)
    host, _, port = target.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:  # says something and hears nothing
        dead.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{dead.getsockname()[1]}"
        for n in range(ODD):
            name, user = f"odd{n}", f"{PREFIX}{50_000 + n:05d}"

            def request(method: str = "INVITE", sdp: str = GOOD, to: str = user, name: str = name) -> bytes:
                return mutate.request(rng, name, gun.here, method, to, sdp)

            match n % 5:
                case 0:
                    gun.fire(iter([request(to="nobody")]), 1)
                case 1:
                    gun.fire(iter([request(sdp="v=0\r\no=x\r\n")]), 1)
                case 2:
                    gun.fire(iter([request(), request("CANCEL", "")]), 2)
                case 3:
                    kept += bool(gun.dial(name, request()))  # ends for want of packets
                case _:
                    dead.sendto(mutate.request(rng, name, nowhere, "INVITE", user, GOOD), (host, int(port)))
        gun.await_answer()
        time.sleep(2)
        gun.await_answer()  # and answer the BYEs
        gun.close()
        assert kept > ODD / 10
        return gun.tally.answers
