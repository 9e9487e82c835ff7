"""Every action can be carried out."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.calls import actions as do
from tests.support.controller_rig import controller_rig
from tests.support.stream_server import until


def test_the_runner_knows_every_action(tmp_path: Path) -> None:
    async def main() -> None:
        async with controller_rig(tmp_path) as rig:
            rig.directory.slow.clear()
            rig.sip.invite()
            await until(lambda: rig.controller._all)
            runner = next(iter(rig.controller._all.values()))
            assert set(runner._do) == set(do.Action.__subclasses__())
            rig.directory.slow.set()

    asyncio.run(main())
