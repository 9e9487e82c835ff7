"""The controller's handle, against a channel that a test plays."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from rtp import control, plane
from rtp.engine import Engine, EngineRefused, Leg
from rtp.plane import Plane


class Wire:
    """A channel: what was sent, and what will be received."""

    backlog = 0

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.incoming: list[Any] = []
        self.full = False

    def fileno(self) -> int:
        return 77

    def send(self, message: Any) -> bool:
        self.sent.append(message)
        return not self.full

    def flush(self) -> None:
        pass

    def receive(self, limit: int = 256) -> list[Any]:
        taken, self.incoming = self.incoming[:limit], self.incoming[limit:]
        return taken


@pytest.fixture
def shared() -> Iterator[Plane]:
    fd = plane.create(2)
    yield Plane(fd, 2)
    os.close(fd)


def test_a_leg_opens(shared: Plane) -> None:
    wire = Wire()
    engine = Engine(wire, shared, lambda event: None)

    async def run() -> Leg:
        opening = asyncio.ensure_future(engine.open_leg(4000))
        await asyncio.sleep(0)
        wire.incoming.append(control.LegOpened(wire.sent[0].request, 1, 9, 4000))
        engine.read()
        return await opening

    assert asyncio.run(run()) == Leg(1, 9, 4000)
    assert wire.sent == [control.OpenLeg(1, 4000)]


def test_a_refusal_says_why(shared: Plane) -> None:
    wire = Wire()
    engine = Engine(wire, shared, lambda event: None)

    async def run() -> None:
        opening = asyncio.ensure_future(engine.open_leg())
        await asyncio.sleep(0)
        wire.incoming.append(control.LegRefused(wire.sent[0].request, "ports"))
        engine.read()
        await opening

    with pytest.raises(EngineRefused, match="ports"):
        asyncio.run(run())


def test_a_leg_that_nobody_waits_for_any_more_is_closed(shared: Plane) -> None:
    wire = Wire()
    engine = Engine(wire, shared, lambda event: None)

    async def run() -> None:
        opening = asyncio.ensure_future(engine.open_leg())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        wire.incoming.append(control.LegOpened(wire.sent[0].request, 1, 9, 4000))
        engine.read()

    asyncio.run(run())
    assert wire.sent[-1] == control.CloseLeg(1, 9)


def test_other_events_go_on_in_order(shared: Plane) -> None:
    wire, seen = Wire(), []
    engine = Engine(wire, shared, seen.append)
    events = [control.EngineReady("fifo", []), control.StrangerSeen(1, 2, "192.0.2.1", 3)]
    wire.incoming += events
    engine.read()
    assert seen == events


def test_a_lost_process_fails_what_waits_and_takes_no_commands(shared: Plane) -> None:
    engine = Engine(Wire(), shared, lambda event: None)

    async def run() -> None:
        opening = asyncio.ensure_future(engine.open_leg())
        await asyncio.sleep(0)
        engine.lost()
        await opening

    with pytest.raises(EngineRefused, match="lost"):
        asyncio.run(run())
    assert not engine.alive
    with pytest.raises(EngineRefused, match="lost"):
        engine.fileno()
    with pytest.raises(EngineRefused, match="lost"):
        engine.send_digits(control.SendDigits(1, 1, "5"))
    engine.close(Leg(1, 1, 4000))  # gone with its process


def test_a_fresh_process_is_attached(shared: Plane) -> None:
    engine = Engine(None, shared, lambda event: None)
    assert not engine.alive
    wire = Wire()
    engine.attach(wire)
    engine.set_gains(control.SetGains(1, 1, 1.0, []))
    assert (engine.alive, engine.fileno(), len(wire.sent)) == (True, 77, 1)


def test_a_channel_that_is_full_is_a_process_that_is_lost(shared: Plane) -> None:
    wire = Wire()
    wire.full = True
    with pytest.raises(EngineRefused, match="lost"):
        Engine(wire, shared, lambda event: None).set_gains(control.SetGains(1, 1, 1.0, []))
