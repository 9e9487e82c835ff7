"""The controller's handle on the rtp process: open a leg, configure it, close it, read its statistics.

Runs in the controller's asyncio loop; nothing in it blocks. The process at the other end may die and be
replaced: `lost` fails what waits, `attach` goes on with a new channel. Audio does not pass through here:
it is read from and written to `plane`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from rtp import control
from rtp.control import CommandChannel, MessageChannel
from rtp.plane import Plane
from rtp.settings import Settings

__all__ = ["Engine", "EngineRefused", "Leg", "MessageChannel", "Plane", "Settings", "serve"]

#: How long a leg may take to open before the process counts as dead.
OPEN_TIMEOUT_S: Final = 5.0


class Leg(NamedTuple):
    """A row of the table, for as long as `generation` holds. `rtp_port` is even; RTCP is the next port."""

    row: int
    generation: int
    rtp_port: int


class EngineRefused(Exception):
    """No leg. reason: capacity, ports, or lost (the process died or does not answer)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no media leg: {reason}")
        self.reason = reason


class Engine:
    """The handle. `on_event` gets every event but the answers to `open_leg`, in order."""

    def __init__(
        self, channel: MessageChannel | None, plane: Plane, on_event: Callable[[control.AnyEvent], None]
    ) -> None:
        self.plane = plane
        self._on_event = on_event
        self._channel = channel
        self._opening: dict[int, asyncio.Future[Leg]] = {}
        self._request = 0

    @property
    def alive(self) -> bool:
        """Whether a process is attached."""
        return self._channel is not None

    def fileno(self) -> int:
        """Of the channel, for the loop's reader. Raises EngineRefused when no process is attached."""
        if self._channel is None:
            raise EngineRefused("lost")
        return self._channel.fileno()

    def read(self) -> None:
        """Take what the process has sent; call it when `fileno` is readable. Lets the channel's error out."""
        if self._channel is None:
            return
        self._channel.flush()
        for event in self._channel.receive():
            if isinstance(event, control.LegOpened):
                self._opened(event)
            elif isinstance(event, control.LegRefused):
                waiting = self._opening.pop(event.request, None)
                if waiting is not None and not waiting.done():
                    waiting.set_exception(EngineRefused(event.reason))
            else:
                self._on_event(event)

    def attach(self, channel: MessageChannel) -> None:
        """A fresh process has taken the place of a lost one: it has no legs."""
        self._channel = channel

    def lost(self) -> None:
        """The process has gone. Legs that were opening fail; the plane's rows mean nothing until reopened."""
        self._channel = None
        for waiting in self._opening.values():
            if not waiting.done():
                waiting.set_exception(EngineRefused("lost"))
        self._opening.clear()

    async def open_leg(self, rtp_port: int = 0, ipv6: bool = False) -> Leg:
        """Take a row and a port pair (this one, when rtp_port is not 0). Raises EngineRefused."""
        self._request += 1
        request = self._request
        waiting: asyncio.Future[Leg] = asyncio.get_running_loop().create_future()
        self._opening[request] = waiting
        try:
            self._send(control.OpenLeg(request, rtp_port, ipv6))
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                return await waiting
        except TimeoutError:
            raise EngineRefused("lost") from None
        finally:
            self._opening.pop(request, None)

    def configure(self, command: control.ConfigureLeg) -> None:
        """Apply what SDP settled. Nothing comes back: a configured leg runs."""
        self._send(command)

    def set_gains(self, command: control.SetGains) -> None:
        self._send(command)

    def send_digits(self, command: control.SendDigits) -> None:
        self._send(command)

    def close(self, leg: Leg) -> None:
        """Free the leg; `LegClosed` with its final statistics follows. With no process it is gone already."""
        if self._channel is not None:
            self._send(control.CloseLeg(leg.row, leg.generation))

    def _opened(self, event: control.LegOpened) -> None:
        leg = Leg(event.row, event.generation, event.rtp_port)
        waiting = self._opening.pop(event.request, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(leg)
        else:  # nobody waits any more (the call was cancelled meanwhile): do not leak the row
            self.close(leg)

    def _send(self, command: control.Command) -> None:
        if self._channel is None or not self._channel.send(command):
            raise EngineRefused("lost")


def serve(channel: CommandChannel, plane_fd: int, wakeup_fd: int, settings: Settings) -> None:
    """Be the rtp process: run the real-time loop until `Stop` or until the channel's other end is gone."""
    from rtp.loop import Loop  # here, so that the controller does not load the media path

    Loop(channel, Plane(plane_fd, settings.capacity), wakeup_fd, settings).run()
