"""docs/api.md: every command in it does what it says, against a running service and a gateway that takes orders."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
import yaml
from picows import ws_connect

from gateway.ops.admin import Admin, Answer, as_json
from tests.gateway.speech.test_endpointing import SILENCE, mulaw
from tests.support.session_process import KEY as INTERNAL
from tests.support.session_process import ServiceProcess
from tests.support.session_service import StreamClient

PAGE: Final = Path(__file__).parents[1] / "docs" / "api.md"
#: curl fails when the answer is a refusal; glotgate takes its configuration from the test.
SHELL: Final = """
set -euo pipefail
curl() { command curl --fail-with-body --max-time 30 "$@"; }
glotgate() {
    case $1 in sessions|dial) "$PYTHON" -m gateway.cli "$@" ;; *) "$PYTHON" -m gateway.cli "$@" -c "$CONFIG" ;; esac
}
"""


def commands() -> list[str]:
    """The page's shell commands, whole, without what is said of them."""
    blocks = re.findall(r"(?m)(?:^    .*\n)+", PAGE.read_text())
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    found: list[str] = []
    for line in lines:
        if re.match(r"    (curl|glotgate) ", line):
            found.append(line.strip())
        elif found and found[-1].count("'") % 2:  # a body that goes on
            found[-1] += "\n" + line
    return [re.sub(r"\s+# .*$", "", command) for command in found]


class Site:
    """A service and a gateway's admin address, an organization's key, and a session in each stage."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._admin = Admin({}, {"/dial": self._dial}, INTERNAL)
        host, port = self._wait(self._admin.start("127.0.0.1", 0))
        self.folder = folder
        url = f"sqlite:///{folder}/s.db"
        self.config = folder / "glotgate.yaml"
        self.config.write_text(yaml.safe_dump({"sessions": {"database": url, "data_dir": str(folder)}}))
        self.service = ServiceProcess(url, folder, gateway=f"{host}:{port}")
        self.environment = {
            "PYTHON": sys.executable,
            "CONFIG": str(self.config),
            "BASE": self.service.rest,
            "GLOTGATE_URL": self.service.rest,
            "ADMIN": f"http://{host}:{port}",
            "SESSIONS_API_KEY": INTERNAL,
        }
        key = self.run("glotgate keys create --name first").strip()
        self.environment |= {"KEY": key, "GLOTGATE_API_KEY": key}
        self.http = httpx.Client(base_url=self.service.rest, headers={"Authorization": f"Bearer {key}"}, timeout=30)
        self.over = self._session()
        self.environment["CALL"] = "call_live"
        self._wait(self._talk(self.over, "call_over"))
        assert self.http.post(f"/v1/sessions/{self.over['id']}/end", json={}).status_code == 200
        recordings = self.http.get(f"/v1/sessions/{self.over['id']}/recordings").json()["data"]
        self.environment["REC"] = recordings[0]["id"]
        self.live = self._session()
        self._client = self._wait(self._talk(self.live, "call_live"))

    def _wait(self, story: Any) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(story, self._loop)
        return done.result(30)

    async def _dial(self, body: bytes) -> Answer:
        order = msgspec.json.decode(body)
        told = {"id": "call_placed", "object": "call", "session_id": order["session_id"], "status": "ringing"}
        told |= {"direction": "outbound", "sip_call_id": "x", "speaker": order["speaker"], "to": order["to"]}
        return as_json(told, 202)

    def _session(self) -> dict[str, Any]:
        body = {"mode": "help_chat_voice", "recording": {"enabled": True}}
        made: dict[str, Any] = self.http.post("/v1/sessions", json=body).json()
        return made

    async def _talk(self, session: dict[str, Any], call_id: str) -> StreamClient:
        """A gateway's end of the stream: a leg joins and says something."""
        stream = session["stream"]
        _, client = await ws_connect(StreamClient, f"{stream['url']}?token={stream['token']}")
        assert isinstance(client, StreamClient)
        client.send({"type": "call.joined", "speaker": "customer", "call_id": call_id})
        sound = SILENCE * 1600 + mulaw(-20, 600) + SILENCE * 16000
        for n in range(0, len(sound) // 160):
            client.send_audio("customer", n, sound[n * 160 : n * 160 + 160])
        await client.receive("audio.output")
        await asyncio.sleep(0.5)  # a recording is as long as its call
        return client

    def session_for(self, command: str) -> str:
        """The session that a command is about: one that can do what it asks for."""
        if re.search(r"/(transcript|recordings)", command):
            return str(self.over["id"])
        if re.search(r"/end |sessions (end|tail)", command):
            return str(self._session()["id"])
        return str(self.live["id"])

    def shell(self, command: str) -> list[str]:
        return ["bash", "-c", SHELL + command.replace("sess_…", self.live["id"])]

    def run(self, command: str, session: str = "") -> str:
        """Its output; fails as the command does."""
        done = subprocess.run(
            self.shell(command) if session else ["bash", "-c", SHELL + command],
            env=os.environ | self.environment | {"ID": session}, cwd=self.folder, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def close(self) -> None:
        self.http.close()
        assert self.service.stop() == 0
        self._wait(self._admin.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()


def test_the_commands_of_the_page_are_found() -> None:
    assert len([c for c in commands() if c.startswith("curl")]) == PAGE.read_text().count("\n    curl ") >= 13
    assert len([c for c in commands() if c.startswith("glotgate")]) == PAGE.read_text().count("\n    glotgate ") >= 12


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("curl")])
def test_a_request_of_the_page_is_answered(site: Site, command: str) -> None:
    output = site.run(command, site.session_for(command))
    written = re.search(r" -o (\S+)", command)
    if written is None:
        assert json.loads(output)
        return
    data = (site.folder / written[1]).read_bytes()
    starts = {".mp3": (b"ID3", b"\xff"), ".wav": (b"RIFF",)}[Path(written[1]).suffix]
    assert len(data) > 1000
    assert data.startswith(starts)


def test_the_command_lines_of_the_page(site: Site) -> None:
    """In their order, for an organization is made before it is given a key; `tail` while its session is ended."""
    tail: subprocess.Popen[str] | None = None
    session = ""
    for command in [c for c in commands() if c.startswith("glotgate")]:
        if command.startswith("glotgate sessions tail"):
            session = site.session_for(command)
            environment = os.environ | site.environment | {"ID": session}
            tail = subprocess.Popen(site.shell(command), env=environment, stdout=subprocess.PIPE, text=True)
            continue
        output = site.run(command, session or site.live["id"])
        if " create" in command or " list" in command or command.startswith(("glotgate dial", "glotgate sessions")):
            assert output.strip() or "--state dead" in command, command
    assert tail is not None
    out, _ = tail.communicate(timeout=30)
    assert tail.returncode == 0 or "has ended" in out
