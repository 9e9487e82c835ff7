"""A process of the daemon: `python -m gateway.app ROLE --parent PID --fd NAME=N …`, started by the supervisor.

The composition root of each role: takes up what the supervisor handed over (`bootstrap`, file descriptors) and
becomes that process. Modules of a role are imported by that role only: the media path is not in the process that
parses SIP, and the SIP stack in no other.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway import bootstrap, host
from gateway.bootstrap import Start
from gateway.channel import Channel, PeerGone
from gateway.config import Media
from gateway.lifeline import EXIT_HOPELESS, Lifeline
from gateway.ops.loglevel import LogLevel
from gateway.ops.logs import Log, install

#: An OSError in this time is the host's refusal.
STARTING_S: Final = 10.0


def sip(start: Start, fds: dict[str, int], parent: int, log: Log) -> None:
    from gateway.sip.process import serve
    from gateway.sip.stack import StackError

    def write(line: dict[str, Any]) -> None:
        line = dict(line)
        getattr(log, line.pop("level", "info"))(line.pop("event", ""), **line)

    try:
        serve(socket.socket(fileno=fds["channel"]), start.config, write)
    except StackError as error:
        raise host.HostRefuses(str(error)) from error


def rtp(start: Start, fds: dict[str, int], parent: int, log: Log) -> None:
    from rtp import control, plane
    from rtp.engine import serve

    os.ftruncate(fds["plane"], plane.size_of(start.config.media.capacity))
    sock = socket.socket(fileno=fds["channel"])
    channel = Channel[control.AnyCommand](sock, control.AnyCommand)
    serve(channel, fds["plane"], fds["wakeup"], media_settings(start.config.media))


def media_settings(media: Media) -> Any:
    """`rtp.engine.Settings` as configured."""
    from rtp.engine import Settings

    ports, jitter, realtime = media.ports, media.jitter, media.realtime
    return Settings(
        bind=media.bind,
        bind6=media.bind6 or "",
        ports_first=ports.first,
        ports_last=ports.last,
        quarantine_s=ports.quarantine_s,
        capacity=media.capacity,
        jitter_min_ms=jitter.min_ms,
        jitter_start_ms=jitter.start_ms,
        jitter_max_ms=jitter.max_ms,
        lead_ms=media.playout.lead_ms,
        dtx=media.dtx,
        vad_events=media.vad_events,
        scheduler=realtime.scheduler,
        priority=realtime.priority,
        cpu=realtime.cpu,
        lock_memory=realtime.lock_memory,
    )


def controller(start: Start, fds: dict[str, int], parent: int, log: Log) -> None:
    import uvloop

    from gateway.hub import Hub
    from rtp import plane

    os.ftruncate(fds["plane"], plane.size_of(start.config.media.capacity))

    # What was imported lives as long as the process: a full collection that walks it would hold up the audio.
    gc.collect()
    gc.freeze()

    async def main() -> None:
        line = Lifeline(socket.socket(fileno=fds["lifeline"]))
        await Hub(start, line, parent, log).serve(fds["plane"], fds["wakeup"])

    uvloop.run(main())


def sessions(start: Start, fds: dict[str, int], parent: int, log: Log) -> None:
    from gateway.sessions.server import run

    run(start.config, start.internal_key)


ROLES: Final[dict[str, Callable[[Start, dict[str, int], int, Log], None]]] = {
    "sip": sip,
    "rtp": rtp,
    "controller": controller,
    "sessions": sessions,
}


def main(words: Sequence[str]) -> int:
    """Be the process that the words name. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="gateway.app")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--fd", action="append", default=[], metavar="NAME=N")
    given = parser.parse_args(words)
    host.die_with(given.parent)
    host.name_process(f"glot-{given.role}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor hears it and ends things in order
    fds = {name: int(number) for name, _, number in (word.partition("=") for word in given.fd)}
    start = bootstrap.read(fds.pop("start"))
    level = LogLevel(fds.pop("level")) if "level" in fds else None
    log = install(start.config.logging, given.role, level=level)
    return status(lambda: ROLES[given.role](start, fds, given.parent, log), log, time.monotonic)


def status(work: Callable[[], None], log: Log, clock: Callable[[], float]) -> int:
    """Work until it ends; the exit status that tells the supervisor whether another process would do better."""
    began = clock()
    try:
        work()
    except PeerGone:
        log.info("the controller is gone")
    except host.HostRefuses as error:
        log.error("can not run", reason=str(error))
        return EXIT_HOPELESS
    except OSError as error:
        # An address that is taken, a folder that is not ours. Of a process that ran already it is a failure like
        # any other, and the next one takes over.
        if clock() - began < STARTING_S:
            log.error("can not run", reason=str(error))
            return EXIT_HOPELESS
        log.exception("failed")
        return 1
    except Exception:
        log.exception("failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
