"""Each mode over the real service: REST, streams, storage; scripted engines, and a gateway that plays what it gets."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.sessions.egress import Guard, HttpPost
from gateway.sessions.server import terms_of
from gateway.sessions.toolhooks import ToolHooks
from gateway.speech.engines.registry import Engines
from gateway.speech.interpreters import Interpreters
from gateway.speech.phrases import phrase
from gateway.speech.settings import Speech
from gateway.speech.stages import Stage, ToolCall
from tests.gateway.speech.test_endpointing import SILENCE, mulaw
from tests.support.engines import PretendEngine
from tests.support.session_service import Kit, StreamClient, service
from tests.support.sinks import Measured

SPEECH = mulaw(-20, 600)
PAUSE = SILENCE * 8 * 900
PATIENCE_S = 15.0


class House:
    """The service, its engines, and what is said in a session. plays: marks are told as played at once."""

    def __init__(self, kit: Kit, engine: PretendEngine) -> None:
        self.kit, self.engine = kit, engine
        self.plays = True
        self.seen: list[dict[str, Any]] = []
        self._at: dict[str, int] = {}

    async def created(self, **fields: Any) -> dict[str, Any]:
        return await self.kit.create(**fields)

    async def told(self, client: StreamClient, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first message that is wanted; meanwhile, the gateway's part is played."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await client.receive()
                self.seen.append(message)
                if message["type"] == "mark" and self.plays:
                    client.send({"type": "mark.played", "name": message["name"], "target": message["target"]})
                if message["type"] == "audio.clear":
                    sent = sum(_ms(one) for one in self.seen if _is_for(one, message["target"]))
                    cleared = {"type": "audio.cleared", "target": message["target"], "played_ms": 0}
                    client.send(cleared | {"dropped_ms": sent, "marks": []})
                if wanted(message):
                    return message

    def say(self, client: StreamClient, speaker: str, heard_as: str) -> None:
        """A party says something."""
        self.engine.hears_next.append(heard_as)
        audio = SPEECH + PAUSE
        for start in range(0, len(audio), 160):
            number = self._at.get(speaker, 0)
            self._at[speaker] = number + 1
            client.send_audio(speaker, number, audio[start : start + 160])

    async def transcript(self, session: dict[str, Any]) -> list[dict[str, Any]]:
        await self.kit.settled()
        found = (await self.kit.get(f"/v1/sessions/{session['id']}/transcript")).json()
        turns: list[dict[str, Any]] = found["turns"]
        return turns


def _ms(message: dict[str, Any]) -> int:
    return len(base64.b64decode(message["audio"]["payload"])) // 8


def _is_for(message: dict[str, Any], target: str) -> bool:
    return message["type"] == "audio.output" and message.get("target") == target


def final(speaker: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["type"] == "transcript.final" and message["speaker"] == speaker


def kind(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["type"] == name


@asynccontextmanager
async def house(folder: Path, engine: PretendEngine, **settings: Any) -> AsyncIterator[House]:
    names = {stage: ["pretend"] for stage in Stage}
    interpreters = Interpreters(
        Speech.model_validate(settings),
        Engines({"pretend": engine}, names),
        asyncio.get_running_loop().time,
        Measured(),
    )
    await interpreters.start()
    hooks: list[ToolHooks] = []
    async with service(
        f"sqlite:///{folder}/sessions.db",
        interpreter=lambda session, sink: interpreters.make(terms_of(session), sink, hooks[0].reach(session)),
    ) as kit:
        http = HttpPost(Guard(["127.0.0.0/8"]))
        hooks.append(ToolHooks(http, kit.switchboard, kit.database, kit.clock, "secret"))
        kit.service.admits = interpreters.check
        yield House(kit, engine)
        await http.close()
    await interpreters.close()


@asynccontextmanager
async def stream(made: House, session: dict[str, Any], *speakers: str) -> AsyncIterator[StreamClient]:
    async with made.kit.stream(session) as client:
        await client.receive("session.ready")
        for speaker in speakers:
            client.send({"type": "call.joined", "speaker": speaker, "call_id": f"call_{speaker}"})
        yield client


def interpreter() -> PretendEngine:
    return PretendEngine(
        "pretend", hears={"en", "es"}, pairs={("en", "es"), ("es", "en")}, speaks={"en", "es"}, thinks={"*"}
    )


PAIR = {"source_language": "en", "target_language": "es"}


def test_bidirectional_everybody_hears_the_other_translated(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path, interpreter()) as made:
            session = await made.created(**PAIR)
            async with stream(made, session, "customer", "agent") as client:
                made.say(client, "customer", "good morning")
                told = await made.told(client, final("customer"))
                assert told["translation"] == {"language": "es", "text": "[es good morning]"}
                made.say(client, "agent", "buenos días")
                told = await made.told(client, final("agent"))
                assert told["translation"] == {"language": "en", "text": "[en buenos días]"}
                await made.told(client, lambda message: _is_for(message, "customer"))
            heard = [(one["speaker"], one["target"]) for one in made.seen if one["type"] == "audio.output"]
            assert set(heard) == {("customer", "agent"), ("agent", "customer")}

    asyncio.run(scenario())


def test_assistive_the_agent_reads_and_the_customer_hears(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path, interpreter()) as made:
            session = await made.created(mode="assistive_translation", **PAIR)
            async with stream(made, session, "customer", "agent") as client:
                made.say(client, "customer", "good morning")
                told = await made.told(client, final("customer"))
                assert told["translation"] == {"language": "es", "text": "[es good morning]"}
                made.say(client, "agent", "buenos días")
                await made.told(client, lambda message: _is_for(message, "customer"))
            targets = {one["target"] for one in made.seen if one["type"] == "audio.output"}
            assert targets == {"customer"}

    asyncio.run(scenario())


def test_assistive_on_two_streams_the_agent_still_hears_the_customer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path, interpreter()) as made:
            session = await made.created(mode="assistive_translation", **PAIR)
            async with stream(made, session, "customer") as phone, stream(made, session, "agent") as browser:
                await browser.synced()
                phone.send_audio("customer", 0, SPEECH[:160])
                heard = await made.told(browser, lambda message: _is_for(message, "agent"))
                assert base64.b64decode(heard["audio"]["payload"]) == SPEECH[:160]

    asyncio.run(scenario())


class Shop:
    """A tool's webhook."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().split("content-length:")[1].split()[0])
        self.requests.append((head, json.loads(await reader.readexactly(length))))
        body = b'{"status": "shipped"}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()


def test_an_agent_greets_asks_its_tool_answers_and_hands_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        shop = Shop()
        listening = await asyncio.start_server(shop.handle, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/order"
        engine = interpreter()
        described = {
            "system_prompt": "You work in a bicycle shop.",
            "greeting": "Welcome to the shop.",
            "tools": [
                {"name": "order_status", "url": url, "parameters": {"type": "object", "required": ["id"]}},
                {"type": "transfer_to_human", "to": "sip:600@pbx.example.com"},
            ],
        }
        async with house(tmp_path, engine) as made:
            session = await made.created(mode="ai_agent", source_language="en", ai_agent=described)
            async with stream(made, session, "customer") as client:
                greeting = await made.told(client, final("ai_agent"))
                assert greeting["text"] == "Welcome to the shop."
                engine.thinks_next = [[ToolCall("c1", "order_status", '{"id": "7"}')], ["It is shipped."]]
                made.say(client, "customer", "where is my order")
                answer = await made.told(client, final("ai_agent"))
                assert answer["text"] == "It is shipped."
                engine.thinks_next = [[ToolCall("c2", "transfer_to_human", "{}")], ["I connect you."]]
                made.say(client, "customer", "a human please")
                transfer = await made.told(client, kind("call.transfer"))
                assert (transfer["target"], transfer["to"]) == ("customer", "sip:600@pbx.example.com")
                client.send({"type": "call.error", "target": "customer", "code": "transfer_failed", "message": "486"})
                sorry = await made.told(client, final("ai_agent"))
                assert sorry["text"] == phrase("unreachable", "en")[1]
                made.kit.clock.now += 5
            ((head, body),) = shop.requests
            assert "kallglot-signature: t=" in head.lower()
            assert (body["type"], body["data"]["arguments"]) == ("tool.call", {"id": "7"})
            assert engine.thinker is not None
            assert engine.thinker.asked[1][-1].text == '{"status": "shipped"}'
            turns = [(turn["speaker"], turn["text"]) for turn in await made.transcript(session)]
            assert turns[:3] == [
                ("ai_agent", "Welcome to the shop."), ("customer", "where is my order"), ("ai_agent", "It is shipped."),
            ]  # fmt: skip
        listening.close()

    asyncio.run(scenario())


def test_after_a_hand_over_to_another_language_the_two_are_translated(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = interpreter()
        async with house(tmp_path, engine) as made:
            described = {"system_prompt": "Be brief."}
            session = await made.created(
                mode="ai_agent", source_language="es", target_language="en", ai_agent=described
            )
            async with stream(made, session, "customer") as client:
                engine.thinks_next = [["Un momento."]]
                made.say(client, "customer", "quiero hablar con una persona")
                heard = await made.told(client, kind("turn.timing"))
                assert heard["speaker"] == "customer"
                assert list(heard["timing_ms"]) == ["final", "answered", "first_audio", "heard"]
                await made.told(client, final("ai_agent"))
                client.send({"type": "call.joined", "speaker": "agent", "call_id": "call_agent"})
                assert (await made.told(client, kind("session.mode")))["mode"] == "bidirectional_translation"
                made.say(client, "agent", "how can I help you")
                told = await made.told(client, final("agent"))
                assert told["translation"] == {"language": "es", "text": "[es how can I help you]"}
                await made.told(client, lambda message: _is_for(message, "customer"))
                made.kit.clock.now += 7
                client.send({"type": "call.left", "speaker": "agent", "call_id": "call_agent"})
                assert (await made.told(client, kind("session.mode")))["mode"] == "ai_agent"
                made.kit.clock.now += 5
                engine.thinks_next = [["Claro."]]
                made.say(client, "customer", "otra vez")
                assert (await made.told(client, final("ai_agent")))["text"] == "Claro."
                shown = (await made.kit.get(f"/v1/sessions/{session['id']}")).json()
                assert (shown["mode"], shown["usage"]["translation_seconds"]) == ("ai_agent", 7.0)

    asyncio.run(scenario())


def test_only_what_was_heard_of_an_agent_is_in_the_transcript(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = interpreter()
        described = {"system_prompt": "Be long."}
        async with house(tmp_path, engine) as made:
            session = await made.created(mode="ai_agent", source_language="en", ai_agent=described)
            async with stream(made, session, "customer") as client:
                made.plays = False
                engine.thinks_next = [["one two three four five. ", "six seven eight nine ten."], ["Yes?"]]
                made.say(client, "customer", "tell me everything")
                await made.told(client, kind("mark"))
                made.say(client, "customer", "stop")
                await made.told(client, kind("audio.clear"))
                made.plays = True
                answer = await made.told(client, final("ai_agent"))
                assert answer["text"] == "Yes?"
            turns = [(turn["speaker"], turn["text"]) for turn in await made.transcript(session)]
            assert turns == [("customer", "tell me everything"), ("customer", "stop"), ("ai_agent", "Yes?")]

    asyncio.run(scenario())


def test_the_agents_clock_runs_while_it_works_and_only_then(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = interpreter()
        engine.stalls = {Stage.THINKING}
        async with house(tmp_path, engine) as made:
            session = await made.created(mode="ai_agent", source_language="en", ai_agent={"system_prompt": "Be slow."})
            async with stream(made, session, "customer") as client:
                engine.thinks_next = [["Well."]]
                made.say(client, "customer", "hello")
                await made.told(client, final("customer"))
                live = made.kit.hub.sessions[session["id"]]
                await made.kit.until(lambda: live.agent.running)
                made.kit.clock.now += 7
                engine.go.set()
                await made.told(client, final("ai_agent"))
                assert not live.agent.running
                made.kit.clock.now += 50
                shown = (await made.kit.get(f"/v1/sessions/{session['id']}")).json()
                assert shown["usage"]["ai_agent_seconds"] == 7.0
                assert shown["usage"]["translation_seconds"] == 0.0

    asyncio.run(scenario())


def test_help_is_read_out_of_the_documents_and_names_them(tmp_path: Path) -> None:
    text = "All our shops are open from nine in the morning until eight in the evening."
    documents = tmp_path / "help"
    documents.mkdir()
    (documents / "hours.md").write_text(f"# Opening hours\n{text}")

    async def scenario() -> None:
        engine = interpreter()
        engine.thinker = None
        async with house(tmp_path, engine, help_chat={"documents": str(documents), "language": "en"}) as made:
            session = await made.created(mode="help_chat_voice", source_language="en")
            async with stream(made, session, "customer") as client:
                assert (await made.told(client, final("ai_agent")))["text"] == phrase("welcome", "en")[1]
                made.say(client, "customer", "when are your shops open")
                assert (await made.told(client, final("ai_agent")))["text"] == text
                made.say(client, "customer", "do you insure helicopters")
                assert (await made.told(client, final("ai_agent")))["text"] == phrase("unknown", "en")[1]
            turns = [turn for turn in await made.transcript(session) if turn["speaker"] == "ai_agent"]
            said = [turn.get("metadata") or {} for turn in turns]
            assert [one.get("sources") for one in said] == [None, ["hours.md › Opening hours"], None]
            assert list(said[1]["timing_ms"]) == ["final", "answered", "first_audio", "heard"]

    asyncio.run(scenario())


def test_what_nobody_can_serve_is_refused_with_the_stage_that_is_missing(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = interpreter()
        engine.thinker = None
        async with house(tmp_path, engine) as made:
            for body, missing in (
                ({"mode": "ai_agent", "ai_agent": {"system_prompt": "x"}}, "thinking"),
                ({"mode": "help_chat_voice"}, "speech.help_chat.documents"),
                (
                    {"mode": "ai_agent", "ai_agent": {"system_prompt": "x"}, "source_language": "ja"},
                    "recognition of ja",
                ),
            ):
                answer = await made.kit.post("/v1/sessions", body)
                assert answer.status_code == 422, answer.text
                error = answer.json()["error"]
                assert (error["code"], missing in error["message"]) == ("engine_not_available", True), error

    asyncio.run(scenario())


def test_a_tool_that_leads_into_a_private_network_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path, interpreter()) as made:
            tools = [{"type": "end_call"}, {"name": "x", "url": "http://10.0.0.1/x"}]
            body = {"mode": "ai_agent", "ai_agent": {"system_prompt": "x", "tools": tools}}
            error = (await made.kit.post("/v1/sessions", body)).json()["error"]
            assert (error["code"], error["param"]) == ("invalid_field_value", "ai_agent.tools.1.url")
            tools[1]["url"] = "not a url"
            error = (await made.kit.post("/v1/sessions", body)).json()["error"]
            assert (error["code"], error["param"]) == ("invalid_field_value", "ai_agent.tools.1.url")

    asyncio.run(scenario())
