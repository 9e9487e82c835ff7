"""The supervisor: starts the four processes, joins them, watches them, replaces the dead, ends them in order.

Theory of operation. The controller is the hub: it gets the plane, the wake-up and a lifeline at its start, and
its end of every channel over the lifeline (`lifeline.Attach`), so that a sip or rtp process that is replaced
under running calls looks to it like the first one. A process counts as alive while the controller hears of it
(`Pulse`); one that is silent for `SILENCE_S` is ended and replaced, one that is merely stopped included. When
the controller itself is gone, nobody knows the calls any more: sip and rtp are replaced with it.

    running ──SIGTERM──► draining ──controller gone, or too late──► stopping ──all gone──► exit
                            └──second signal: in no time──► draining ──third──► stopping

A plain process: one poll, no threads, no event loop, no media path. It parses nothing that a stranger sends.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway import bootstrap, channel, host, lifeline, reload
from gateway.config import Config
from gateway.configfile import ConfigError, load
from gateway.lifeline import EXIT_HOPELESS, Lifeline
from gateway.ops import loglevel
from gateway.ops.loglevel import LogLevel
from gateway.ops.logs import Log, install
from gateway.reload import Effect, Reload
from gateway.restart import RestartPolicy
from gateway.sdnotify import Notifier

#: Silence after which a process is ended; with the grace and a start it is replaced within 12 s.
SILENCE_S: Final = 6.0
#: A process may take this long from its start until it is first heard of.
START_S: Final = 60.0
#: The supervisor's own lateness from which on it believes that it was stopped, not busy.
STALL_S: Final = 1.0
#: Between the polite signal and the other one.
GRACE_S: Final = 2.0
#: Beyond the drain's own time, for BYEs to be answered and files to be closed.
DRAIN_MARGIN_S: Final = 10.0
HASTE_S: Final = 5.0

#: No process has use for the thread pools that numpy's libraries would start.
ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Command = Callable[[str, dict[str, int]], list[str]]


@dataclass
class Child:
    """One of the processes. Times are monotonic seconds; 0: not."""

    name: str
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    process: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    started_s: float = 0.0
    heard_s: float = 0.0
    start_at_s: float | None = 0.0  #: when to start it (again); None: not
    kill_at_s: float = 0.0  #: it was asked to end; when to stop asking
    life: int = 0  #: how many times it was started
    replaced: bool = False  #: its end is our doing and no failure of its own


def app_command(role: str, fds: dict[str, int]) -> list[str]:
    """The command line of a process. -P: nothing is imported from the working directory."""
    words = [sys.executable, "-P", "-m", "gateway.app", role, "--parent", str(os.getpid())]
    return words + [f"--fd={name}={fd}" for name, fd in fds.items()]


class Supervisor:
    """`run` returns the exit status of the daemon."""

    def __init__(
        self,
        config: Config,
        log: Log,
        notifier: Notifier,
        read_again: Callable[[Config], Reload],
        command: Command = app_command,
    ) -> None:
        self._config, self._log, self._notifier = config, log, notifier
        self._read_again, self._command = read_again, command
        self._key = secrets.token_urlsafe(32)
        # Its size is for those to set who know the layout; here it only outlives them.
        self._plane = os.memfd_create("glotgate-plane", os.MFD_CLOEXEC)
        self._level = loglevel.create(config.logging.level)
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        names = ["controller", "sip", "rtp"]
        if config.sessions.mode == "embedded":
            names.append("sessions")
        self._children = {name: Child(name) for name in names}
        self._lifeline: Lifeline | None = None
        self._phase = "running"
        self._deadline_s = 0.0
        self._status = 0
        self._hurried = False
        self._was_ready = False
        self._alive_at_s = 0.0
        self._poll = select.poll()
        self._signals, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll.register(self._signals, select.POLLIN)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # what arrived is read from the pipe

    def run(self) -> int:
        """Start everything and stay until it has ended."""
        self._notifier.status("starting")
        now = time.monotonic()
        while True:
            before = now  # a pause may come at any point, not only in `poll`
            now = time.monotonic()
            self._start_due(now)
            patience = self._patience(now)
            self._poll.poll(1000 * patience)
            self._read_signals()
            self._read_lifeline()
            now = time.monotonic()
            self._forgive(now - before, patience)
            self._reap(now)
            self._watch(now)
            if self._phase == "stopping" and not any(child.process for child in self._children.values()):
                return self._status

    # Starting

    def _start_due(self, now: float) -> None:
        if self._phase != "running":
            return
        for child in self._children.values():
            due = child.process is None and child.start_at_s is not None and child.start_at_s <= now
            # The others are announced over the controller's lifeline, so it is the first in the table.
            if due and (child.name == "controller" or self._lifeline is not None):
                self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        fds = {"start": self._start_file(child.name), "level": os.dup(self._level)}
        ours: int | None = None
        if child.name == "controller":
            a, b = channel.pair()
            self._lifeline, fds["lifeline"] = Lifeline(a), b.detach()
            self._poll.register(self._lifeline.fileno(), select.POLLIN)
            fds |= {"plane": os.dup(self._plane), "wakeup": os.dup(self._wakeup)}
        elif child.name in ("sip", "rtp"):
            a, b = channel.pair()
            ours, fds["channel"] = a.detach(), b.detach()
            if child.name == "rtp":
                fds |= {"plane": os.dup(self._plane), "wakeup": os.dup(self._wakeup)}
        child.process = subprocess.Popen(
            self._command(child.name, fds),
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(fds.values()),
            env={**os.environ, **ONE_THREAD},
            process_group=0,  # Ctrl-C in a terminal is ours to hear, and ours to pass on in order
        )
        for fd in fds.values():
            os.close(fd)
        child.pidfd = os.pidfd_open(child.process.pid)
        self._poll.register(child.pidfd, select.POLLIN)
        child.started_s, child.heard_s, child.kill_at_s, child.replaced = now, 0.0, 0.0, False
        child.life += 1
        self._log.info("process started", child=child.name, pid=child.process.pid)
        self._tell(lifeline.Attach(child.name, child.process.pid, child.life), ours)
        if ours is not None:
            os.close(ours)
        if child.name == "controller":
            for other in self._children.values():
                if other is not child and other.process is not None and not other.replaced:
                    self._tell(lifeline.Attach(other.name, other.process.pid, other.life))

    def _start_file(self, role: str) -> int:
        return bootstrap.write(bootstrap.Start(self._config, self._key), role)

    # Hearing

    def _read_signals(self) -> None:
        try:
            numbers = os.read(self._signals, 64)
        except BlockingIOError:
            return
        for number in numbers:
            if number == signal.SIGHUP:
                self._reload()
            else:
                self._stop(f"{signal.Signals(number).name} received", 0)

    def _reload(self) -> None:
        again = self._read_again(self._config)
        for problem in again.problems:
            self._log.error("configuration not taken", problem=problem)
        for key in again.paths(Effect.RESTART):
            self._log.warning("a change needs a restart", key=key)
        told = [[text[:300] for text in some[:50]] for some in (again.problems, *map(again.paths, reversed(Effect)))]
        fd = None
        if again.config is not None:
            self._config = again.config
            LogLevel(self._level).set(again.config.logging.level)
            self._log.info("configuration taken", changed=again.paths(Effect.NOW))
            fd = self._start_file("controller")
        self._tell(lifeline.Reloaded(*told), fd)
        if fd is not None:
            os.close(fd)

    def _read_lifeline(self) -> None:
        try:
            while self._lifeline is not None and (got := self._lifeline.receive()) is not None:
                if isinstance(got[0], lifeline.Pulse):
                    self._hear(got[0])
                elif isinstance(got[0], lifeline.Status):
                    self._note(got[0])
        except channel.PeerGone:
            self._cut_lifeline()

    def _hear(self, pulse: lifeline.Pulse) -> None:
        now = time.monotonic()
        for name in pulse.processes:
            child = self._children.get(name)
            if child is not None and child.process is not None:
                child.heard_s = now
                child.policy.healthy()
        if self._notifier.watchdog_s and now >= self._alive_at_s:
            self._alive_at_s = now + self._notifier.watchdog_s / 3
            self._notifier.alive()

    def _note(self, status: lifeline.Status) -> None:
        if status.ready and not self._was_ready:
            self._was_ready = True
            self._log.info("ready", status=status.text)
            self._notifier.ready(status.text)
        else:
            self._notifier.status(status.text)

    # Watching

    def _reap(self, now: float) -> None:
        for child in self._children.values():
            process = child.process
            if process is None or process.poll() is None:
                continue
            self._poll.unregister(child.pidfd)
            os.close(child.pidfd)
            child.process, child.pidfd = None, -1
            reason = _how(process.returncode)
            line = self._log.info if child.kill_at_s or self._phase != "running" else self._log.error
            line("process ended", child=child.name, reason=reason, ran_s=round(now - child.started_s, 1))
            if child.name == "controller":
                self._cut_lifeline()
            else:
                self._tell(lifeline.Exited(child.name, reason))
            if self._phase == "running":
                self._plan(child, process.returncode, now)
            elif child.name == "controller":
                self._end_all(now)

    def _plan(self, child: Child, returncode: int, now: float) -> None:
        wait = 0.0 if child.replaced else child.policy.died(now, hopeless=returncode == EXIT_HOPELESS)
        if wait is None:
            self._stop(f"{child.name} does not stay up: {_how(returncode)}; see its lines above", 1)
            return
        child.start_at_s = now + wait
        if child.name == "controller":
            for other in (self._children["sip"], self._children["rtp"]):
                if other.process is not None:
                    other.replaced = True
                    self._end(other, now, ask=False)  # it ends its dialogs when it sees its channel closed

    def _watch(self, now: float) -> None:
        controller = self._children["controller"]
        for child in self._children.values():
            if child.process is None:
                continue
            if child.kill_at_s:
                if now >= child.kill_at_s:
                    child.process.kill()
                    child.kill_at_s = now + GRACE_S
            elif self._phase == "running" and child.name != "sessions":
                # Of the others we know through the controller only: its own silence is not theirs.
                until = now if child is controller else controller.heard_s
                since = child.heard_s or child.started_s + START_S - SILENCE_S
                if until - since > SILENCE_S:
                    self._log.error("process does not answer", child=child.name, silent_s=round(now - since, 1))
                    self._end(child, now)
        if self._phase == "draining" and now >= self._deadline_s:
            self._log.warning("the calls did not end in time")
            self._end_all(now)

    def _forgive(self, waited_s: float, patience_s: float) -> None:
        """If this process itself stood still (a paused machine, a starved one), so did the others, most likely."""
        if waited_s > patience_s + STALL_S:
            self._log.warning("the supervisor stood still", waited_s=round(waited_s, 1))
            for child in self._children.values():
                child.started_s += waited_s
                child.heard_s += waited_s if child.heard_s else 0.0
                child.kill_at_s += waited_s if child.kill_at_s else 0.0

    def _patience(self, now: float) -> float:
        """Seconds until something is due; a second at most, for the watch."""
        due = [child.start_at_s for child in self._children.values() if child.process is None and child.start_at_s]
        due += [child.kill_at_s for child in self._children.values() if child.process and child.kill_at_s]
        return min([1.0, *(max(0.005, at - now) for at in due)])

    # Ending

    def _stop(self, reason: str, status: int) -> None:
        now = time.monotonic()
        self._status = self._status or status
        if self._phase == "stopping":
            return
        again = self._phase == "draining"
        if again and self._hurried:
            self._end_all(now)
            return
        self._hurried = again or bool(status)
        timeout_s = 0.0 if self._hurried else float(self._config.drain.timeout_s)
        self._log.info("stopping", reason=reason, calls_may_last_s=timeout_s)
        self._phase = "draining"
        self._deadline_s = now + timeout_s + (HASTE_S if self._hurried else DRAIN_MARGIN_S)
        self._notifier.stopping(f"stopping: {reason}")
        self._notifier.extend(timeout_s + DRAIN_MARGIN_S + 3 * GRACE_S)
        self._tell(lifeline.Drain(timeout_s))
        if self._lifeline is None or self._children["controller"].process is None:
            self._end_all(now)

    def _end_all(self, now: float) -> None:
        """The controller has ended the calls, or can not: the rest goes."""
        self._phase = "stopping"
        for child in self._children.values():
            child.start_at_s = None
            if child.process is not None and not child.kill_at_s:
                self._end(child, now, ask=child.name in ("controller", "sessions"))

    def _end(self, child: Child, now: float, ask: bool = True) -> None:
        """Have a process end: it has the grace to do so by itself. ask: by a signal too."""
        if child.process is not None:
            if ask:
                child.process.terminate()
            child.kill_at_s = now + GRACE_S

    def _tell(self, message: lifeline.FromSupervisor, fd: int | None = None) -> None:
        if self._lifeline is not None:
            try:
                self._lifeline.send(message, fd)
            except channel.PeerGone:
                self._cut_lifeline()

    def _cut_lifeline(self) -> None:
        """The controller is gone, or so far behind that it is lost; in either case it must go."""
        if self._lifeline is not None:
            self._poll.unregister(self._lifeline.fileno())
            self._lifeline.close()
            self._lifeline = None
            controller = self._children["controller"]
            if controller.process is not None and not controller.kill_at_s:
                controller.kill_at_s = time.monotonic() + GRACE_S


def _how(returncode: int) -> str:
    """An exit status in words."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def main(path: Path) -> int:
    """Be the daemon: `glotgate serve` becomes this process."""
    try:
        config = load(path)
        log = install(config.logging, "supervisor")
        host.raise_file_limit(config)
    except (ConfigError, host.HostRefuses) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    host.name_process("glotgate")
    for note in host.port_notes(config):
        log.warning("host", note=note)
    for note in config.exposure():
        log.warning("exposed", note=note)
    return Supervisor(config, log, Notifier(), lambda running: reload.read(path, running, time.time())).run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
