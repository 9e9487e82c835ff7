"""SIPp as a caller: an independent user agent that does what a scenario says, and fails when answered otherwise."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

_HEAD: Final = """\
{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>{to_tag}
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
{extra}"""
_SDP: Final = """\
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio 40000 RTP/AVP 0

"""
#: A quick client: an answer that does not come in this time does not come.
_SECONDS: Final = 15


def _send(method: str, cseq: int, *, to_tag: str = "", extra: str = "") -> str:
    text = _HEAD.format(method=method, to_tag=to_tag, cseq=cseq, extra=extra)
    text += _SDP if method == "INVITE" else "Content-Length: 0\n\n"
    retransmitted = "" if method == "ACK" else ' retrans="500"'
    return f"<send{retransmitted}><![CDATA[\n{text}]]></send>\n"


def _refused(code: int, cseq: int, attributes: str = "") -> str:
    return f'<recv response="{code}"{attributes}/>\n' + _send("ACK", cseq, to_tag="[peer_tag_param]")


def calling(*, ends: int = 200, authenticated: bool = False, stays_ms: int = 100, headers: str = "") -> str:
    """A scenario: INVITE, with digest credentials when asked, and a final response that must have this code.

    headers: further lines of the INVITE, each with its end.
    """
    steps, cseq = _send("INVITE", 1, extra=headers), 1
    if authenticated:
        steps += _refused(401, 1, ' auth="true"')
        cseq = 2
        steps += _send("INVITE", cseq, extra=f"[authentication]\n{headers}")
    if ends != 200:
        return _scenario(steps + _refused(ends, cseq))
    steps += '<recv response="100" optional="true"/>\n<recv response="180" optional="true"/>\n<recv response="200"/>\n'
    steps += _send("ACK", cseq, to_tag="[peer_tag_param]")
    steps += f'<pause milliseconds="{stays_ms}"/>\n'
    return _scenario(steps + _send("BYE", cseq + 1, to_tag="[peer_tag_param]") + '<recv response="200"/>\n')


def unanswered() -> str:
    """A scenario: an INVITE, and a second of waiting for anything that is said to it."""
    send = _send("INVITE", 1).replace(' retrans="500"', "")
    return _scenario(f'{send}<recv response="100" timeout="1000" ontimeout="silent"/>\n<label id="silent"/>\n')


def _scenario(steps: str) -> str:
    kind = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
    return f'{kind}<scenario name="glotgate">\n{steps}</scenario>\n'


class Calls:
    """One run of SIPp, in the background until `done`. source: the address that it calls from."""

    def __init__(
        self,
        folder: Path,
        target: str,
        scenario: str,
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
        script.write_text(scenario)
        words = ["sipp", target, "-sf", str(script), "-i", source, "-s", user, "-m", str(count), "-r", str(per_s)]
        words += ["-t", transport, "-au", "pbx", "-ap", password, "-timeout", str(_SECONDS), "-timeout_error"]
        words += ["-recv_timeout", "8000", "-nostdin", "-trace_err", "-error_file", str(folder / "errors")]
        words += [
            "-trace_msg",
            "-message_file",
            str(folder / "messages"),
            "-trace_stat",
            "-stf",
            str(folder / "counts"),
        ]
        self._folder = folder
        with (folder / "screen").open("wb") as screen:
            self._process = subprocess.Popen(words, stdout=screen, stderr=screen, cwd=folder)

    def done(self) -> tuple[int, int]:
        """(calls that went as the scenario says, calls that did not)."""
        try:
            self._process.wait(_SECONDS + 5)
        finally:
            self._process.kill()
        names, *rows = (self._folder / "counts").read_text().splitlines()
        last = dict(zip(names.split(";"), rows[-1].split(";"), strict=False))
        return int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])

    def messages(self) -> str:
        """What went over the wire."""
        return (self._folder / "messages").read_text(errors="replace")
