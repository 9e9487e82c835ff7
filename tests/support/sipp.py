"""SIPp as a caller: an independent user agent that does what a scenario says, and fails when answered otherwise."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from tests.support.scenario import Scenario

#: A quick client: an answer that does not come in this time does not come.
_SECONDS: Final = 15


def calling(*, ends: int = 200, authenticated: bool = False, stays_ms: int = 100, headers: str = "") -> Scenario:
    """INVITE, with digest credentials when asked, and a final response that must have this code.

    headers: further lines of the INVITE, each with its end.
    """
    scenario = Scenario().invite(extra=headers)
    if authenticated:
        scenario.refused(401, auth=True).invite(extra=f"[authentication]\n{headers}")
    if ends != 200:
        return scenario.refused(ends)
    return scenario.answered().pause(stays_ms).bye()


def unanswered() -> str:
    """A scenario: an INVITE, and a second of waiting for anything that is said to it."""
    silent = '<recv response="100" timeout="1000" ontimeout="silent"/>\n<label id="silent"/>\n</scenario>'
    return str(Scenario().invite()).replace(' retrans="500"', "").replace("</scenario>", silent)


class Calls:
    """One run of SIPp, in the background until `done`. source: the address that it calls from."""

    def __init__(
        self,
        folder: Path,
        target: str,
        scenario: Scenario | str,
        *,
        source: str = "127.0.0.1",
        user: str = "100",
        count: int = 1,
        per_s: int = 10,
        password: str = "secret",
        transport: str = "u1",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "scenario.xml"
        script.write_text(str(scenario))
        words = ["sipp", target, "-sf", str(script), "-i", source, "-s", user, "-m", str(count), "-r", str(per_s)]
        words += ["-t", transport, "-au", "pbx", "-ap", password, "-timeout", str(_SECONDS), "-timeout_error"]
        words += ["-recv_timeout", "8000", "-nostdin", "-trace_err", "-error_file", str(folder / "errors")]
        words += ["-trace_msg", "-message_file", str(folder / "messages")]
        words += ["-trace_stat", "-stf", str(folder / "counts")]
        self._folder = folder
        with (folder / "screen").open("wb") as screen:
            self._process = subprocess.Popen(words, stdout=screen, stderr=screen, cwd=folder)

    def done(self) -> tuple[int, int]:
        """(calls that went as the scenario says, calls that did not)."""
        try:
            self._process.wait(_SECONDS + 5)
        finally:
            self._process.kill()
            self._process.wait()
        if not (self._folder / "counts").exists():
            raise AssertionError(f"SIPp did not run: {(self._folder / 'screen').read_text(errors='replace')[-2000:]}")
        names, *rows = (self._folder / "counts").read_text().splitlines()
        last = dict(zip(names.split(";"), rows[-1].split(";"), strict=False))
        return int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])

    def messages(self) -> str:
        """What went over the wire."""
        return (self._folder / "messages").read_text(errors="replace")

    def story(self) -> str:
        """What went wrong, and the wire: for people."""
        errors = self._folder / "errors"
        said = errors.read_text(errors="replace") if errors.exists() else ""
        return f"{said}\n{self.messages()[-6000:] if (self._folder / 'messages').exists() else ''}"
