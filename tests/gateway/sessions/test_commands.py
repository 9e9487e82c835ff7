"""gateway/sessions/commands.py: by the command line, against a running service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.sessions.commands import follow, told
from tests.support.session_process import KEY, ServiceProcess
from tests.support.session_service import PATIENCE, service

HOOK = "http://127.0.0.1:9/hook"


class Shell:
    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/s.db"
        self.service = ServiceProcess(url, folder, webhooks={"url": HOOK, "allow_networks": ["127.0.0.0/8"]})
        self.config = folder / "glotgate.yaml"
        self.config.write_text(yaml.safe_dump({"sessions": {"database": url, "data_dir": str(folder)}}))
        self.environment = {"GLOTGATE_URL": self.service.rest, "GLOTGATE_API_KEY": KEY}

    def sessions(self, *words: str, **environment: str) -> Result:
        return CliRunner().invoke(app, ["sessions", *words], env=self.environment | environment)

    def webhooks(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["webhooks", *words, "-c", str(self.config)])


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    assert made.service.stop() == 0


def test_a_session_by_hand(shell: Shell) -> None:
    made = json.loads(shell.sessions("create", "--mode", "help_chat_voice", "--source", "en", "--record").stdout)
    assert (made["mode"], made["source_language"], made["recording"]["enabled"]) == ("help_chat_voice", "en", True)
    assert json.loads(shell.sessions("show", made["id"]).stdout)["status"] == "created"
    ended = json.loads(shell.sessions("end", made["id"], "--reason", "done").stdout)
    assert ended["status"] == "ended"
    tail = shell.sessions("tail", made["id"])
    assert (tail.exit_code, "has ended" in tail.output) == (1, True)


def test_what_goes_wrong_is_told_in_a_line(shell: Shell) -> None:
    for result in (
        shell.sessions("show", "sess_none"),
        shell.sessions("create", "--mode", "none"),
        shell.sessions("show", "sess_none", GLOTGATE_API_KEY="sk_wrong"),
        shell.sessions("show", "sess_none", GLOTGATE_URL="http://127.0.0.1:9"),
    ):
        assert result.exit_code == 1
        assert len(result.output.strip().splitlines()) == 1
        assert "Traceback" not in result.output


def test_tail_follows_to_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with service(f"sqlite:///{tmp_path}/s.db") as kit:
            session = await kit.create()
            following = asyncio.create_task(follow(session["stream"]["url"], session["stream"]["token"]))
            await kit.until(lambda: kit.streams.streams)
            kit.hub.sessions[session["id"]].final("s1", "customer", "en", "Hello.", 0, 1, 1.0, None)
            await kit.post(f"/v1/sessions/{session['id']}/end")
            await asyncio.wait_for(following, PATIENCE)

    asyncio.run(scenario())
    lines = [line for line in capsys.readouterr().out.splitlines() if "sess_" not in line]  # without the log
    assert lines == ["customer [en] Hello.", "-- ended: explicit_end"]


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ({"type": "transcript.final", "speaker": "customer", "language": "en", "text": "Hello."},
         ["customer [en] Hello."]),
        ({"type": "transcript.final", "speaker": "customer", "language": "en", "text": "Hello.",
          "translation": {"language": "es", "text": "Hola."}}, ["customer [en] Hello.", "    [es] Hola."]),
        ({"type": "session.error", "code": "internal_error", "message": "away"}, ["-- internal_error: away"]),
        ({"type": "audio.output"}, []),
    ],
)  # fmt: skip
def test_what_tail_prints(message: dict[str, Any], lines: list[str]) -> None:
    assert told(message) == lines


def test_webhooks_by_hand(shell: Shell) -> None:
    made = json.loads(shell.sessions("create").stdout)
    listed = shell.webhooks("list", "--session", made["id"])
    (line,) = listed.output.splitlines()
    delivery = line.split()[0]
    assert delivery.startswith("wh_del_")
    assert "session.created" in line
    assert shell.webhooks("redeliver", delivery).exit_code == 0
    assert shell.webhooks("redeliver", "wh_del_none").exit_code == 1
    event = shell.webhooks("test", HOOK).output.strip()
    assert event.startswith("evt_")
    assert len(shell.webhooks("list").output.splitlines()) == 2
    shell.webhooks("test", HOOK)
    listed = [line.split()[3] for line in shell.webhooks("list").output.splitlines()]
    assert len(set(listed)) == 3  # none waits for another one


def test_dialling_by_hand_says_why_it_can_not(shell: Shell) -> None:
    """There is no gateway beside this service; `tests/gateway/test_outbound.py` has one."""
    made = json.loads(shell.sessions("create").stdout)
    result = CliRunner().invoke(app, ["dial", made["id"], "200", "--from", "+155"], env=shell.environment)
    assert (result.exit_code, "503 service_unavailable" in result.output) == (1, True)
    result = shell.sessions("transfer", made["id"], "call_1", "sip:300@pbx")
    assert (result.exit_code, "session_not_found" in result.output) == (1, True)


def test_languages_are_listed(shell: Shell) -> None:
    result = CliRunner().invoke(app, ["languages"], env=shell.environment)
    assert (result.exit_code, result.output.split()[:2]) == (0, ["code", "language"])
    refused = CliRunner().invoke(app, ["languages", "--key", "sk_live_wrong"], env=shell.environment)
    assert (refused.exit_code, "401" in refused.output) == (1, True)
