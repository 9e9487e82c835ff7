"""The command `glotgate`: what an engineer types. What a user can do wrong is told in a line, never by a traceback.

Owns words and exit statuses: 0 fine, 1 it did not work, 2 the configuration or the command line is wrong.
Everything that it does is done elsewhere; what needs long to load is loaded by the command that needs it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from gateway import __version__
from gateway.config import Config
from gateway.configfile import ConfigError, load
from gateway.sessions import commands, tenant_commands

if TYPE_CHECKING:
    from gateway.sessions.keys import ApiKey
    from gateway.steering import Steering

DEFAULT_FILE = Path("/etc/glotgate/glotgate.yaml")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.", show_default=True)]

app = typer.Typer(
    help="The gateway that puts live translation into any on-prem phone system.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="API keys of the embedded session service.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(commands.sessions, name="sessions")
app.command("languages")(commands.languages)
app.command("dial")(commands.dial)
app.add_typer(commands.webhooks(lambda path, job: _in_database(path, job), DEFAULT_FILE, time.time), name="webhooks")
app.add_typer(
    tenant_commands.organizations(lambda path, job: _in_database(path, job), DEFAULT_FILE), name="organizations"
)
app.add_typer(tenant_commands.connections(lambda path, job: _in_database(path, job), DEFAULT_FILE), name="connections")

T = TypeVar("T")


@app.command()
def serve(config: ConfigOption = DEFAULT_FILE) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; a second one ends it at once."""
    _load(config)
    # The supervisor is a process of its own kind, without this program's libraries; the process id stays.
    words = [sys.executable, "-P", "-m", "gateway.supervisor", str(config.absolute())]
    sys.stdout.flush()
    os.execv(words[0], words)


@app.command()
def check(config: ConfigOption = DEFAULT_FILE) -> None:
    """Check a configuration file: every mistake with its line, key and reason; and what its engines can do here."""
    checked = _load_whole(config)
    typer.echo(f"{config}: fine")
    from gateway import host

    try:
        host.raise_file_limit(checked)
    except host.HostRefuses as refused:
        typer.echo(f"on this host: {refused}")
    for note in host.port_notes(checked):
        typer.echo(f"on this host: {note}")
    for note in checked.exposure():
        typer.echo(f"note: {note}")
    if checked.sessions.mode == "embedded" and checked.sessions.interpreter == "pipeline":
        import asyncio

        from gateway.speech.inventory import report

        for line in asyncio.run(report(checked.speech)):
            typer.echo(line)


@app.command("route-test")
def route_test(
    to: Annotated[str, typer.Argument(help="Whom the INVITE is for: a number, a user, or a whole SIP URI.")],
    config: ConfigOption = DEFAULT_FILE,
    from_uri: Annotated[str, typer.Option("--from", help="Who calls: a user, or a whole SIP URI.")] = "anonymous",
    source: Annotated[str, typer.Option(help="The IP address that it comes from.")] = "127.0.0.1",
    transport: Annotated[str, typer.Option(help="udp, tcp or tls.")] = "udp",
    trunk: Annotated[str, typer.Option(help="Its trunk, where the source is not to decide.")] = "",
    header: Annotated[list[str] | None, typer.Option(help='One of its headers, like "X-Queue: sales".')] = None,
) -> None:
    """Say which trunk and which route an INVITE would take, and why. Exits 1 when there would be no call."""
    from gateway.calls.rehearsal import invite, rehearse

    checked = _load(config)
    pairs = (line.partition(":") for line in header or ())
    headers = {name.strip(): value.strip() for name, _, value in pairs}
    try:
        event = invite(to, from_uri=from_uri, source=source, transport=transport, trunk=trunk, headers=headers)
    except ValueError as error:
        _fail(f"that is no INVITE: {error}")
    taken, lines = rehearse(checked, event)
    typer.echo("\n".join(lines))
    raise typer.Exit(0 if taken else 1)


@app.command()
def version() -> None:
    """Say which version this is."""
    typer.echo(f"glotgate {__version__} (Python {sys.version.split()[0]})")


@app.command()
def status(config: ConfigOption = DEFAULT_FILE) -> None:
    """Ask the running gateway whether it takes calls, and list the calls. Exits 1 when it does not."""
    address = _load(config).admin.bind
    ready, calls, trunks = (_ask(address, path) for path in ("/readyz", "/calls", "/trunks"))
    live = calls["calls"]
    typer.echo(f"{'ready' if ready['ready'] else 'NOT READY'}, {len(live)} of {calls['capacity']} calls")
    for reason in ready["reasons"]:
        typer.echo(f"  because {reason}")
    for note in ready["notes"]:
        typer.echo(f"  note: {note}")
    typer.echo("  " + ", ".join(f"{name} {pid}" for name, pid in ready["processes"].items()))
    for trunk in trunks["trunks"]:
        if news := trunk["registration"]:
            why = f" ({news['code']} {news['reason']})" if news["code"] else ""
            typer.echo(f"  trunk {trunk['name']}: {news['state']}{why}")
    for call in live:
        words = (
            call["call_id"],
            "held" if call["held"] else call["state"],
            f"{call['seconds']:.0f} s",
            call["session_id"] or "-",
            call["from"],
        )
        typer.echo("  " + "  ".join(words))
    raise typer.Exit(0 if ready["ready"] else 1)


@app.command()
def reload(config: ConfigOption = DEFAULT_FILE) -> None:
    """Have the running gateway take up the changed file under its calls, and name what waits for a restart."""
    _load_whole(config)
    _steer(config, lambda steering: steering.reload())


@app.command()
def drain(
    config: ConfigOption = DEFAULT_FILE,
    now: Annotated[bool, typer.Option("--now", help="End the calls instead of waiting for them.")] = False,
    wait: Annotated[bool, typer.Option(help="Stay until the gateway has ended.")] = True,
) -> None:
    """Take no new calls, let the running ones end within drain.timeout_s, and stop."""
    _steer(config, lambda steering: steering.drain(now, wait))


@app.command()
def trace(
    call_id: Annotated[str, typer.Argument(help="As `status` and the call records show it.")],
    config: ConfigOption = DEFAULT_FILE,
) -> None:
    """Print the SIP messages of a call that runs, or that has just ended, without passwords and media keys."""
    found = _ask(_load(config).admin.bind, f"/calls/{call_id}/trace")
    if "text" not in found:
        _fail(f"there is no call {call_id}, or its messages are forgotten (sip.trace)")
    typer.echo(found["text"], nl=False)


@keys.command("create")
def create_key(
    config: ConfigOption = DEFAULT_FILE,
    name: Annotated[str, typer.Option(help="What it is for; shown in the list.")] = "default",
    organization: Annotated[str, typer.Option(help="Whose key it is.")] = "org_default",
    read_only: Annotated[bool, typer.Option("--read-only", help="It may look, not change.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Make an sk_test_ key.")] = False,
    expires_days: Annotated[int | None, typer.Option(min=1, help="It ends by itself after so many days.")] = None,
) -> None:
    """Make a key. It is printed once and stored nowhere."""
    from gateway.sessions.keys import create

    now = time.time()

    def make(connection: Any) -> tuple[str, ApiKey]:
        return create(
            connection,
            now,
            name=name,
            organization_id=organization,
            scope="read" if read_only else "write",
            live=not test,
            expires_at=None if expires_days is None else now + expires_days * 86_400,
        )

    key, stored = _in_database(config, make)
    typer.echo(key)
    typer.echo(f"{stored.id}, {stored.scope}, for {stored.organization_id}; it is not shown again", err=True)


@keys.command("list")
def list_all(config: ConfigOption = DEFAULT_FILE) -> None:
    """List the keys, as far as they are known."""
    from gateway.sessions.keys import list_keys

    for key in _in_database(config, list_keys):
        words = (key.id, f"{key.hint}…", key.scope, _day(key.created_at), _state(key), key.organization_id, key.name)
        typer.echo("  ".join(words))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")],
    config: ConfigOption = DEFAULT_FILE,
) -> None:
    """Refuse a key from now on."""
    from gateway.sessions.keys import revoke

    if not _in_database(config, lambda connection: revoke(connection, key_id, time.time())):
        _fail(f"there is no key {key_id}, or it is revoked already; `glotgate keys list` shows them")
    typer.echo(f"{key_id} is revoked")


def main() -> None:
    """The console script."""
    app()


def _load(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(2) from None


def _load_whole(path: Path) -> Config:
    """With the certificates that the file names."""
    from gateway import certificates

    config = _load(path)
    if problems := certificates.problems(config, str(path), time.time()):
        typer.echo("\n".join(map(str, problems)), err=True)
        raise typer.Exit(2)
    return config


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _ask(address: str, path: str) -> dict[str, Any]:
    import httpx

    try:
        answer = httpx.get(f"http://{address}{path}", timeout=5, trust_env=False)
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        _fail(f"no gateway answers at {address} (admin.bind): {error}")
    if not isinstance(found, dict):
        _fail(f"what answers at {address} (admin.bind) is no gateway")
    return found


def _steer(path: Path, work: Callable[[Steering], None]) -> None:
    from gateway.steering import Steering, SteeringError

    address = _load(path).admin.bind
    try:
        work(Steering(lambda asked: _ask(address, asked), typer.echo, time.monotonic, time.sleep))
    except SteeringError as error:
        _fail(str(error))


def _in_database(path: Path, job: Callable[[Any], T]) -> T:
    """Run a job on the session database of a configuration."""
    config = _load(path)
    if config.sessions.mode == "remote":
        _fail("sessions.mode is remote: the hosted service makes its own keys")
    from sqlalchemy.exc import SQLAlchemyError

    from gateway.sessions.database import Database

    try:
        database = Database(config.sessions.database)
        database.upgrade()
        done = database.call(job)
        database.close()
        _give_to_service(config.sessions.database)
    except (SQLAlchemyError, OSError, LookupError) as error:
        reason = getattr(error, "orig", None) or error
        _fail(f"sessions.database: {reason}")
    return done


def _give_to_service(url: str) -> None:
    """As root: the database's files belong to its folder's owner, who could not write to files of root's."""
    _, _, name = url.partition(":///")
    if os.geteuid() == 0 and url.startswith("sqlite") and name:
        folder = Path(name).parent
        owner = folder.stat()
        for file in folder.glob(Path(name).name + "*"):
            os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _day(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d")


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    return "for ever" if key.expires_at is None else f"until {_day(key.expires_at)}"


if __name__ == "__main__":
    main()
