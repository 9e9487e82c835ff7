"""The operator's commands on who uses the service: `glotgate organizations …`, `glotgate connections …`.

Owns the typer sub-applications. Both work on the database, so they need no running service; a running one
goes by what they wrote from its next request on. What takes long to load is loaded by the command that needs it.
"""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.sessions.commands import ConfigFile, InDatabase

_ID: Final = re.compile(r"org_[0-9A-Za-z_-]{1,36}")
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{1,14}")

Credits = Annotated[int | None, typer.Option(min=-1, help="API credits in all; -1: unlimited.")]
Rate = Annotated[int | None, typer.Option(min=1, help="Requests a minute.")]
Hook = Annotated[str | None, typer.Option(help='Where its webhooks go; "": where the configuration says.')]
NewSecret = Annotated[bool, typer.Option("--new-webhook-secret", help="Make one, and print it once.")]


def _fail(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(1)


def _settings(credit_limit: int | None, rate: int | None, webhook_url: str | None, secret: bool) -> dict[str, Any]:
    """The columns that these options set."""
    values: dict[str, Any] = {}
    if credit_limit is not None:
        values["credits_limit"] = None if credit_limit < 0 else credit_limit
    if rate is not None:
        values["rate_limit"] = rate
    if webhook_url is not None:
        values["webhook_url"] = _checked(webhook_url) if webhook_url else None
    if secret:
        values["webhook_secret"] = "whsec_" + secrets.token_urlsafe(32)
    return values


def _checked(url: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from gateway.sessions.schema import WebUrl

    try:
        return TypeAdapter(WebUrl).validate_python(url)
    except ValidationError:
        raise _fail(f"{url} is no http:// or https:// address that webhooks can go to") from None


def _tell_secret(values: dict[str, Any]) -> None:
    if "webhook_secret" in values:
        typer.echo(values["webhook_secret"])
        typer.echo("it signs the webhooks from now on, and is not shown again", err=True)


def organizations(in_database: InDatabase, default_config: Path) -> typer.Typer:
    """The organization commands. in_database: runs a job on the configured database."""
    app = typer.Typer(no_args_is_help=True, help="Organizations: credits, rates, webhooks.")

    @app.command("create")
    def create(
        organization_id: Annotated[str, typer.Argument(help="Its id, org_…")],
        config: ConfigFile = default_config,
        name: Annotated[str | None, typer.Option(help="For people; none: the id.")] = None,
        credits: Credits = None,
        rate_limit: Rate = None,
        webhook_url: Hook = None,
        new_webhook_secret: NewSecret = False,
    ) -> None:
        """Make an organization; then `glotgate keys create --organization`."""
        from gateway.sessions import keys, tenants

        if not _ID.fullmatch(organization_id):
            raise _fail(f"{organization_id} is no id: org_ and up to 36 letters, digits, _ and -")
        values = _settings(credits, rate_limit, webhook_url, new_webhook_secret)

        def make(connection: Any) -> None:
            if tenants.change_organization(connection, organization_id, {}):
                raise LookupError(f"there is an organization {organization_id}; `organizations change` changes it")
            keys.ensure_organization(connection, time.time(), organization_id, name=name or organization_id)
            tenants.change_organization(connection, organization_id, values)

        in_database(config, make)
        _tell_secret(values)

    @app.command("change")
    def change(
        organization_id: Annotated[str, typer.Argument(help="Its id, org_…")],
        config: ConfigFile = default_config,
        credits: Credits = None,
        rate_limit: Rate = None,
        webhook_url: Hook = None,
        new_webhook_secret: NewSecret = False,
        active: Annotated[bool | None, typer.Option("--active/--inactive", help="An inactive one gets 403.")] = None,
    ) -> None:
        """Change what is named, and nothing else."""
        from gateway.sessions import tenants

        values = _settings(credits, rate_limit, webhook_url, new_webhook_secret)
        if active is not None:
            values["active"] = active
        if not in_database(config, lambda c: tenants.change_organization(c, organization_id, values)):
            raise _fail(f"there is no organization {organization_id}")
        _tell_secret(values)

    @app.command("list")
    def list_all(config: ConfigFile = default_config) -> None:
        """List them with what they have used."""
        from gateway.sessions import tenants

        for one in in_database(config, tenants.list_organizations):
            left = "unlimited" if one.credits_limit is None else str(one.credits_limit)
            words = (one.id, "active" if one.active else "INACTIVE", f"{one.credits_used} of {left} credits",
                     f"{one.rate_limit}/min", one.webhook_url or "-", one.name)  # fmt: skip
            typer.echo("  ".join(words))

    return app


def connections(in_database: InDatabase, default_config: Path) -> typer.Typer:
    """The connection commands. in_database: runs a job on the configured database."""
    app = typer.Typer(no_args_is_help=True, help="Telephone connections that `routing` of a session names.")

    @app.command("add")
    def add(
        provider: Annotated[str, typer.Argument(help="sip, twilio or telnyx")],
        config: ConfigFile = default_config,
        number: Annotated[str | None, typer.Option(help="Its telephone number, like +15551234567.")] = None,
        organization: Annotated[str, typer.Option(help="Whose it is.")] = "org_default",
        default: Annotated[bool, typer.Option("--default", help="For sessions whose routing names none.")] = False,
    ) -> None:
        """Add a connection and print its id."""
        from gateway.sessions import tenants

        if provider not in ("sip", "twilio", "telnyx"):
            raise _fail(f"{provider} is no provider: sip, twilio or telnyx")
        if number is not None and not _NUMBER.fullmatch(number):
            raise _fail(f"{number} is no E.164 number: + and up to 15 digits")
        made = in_database(
            config,
            lambda c: tenants.add_connection(c, time.time(), organization, provider, number, is_default=default),
        )
        typer.echo(made.id)

    @app.command("list")
    def list_all(config: ConfigFile = default_config) -> None:
        """List them."""
        from gateway.sessions import tenants

        for one in in_database(config, tenants.list_connections):
            words = (one.id, one.provider, one.phone_number or "-", "default" if one.is_default else "-")
            typer.echo("  ".join((*words, one.organization_id)))

    @app.command("remove")
    def remove(
        connection_id: Annotated[str, typer.Argument(help="Its id, pcon_…")], config: ConfigFile = default_config
    ) -> None:
        """Remove a connection."""
        from gateway.sessions import tenants

        if not in_database(config, lambda c: tenants.remove_connection(c, connection_id)):
            raise _fail(f"there is no connection {connection_id}")

    return app
