"""The sessions process: REST by uvicorn and streams by picows in one uvloop, and what they are made of.

A composition root: it reads the configuration and the clock, and hands both on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import structlog
import uvicorn
import uvloop
from sqlalchemy.exc import OperationalError

from gateway.config import Config
from gateway.ops.metrics import SpeechMetrics
from gateway.section import split_host_port
from gateway.sessions import deliveries, keys, nodes, recordings, store
from gateway.sessions.api import create_app
from gateway.sessions.chronicle import Teller
from gateway.sessions.database import Database
from gateway.sessions.egress import Guard, HttpPost
from gateway.sessions.hub import Hub
from gateway.sessions.lifecycle import Limits
from gateway.sessions.meter import Meter
from gateway.sessions.nodes import Membership
from gateway.sessions.orders import Orders
from gateway.sessions.peers import Neighbours
from gateway.sessions.service import Service
from gateway.sessions.store import Session
from gateway.sessions.stream import StreamServer
from gateway.sessions.studio import Studio
from gateway.sessions.telephony import Gateway
from gateway.sessions.toolhooks import ToolHooks
from gateway.sessions.webhooks import Dispatcher
from gateway.speech.abilities import abilities
from gateway.speech.engines.registry import Engines
from gateway.speech.interpreter import Interpreter, Sink
from gateway.speech.interpreters import Interpreters
from gateway.speech.loopback import Loopback
from gateway.speech.terms import Terms

_log = structlog.get_logger(__name__)


def steady_clock() -> Callable[[], float]:
    """Unix seconds that never jump: what is stored and what times out must not follow a stepped clock."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are ours


def terms_of(session: Session) -> Terms:
    """What a session asks of its interpreter."""
    options = session.options
    languages = {party["type"]: party["language"] for party in options["participants"]}
    return Terms(session.mode, session.source_language, session.target_language, languages, options)


def stream_base(config: Config, host: str, port: int) -> str:
    """The front of stream URLs: as configured, else from the address where streams are served."""
    sessions = config.sessions
    if sessions.stream_public_url:
        return sessions.stream_public_url
    if sessions.public_url:
        return "ws" + sessions.public_url.removeprefix("http")
    if host in ("0.0.0.0", "::"):
        _log.warning("stream_url_is_local", hint="set sessions.stream_public_url for clients on other hosts")
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"


def _listen(bind: str) -> tuple[socket.socket, str]:
    """The REST socket, and the front of its URLs. Raises OSError."""
    host, port = split_host_port(bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    host, port = listener.getsockname()[:2]
    return listener, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    config: Config,
    internal_key: str,
    stop: asyncio.Event,
    ready: Callable[[str, str], None] = lambda rest, stream: None,
) -> None:
    """Serve until `stop` is set. ready: told the two base URLs once both listen."""
    clock = steady_clock()
    database = Database(config.sessions.database)
    database.upgrade()
    database.call(keys.ensure_organization, clock())
    secret = database.call(store.token_secret)
    limits = Limits(config.sessions.reconnect_window_s, config.sessions.inactive_timeout_s)
    webhooks = config.sessions.webhooks
    guard = Guard(webhooks.allow_networks)
    post = HttpPost(guard)
    default_secret = webhooks.secret.get_secret_value() if webhooks.secret else None
    dispatcher = Dispatcher(database, post, clock, secret=default_secret)
    teller = Teller(config.sessions.node, webhooks.url)
    studio = Studio(config.sessions.data_dir, clock)
    gateway = Gateway(config.admin.bind, internal_key)
    tools = HttpPost(guard)  # of its own, so that no webhook waits for a slow tool
    hooks = ToolHooks(tools, gateway, database, clock, default_secret)
    speech = SpeechMetrics()
    interpreters: Interpreters | None = None
    if config.sessions.interpreter == "pipeline":
        interpreters = Interpreters(config.speech, Engines.of(config.speech), clock, speech)
        speech.follow(lambda: interpreters.health.counts, interpreters.health.resting)
        await interpreters.start()

    def interpreter(session: Session, sink: Sink) -> Interpreter:
        if interpreters is None:
            return Loopback(sink)
        return interpreters.make(terms_of(session), sink, hooks.reach(session))

    hub = Hub(database, teller, limits, interpreter, studio, clock, dispatcher.wake)
    journal = asyncio.create_task(hub.journal.run(), name="journal")
    resumed = await hub.resume()

    streams = StreamServer(hub, secret)
    stream_host, stream_port = await streams.start(*split_host_port(config.sessions.stream_bind))
    base = stream_base(config, stream_host, stream_port)
    listener, rest_url = _listen(config.sessions.bind)
    members = Membership(hub, base, config.sessions.node_url or rest_url)
    await members.step()
    neighbours = Neighbours(database, config.sessions.node, secret, clock)
    orders = Orders(hub, gateway, neighbours)
    service = Service(hub, members, guard, orders, token_secret=secret, internal_key=internal_key)
    if interpreters is not None:
        service.admits = interpreters.check
        service.languages = partial(abilities, interpreters.engines)
    app = create_app(service, neighbours, config.sessions.data_dir, ready=lambda: not stop.is_set())
    meter = Meter(app, internal_key, lambda: (len(hub.sessions), len(streams.streams)), lambda: streams.counts, speech)
    rest = _Uvicorn(
        uvicorn.Config(
            meter, log_config=None, access_log=False, lifespan="off", server_header=False, timeout_keep_alive=75
        )
    )
    tasks = [
        asyncio.create_task(hub.run(), name="hub sweep"),
        asyncio.create_task(streams.run(), name="stream sweep"),
        asyncio.create_task(members.run(), name="heartbeat"),
        asyncio.create_task(studio.run(), name="studio"),
        asyncio.create_task(dispatcher.run(), name="webhooks"),
        asyncio.create_task(_housekeeping(config, database, clock), name="housekeeping"),
    ]
    serving = asyncio.create_task(rest.serve(sockets=[listener]), name="rest")
    while not rest.started and not serving.done():  # noqa: ASYNC110  (uvicorn offers no event)
        await asyncio.sleep(0.01)
    # What was made until now lives as long as the process: a full collection that walks it would hold up streams.
    gc.collect()
    gc.freeze()
    _log.info("sessions_ready", rest=rest_url, stream=base, resumed=resumed)
    ready(rest_url, base)

    stopping = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait([stopping, serving, journal, *tasks], return_when=asyncio.FIRST_COMPLETED)
    rest.should_exit = True
    for task in (*tasks, stopping):
        task.cancel()
    await asyncio.gather(serving, stopping, *tasks, return_exceptions=True)
    await hub.close()
    await streams.close()
    await asyncio.wait([journal])
    if interpreters is not None:
        await interpreters.close()
    await dispatcher.close(patience_s=5.0)
    await post.close()
    await tools.close()
    await gateway.close()
    await neighbours.close()
    try:
        database.call(nodes.leave, config.sessions.node)
    except OperationalError as error:  # the other nodes will miss this one's heartbeat
        _log.warning("leaving_failed", error=type(error).__name__)
    database.close()
    for task in done - {stopping}:
        task.result()  # a part that ended by itself has failed: let the process fail too


async def _housekeeping(config: Config, database: Database, clock: Callable[[], float]) -> None:
    """What is kept for a time only is deleted, every ten minutes."""
    keep_s = config.sessions.recording_retention_days * 86_400
    while True:
        now = clock()
        try:
            await database.run(store.forget_answers, now - store.KEEP_ANSWERS_S)
            await database.run(deliveries.forget, now - deliveries.KEEP_S)
            if keep_s:
                expired = await database.run(recordings.expire, now - keep_s)
                await asyncio.to_thread(recordings.remove_files, config.sessions.data_dir, expired)
        except OperationalError as error:
            _log.warning("housekeeping_failed", error=type(error).__name__)
        await asyncio.sleep(600)


def run(config: Config, internal_key: str, ready: Callable[[str, str], None] = lambda rest, stream: None) -> None:
    """The process: serve until SIGTERM or SIGINT. internal_key: the Bearer key of the gateway itself."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(config, internal_key, stop, ready)

    uvloop.run(main())
