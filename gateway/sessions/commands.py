"""The operator's commands on sessions and webhooks: `glotgate sessions …`, `glotgate webhooks …`.

Owns the typer sub-applications. Sessions are asked for over REST with an API key, as any client would; the
webhook queue is read and changed in the database, so it can be looked at while the service is down. What
takes long to load is loaded by the command that needs it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

sessions = typer.Typer(no_args_is_help=True, help="Create, show, end and follow sessions.")

#: Runs a job on the session database of the configuration at a path.
InDatabase = Callable[[Path, Callable[[Any], Any]], Any]

Url = Annotated[str, typer.Option(envvar="GLOTGATE_URL", help="Where the REST API is.")]
Key = Annotated[str, typer.Option(envvar="GLOTGATE_API_KEY", help="An API key; better by the environment.")]
Id = Annotated[str, typer.Argument(help="The session's id, sess_…")]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
_URL: Final = "http://127.0.0.1:8080"


def _call(url: str, key: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    import httpx

    try:
        response = httpx.request(
            method, url + path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        )
        answer: dict[str, Any] = response.json()
    except (httpx.HTTPError, ValueError) as error:
        typer.echo(f"no session service answers at {url}: {error}", err=True)
        raise typer.Exit(1) from None
    if response.is_error:
        fault = answer["error"]
        typer.echo(f"{response.status_code} {fault['code']}: {fault['message']} ({fault['request_id']})", err=True)
        raise typer.Exit(1)
    return answer


@sessions.command("create")
def create(
    key: Key,
    url: Url = _URL,
    mode: Annotated[str, typer.Option()] = "bidirectional_translation",
    source: Annotated[str | None, typer.Option(help="The customer's language.")] = None,
    target: Annotated[str | None, typer.Option(help="The agent's language.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Record it.")] = False,
) -> None:
    """Create a session and print it."""
    body: dict[str, Any] = {"mode": mode, "source_language": source, "target_language": target}
    body["recording"] = {"enabled": record}
    typer.echo(json.dumps(_call(url, key, "POST", "/v1/sessions", body), indent=2))


@sessions.command("show")
def show(session_id: Id, key: Key, url: Url = _URL) -> None:
    """Print a session."""
    typer.echo(json.dumps(_call(url, key, "GET", f"/v1/sessions/{session_id}"), indent=2))


@sessions.command("end")
def end(session_id: Id, key: Key, url: Url = _URL, reason: Annotated[str | None, typer.Option()] = None) -> None:
    """End a session and print its summary."""
    answer = _call(url, key, "POST", f"/v1/sessions/{session_id}/end", {"reason": reason})
    typer.echo(json.dumps(answer, indent=2))


def dial(
    session_id: Id,
    to: Annotated[str, typer.Argument(help="A number, or sip:user@host that a trunk leads to.")],
    key: Key,
    url: Url = _URL,
    speaker: Annotated[str | None, typer.Option(help="Who speaks there: agent, customer …")] = None,
    caller: Annotated[str | None, typer.Option("--from", help="The number to show.")] = None,
    timeout: Annotated[int | None, typer.Option(min=1, max=600, help="Seconds that it may ring.")] = None,
    trunk: Annotated[str | None, typer.Option(help="The trunk to go through.")] = None,
) -> None:
    """Call somebody and join the answered call to a session. Prints the call once it rings."""
    body = {"to": to, "speaker": speaker, "from": caller, "timeout_seconds": timeout, "trunk": trunk}
    wanted = {name: value for name, value in body.items() if value is not None}
    typer.echo(json.dumps(_call(url, key, "POST", f"/v1/sessions/{session_id}/dial", wanted), indent=2))


@sessions.command("transfer")
def transfer(
    session_id: Id,
    call_id: Annotated[str, typer.Argument(help="The call's id, call_…")],
    to: Annotated[str, typer.Argument(help="sip:user@host or tel:number")],
    key: Key,
    url: Url = _URL,
) -> None:
    """Have the other end of a call call somebody else."""
    answer = _call(url, key, "POST", f"/v1/sessions/{session_id}/calls/{call_id}/transfer", {"to": to})
    typer.echo(json.dumps(answer, indent=2))


@sessions.command("tail")
def tail(session_id: Id, key: Key, url: Url = _URL) -> None:
    """Print what is said, as it is said, until the session ends."""
    stream = _call(url, key, "GET", f"/v1/sessions/{session_id}").get("stream")
    if stream is None:
        typer.echo(f"{session_id} has ended; its transcript is at /v1/sessions/{session_id}/transcript", err=True)
        raise typer.Exit(1)
    from picows import WSError

    try:
        asyncio.run(follow(stream["url"], stream["token"]))
    except (OSError, WSError) as error:
        typer.echo(f"the stream could not be opened: {error}", err=True)
        raise typer.Exit(1) from None


def told(message: dict[str, Any]) -> list[str]:
    """The lines that `tail` prints for a stream message."""
    kind = message.get("type")
    if kind == "transcript.final":
        lines = [f"{message['speaker']} [{message['language']}] {message['text']}"]
        if translation := message.get("translation"):
            lines.append(f"    [{translation['language']}] {translation['text']}")
        return lines
    if kind == "session.ended":
        return [f"-- ended: {message['reason']}"]
    if kind == "session.error":
        return [f"-- {message['code']}: {message['message']}"]
    return []


async def follow(url: str, token: str) -> None:
    """Print what a stream tells until it closes."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

    class Follower(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code())
                transport.disconnect()
            elif frame.msg_type == WSMsgType.TEXT:
                for line in told(json.loads(frame.get_payload_as_bytes())):
                    typer.echo(line)

    transport, _ = await ws_connect(Follower, url, extra_headers={"Authorization": f"Bearer {token}"})
    await transport.wait_disconnected()


def languages(key: Key, url: Url = _URL) -> None:
    """List what the running service can do with which language."""
    from gateway.speech.abilities import lines

    for line in lines(_call(url, key, "GET", "/v1/languages")["data"]):
        typer.echo(line)


def webhooks(in_database: InDatabase, default_config: Path, now: Callable[[], float]) -> typer.Typer:
    """The webhook commands. in_database: runs a job on the configured database."""
    app = typer.Typer(no_args_is_help=True, help="Look at webhook deliveries, send one again.")

    @app.command("list")
    def list_all(
        config: ConfigFile = default_config,
        state: Annotated[str | None, typer.Option(help="pending, delivered or dead")] = None,
        session: Annotated[str | None, typer.Option(help="Of this session only.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    ) -> None:
        """List deliveries, the newest first."""
        from gateway.sessions import deliveries

        found = in_database(
            config, lambda c: deliveries.list_deliveries(c, state=state, session_id=session, limit=limit)
        )
        for one in found:
            words = (one.id, one.state, one.type, one.session_id, f"{one.attempts}x", one.last_result or "-", one.url)
            typer.echo("  ".join(words))

    @app.command("redeliver")
    def redeliver(
        delivery_id: Annotated[str, typer.Argument(help="The delivery's id, wh_del_…")],
        config: ConfigFile = default_config,
    ) -> None:
        """Send a delivery again, from its first attempt on."""
        from gateway.sessions import deliveries

        if not in_database(config, lambda c: deliveries.redeliver(c, delivery_id, now())):
            typer.echo(f"there is no delivery {delivery_id}", err=True)
            raise typer.Exit(1)
        typer.echo(f"{delivery_id} will be sent again")

    @app.command("test")
    def test(
        url: Annotated[str, typer.Argument(help="Where to send an event of the type `test`.")],
        config: ConfigFile = default_config,
        organization: Annotated[str, typer.Option(help="Whose secret signs it.")] = "org_default",
    ) -> None:
        """Queue a test event; the running service sends it, `webhooks list` shows what came of it."""
        from gateway.sessions import deliveries
        from gateway.sessions.ids import new_id

        number = new_id("test", now())  # in place of a session, so that no test waits for another one
        event = in_database(
            config, lambda c: deliveries.put(c, organization, number, "test", {"object": "test"}, url, now())
        )
        typer.echo(event)

    return app
