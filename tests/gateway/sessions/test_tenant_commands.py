"""gateway/sessions/tenant_commands.py, on a database that no service has open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.cli import app
from gateway.sessions import keys, store
from gateway.sessions.database import Database

Shell = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/s.db"


@pytest.fixture
def shell(tmp_path: Path, url: str) -> Shell:
    config = tmp_path / "g.yaml"
    config.write_text(f"sessions:\n  database: {url}\n")
    return lambda *words: CliRunner().invoke(app, [*words, "-c", str(config)])


def test_an_organization_from_its_making_on(shell: Shell, url: str) -> None:
    made = shell("organizations", "create", "org_a", "--credits", "5", "--rate-limit", "60", "--new-webhook-secret")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert secret.startswith("whsec_")
    again = shell("organizations", "create", "org_a")
    assert (again.exit_code, "there is an organization org_a" in again.output) == (1, True)
    key = shell("keys", "create", "--organization", "org_a").stdout.strip()
    assert shell("organizations", "list").output == "org_a  active  0 of 5 credits  60/min  -  org_a\n"
    words = ("--inactive", "--credits", "-1", "--webhook-url", "https://a.example/hook")
    assert shell("organizations", "change", "org_a", *words).exit_code == 0
    listed = shell("organizations", "list").output
    assert listed == "org_a  INACTIVE  0 of unlimited credits  60/min  https://a.example/hook  org_a\n"
    assert secret not in listed

    database = Database(url)
    row = database.peek(store.find_keys, [keys.digest(key)])[keys.digest(key)]
    database.close()
    assert not row.active


def test_a_connection_from_its_making_on(shell: Shell) -> None:
    assert shell("keys", "create").exit_code == 0  # makes the default organization
    made = shell("connections", "add", "twilio", "--number", "+15551234567", "--default").stdout.strip()
    assert made.startswith("pcon_")
    assert shell("connections", "list").output == f"{made}  twilio  +15551234567  default  org_default\n"
    assert shell("connections", "remove", made).exit_code == 0
    assert shell("connections", "list").output == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["organizations", "create", "a b"], "is no id"),
        (["organizations", "change", "org_none", "--active"], "there is no organization org_none"),
        (["organizations", "create", "org_a", "--webhook-url", "ftp://x"], "is no http:// or https:// address"),
        (["connections", "add", "fax"], "is no provider"),
        (["connections", "add", "sip", "--number", "555"], "is no E.164 number"),
        (["connections", "add", "sip", "--organization", "org_none"], "there is no organization org_none"),
        (["connections", "remove", "pcon_none"], "there is no connection pcon_none"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(shell: Shell, words: list[str], told: str) -> None:
    result = shell(*words)
    assert result.exit_code == 1
    assert told in result.output
    assert len(result.output.splitlines()) == 1
