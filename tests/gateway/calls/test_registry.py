"""The sessions here: found once, shared, forgotten, and ended there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.calls.registry import Registry
from gateway.calls.routing import Create, Existing
from gateway.errors import Fault, GatewayError, PeerFault
from tests.support.controller_rig import ControllerRig, controller_rig
from tests.support.stream_server import until


class Nobody:
    """A participant to whom nothing needs to be told."""

    call_id = "call_1"

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args: None


def run(tmp_path: Path, story: Callable[[ControllerRig, Registry], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            await story(rig, rig.controller._registry)

    asyncio.run(main())


def test_a_session_comes_here_once(tmp_path: Path) -> None:
    async def story(rig: ControllerRig, registry: Registry) -> None:
        info = await registry.resolve(Existing("sess_1"))
        live = registry.obtain(info)
        assert registry.obtain(info) is live
        await until(lambda: live.is_ready)
        assert rig.server.paths == [b"/sess_1?token=kst_1"]
        again = await registry.resolve(Existing("sess_1"))
        assert rig.directory.got == ["sess_1"]  # it is here, so nobody was asked
        assert registry.obtain(again) is live
        live.abandon()
        assert list(registry.live()) == []
        assert registry.obtain(info) is not live

    run(tmp_path, story)


def test_the_first_token_is_used_once(tmp_path: Path) -> None:
    async def story(rig: ControllerRig, registry: Registry) -> None:
        live = registry.obtain(await registry.resolve(Existing("sess_1")))
        await until(lambda: live.is_ready)
        rig.server.peers[0].transport.disconnect(False)
        await until(lambda: len(rig.server.paths) == 2)
        assert [path.split(b"=")[1] for path in rig.server.paths] == [b"kst_1", b"kst_2"]

    run(tmp_path, story)


def test_a_session_takes_so_many_legs_and_no_more(tmp_path: Path) -> None:
    """Forty in one session took all of the real-time loop's time, and everybody else's audio with it."""

    async def story(rig: ControllerRig, registry: Registry) -> None:
        live = registry.obtain(await registry.resolve(Existing("sess_1")))
        names = [live.join(Nobody(), None) for _ in range(16)]
        for _ready in range(2):  # also while the directory is still asked for each
            with pytest.raises(PeerFault) as refused:
                await registry.resolve(Existing("sess_1"))
            assert refused.value.fault is Fault.SESSION_FULL
            await until(lambda: live.is_ready)
        assert (await registry.resolve(Existing("sess_2"))).id == "sess_2"
        live.leave(names[3], "peer_bye")
        assert (await registry.resolve(Existing("sess_1"))).id == "sess_1"

    run(tmp_path, story)


def test_a_route_creates(tmp_path: Path) -> None:
    async def story(rig: ControllerRig, registry: Registry) -> None:
        info = await registry.resolve(Create("r", {"mode": "ai_agent"}))
        assert info.id == "sess_new1"
        assert rig.value("directory_requests_total", result="ok") == 1

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("fault", "result", "reachable"),
    [(Fault.SESSION_NOT_FOUND, "refused", True), (Fault.SERVICE_UNAVAILABLE, "unreachable", False)],
)
def test_what_the_directory_refuses_is_counted(tmp_path: Path, fault: Fault, result: str, reachable: bool) -> None:
    async def story(rig: ControllerRig, registry: Registry) -> None:
        rig.directory.refusals["sess_1"] = fault
        with pytest.raises(GatewayError):
            await registry.resolve(Existing("sess_1"))
        assert rig.value("directory_requests_total", result=result) == 1
        assert registry.reachable is reachable

    run(tmp_path, story)


def test_a_session_that_can_not_be_ended_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(rig: ControllerRig, registry: Registry) -> None:
        async def refuse(session_id: str, reason: str) -> None:
            raise GatewayError(Fault.SERVICE_UNAVAILABLE, "away")

        monkeypatch.setattr(rig.directory, "end", refuse)
        registry._end("sess_1", "peer_bye")
        await until(lambda: any(line["event"] == "session_not_ended" for line in rig.log()))

    run(tmp_path, story)
