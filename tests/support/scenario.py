"""A SIPp scenario written as the steps of a call: what is sent, and what must come back.

Owns the text of the messages and the XML around them. A step that gets anything but what it expects makes the call
fail, and with it the run (`sipp.Calls`).
"""

from __future__ import annotations

from typing import Final, Self
from xml.sax.saxutils import quoteattr

_START: Final = {
    True: "{method} sip:[service]{uri} SIP/2.0",
    False: "{method} {uri} SIP/2.0",
}
_HEAD: Final = """\
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch{back}]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>{to_tag}
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
{extra}"""
_REPLY: Final = """\
SIP/2.0 {code} Whatever
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

"""
_DOCUMENT: Final = """\
<?xml version="1.0" encoding="ISO-8859-1" ?>
<!DOCTYPE scenario SYSTEM "sipp.dtd">
<scenario name="glotgate">
{steps}{variables}</scenario>
"""


def sdp(*attributes: str, audio: str = "40000 RTP/AVP 0", address: str = "[local_ip]", version: int = 1) -> str:
    """A session description. audio: what stands behind `m=audio`. attributes: what stands behind `a=`."""
    lines = ["v=0", f"o=- 1 {version} IN IP4 [local_ip]", "s=-", f"c=IN IP4 {address}", "t=0 0", f"m=audio {audio}"]
    return "\n".join([*lines, *(f"a={value}" for value in attributes)]) + "\n"


class Scenario:
    """Steps in their order. has, lacks: regular expressions (POSIX) that what comes must, or must not, match.

    to_tag: of a dialog that there never was.
    """

    def __init__(self, to_tag: str = "") -> None:
        self._steps: list[str] = []
        self._cseq = 0
        self._began = 0  # the place of the INVITE that is under way: its ACK and CANCEL bear its branch and number
        self._invite = 0
        self._variables: list[str] = []
        self._tag = to_tag

    # What is sent

    def invite(self, body: str | None = None, *, extra: str = "", again: bool = False, uri: str = "") -> Self:
        """body: the offer, "" for none. again: the same request once more, as when it was retransmitted."""
        if not again:
            self._cseq += 1
            self._began, self._invite = len(self._steps), self._cseq
        return self._send("INVITE", sdp() if body is None else body, extra, uri=uri, back=self._back() if again else "")

    def request(self, method: str, body: str = "", *, kind: str = "application/sdp", extra: str = "") -> Self:
        self._cseq += 1
        return self._send(method, body, extra, kind=kind)

    def ack(self, body: str = "", *, same: bool = False) -> Self:
        """same: of a refusal, within the INVITE's own transaction (RFC 3261 §17.1.1.3)."""
        return self._send("ACK", body, back=self._back() if same else "")

    def cancel(self) -> Self:
        """§9.1: the branch and the To of the INVITE."""
        tag, self._tag = self._tag, ""
        self._send("CANCEL", back=self._back())
        self._tag = tag
        return self

    def reply(self, code: int = 200) -> Self:
        """To the request that came last."""
        return self._step(f"<send><![CDATA[\n{_REPLY.format(code=code)}]]></send>")

    def pause(self, milliseconds: int) -> Self:
        return self._step(f'<pause milliseconds="{milliseconds}"/>')

    # What must come

    def expect(self, code: int, *has: str, lacks: str = "", maybe: tuple[int, ...] = (), auth: bool = False) -> Self:
        """A response. maybe: others that may come before it."""
        for other in maybe:
            self._step(f'<recv response="{other}" optional="true"/>')
        options = ' auth="true"' if auth else ""
        self._tag = "[peer_tag_param]"
        return self._recv(f'response="{code}"{options}', has, lacks)

    def answered(self, *has: str, body: str = "") -> Self:
        """200 to an INVITE, and our ACK."""
        return self.expect(200, *has, maybe=(100, 180)).ack(body)

    def refused(self, code: int, *has: str, lacks: str = "", auth: bool = False) -> Self:
        """A final response of 300 or above to an INVITE, and our ACK."""
        self.expect(code, *has, lacks=lacks, maybe=(100, 180), auth=auth).ack(same=True)
        self._tag = ""  # whoever tries again has no dialog yet
        return self

    def rings_reliably(self) -> Self:
        """RFC 3262: 180 with a number, our PRACK of it, and its 200."""
        number = '<ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" assign_to="rseq"/>'
        self.expect(180, "Require: [^\r\n]*100rel", maybe=(100,))
        self._variables.append("rseq")
        self._steps[-1] = self._steps[-1].replace("<action>", f"<action>{number}")
        return self.request("PRACK", extra=f"RAck: [$rseq] {self._invite} INVITE\n").expect(200, "CSeq: [0-9]+ PRACK")

    def comes(self, method: str, *has: str) -> Self:
        """A request of the other side."""
        return self._recv(f'request="{method}"', has, "")

    def bye(self) -> Self:
        return self.request("BYE").expect(200)

    def __str__(self) -> str:
        variables = f'<Reference variables="{",".join(self._variables)}"/>\n' if self._variables else ""
        return _DOCUMENT.format(steps="\n".join([*self._steps, ""]), variables=variables)

    def _send(
        self,
        method: str,
        body: str = "",
        extra: str = "",
        *,
        kind: str = "application/sdp",
        back: str = "",
        uri: str = "",
    ) -> Self:
        number = self._invite if method in ("ACK", "CANCEL") else self._cseq
        start = _START[not uri].format(method=method, uri=uri or "@[remote_ip]:[remote_port]")
        head = _HEAD.format(method=method, back=back, to_tag=self._tag, cseq=number, extra=extra)
        rest = f"Content-Type: {kind}\nContent-Length: [len]\n\n{body}" if body else "Content-Length: 0\n\n"
        again = "" if method == "ACK" else ' retrans="500"'
        return self._step(f"<send{again}><![CDATA[\n{start}\n{head}{rest}]]></send>")

    def _recv(self, what: str, has: tuple[str, ...], lacks: str) -> Self:
        checks = [(pattern, "check_it") for pattern in has] + ([(lacks, "check_it_inverse")] if lacks else [])
        actions = ""
        for pattern, check in checks:
            self._variables.append(f"v{len(self._variables)}")
            name = self._variables[-1]
            actions += f'<ereg regexp={quoteattr(pattern)} search_in="msg" {check}="true" assign_to="{name}"/>'
        inner = f"<action>{actions}</action>" if actions else ""
        return self._step(f"<recv {what}>{inner}</recv>")

    def _back(self) -> str:
        return f"-{len(self._steps) - self._began}"

    def _step(self, text: str) -> Self:
        self._steps.append(text)
        return self
