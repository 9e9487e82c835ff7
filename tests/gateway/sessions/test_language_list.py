"""gateway/sessions/language_list.py"""

from __future__ import annotations

import asyncio

from gateway.sessions.schema import LanguageList
from gateway.speech.abilities import abilities
from gateway.speech.engines.registry import Engines
from gateway.speech.stages import Stage
from tests.support.engines import PretendEngine
from tests.support.session_service import service


def test_the_list_is_for_those_with_a_key(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url) as kit:
            assert (await kit.get("/v1/languages")).json() == {"object": "list", "data": []}
            engine = PretendEngine("pretend", hears={"en"}, speaks={"es"})
            engines = Engines({"pretend": engine}, {stage: ["pretend"] for stage in Stage})
            kit.service.languages = lambda: abilities(engines)
            answer = await kit.get("/v1/languages")
            assert answer.status_code == 200
            LanguageList.model_validate(answer.json(), strict=True)
            assert [one["code"] for one in answer.json()["data"]] == ["en", "es"]
            kit.http.headers["Authorization"] = "Bearer sk_live_wrong"
            assert (await kit.get("/v1/languages")).status_code == 401

    asyncio.run(scenario())
