"""gateway/speech/engines/base.py"""

from __future__ import annotations

import asyncio

from gateway.speech.engines.base import Base
from gateway.speech.stages import Engine, Stage


def test_it_is_an_engine_that_does_nothing() -> None:
    engine: Engine = Base("none")

    async def main() -> None:
        await engine.start()
        stages = (engine.recognizer, engine.translator, engine.synthesizer, engine.thinker)
        assert stages == (None, None, None, None)
        assert {engine.missing(stage) + engine.trouble(stage) for stage in Stage} == {""}
        assert not engine.full()
        await engine.close()

    asyncio.run(main())
