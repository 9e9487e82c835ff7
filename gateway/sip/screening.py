"""Who is let in to the stack: the door's judgement of a request that belongs to nothing yet.

Owns what is answered without a dialog (OPTIONS, methods that are not served, messages that are not fit
for one) and the reading of an INVITE, once. It refuses to know the stack and the controller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from gateway.sip import headers
from gateway.sip.admission import Admission, Ruling
from gateway.sip.dialogs import Dialog
from gateway.sip.events import Invited, Reject
from gateway.sip.headers import Defect, Message, Refused, Uri
from gateway.sip.stack import LET_IN, Request, Verdict

#: What `Allow` says: the stack serves these in a dialog, and INVITE and OPTIONS outside.
ALLOW: Final = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO, PRACK, REFER, NOTIFY"
ACCEPT: Final = "application/sdp, application/dtmf-relay"
#: Option tags that a request may require (RFC 3261 §8.2.2.3).
SUPPORTED: Final = ("100rel", "timer", "norefersub")
#: Counters of what a stranger is blamed for: a PBX does none of it often.
BLAMED: Final = ("no_dialog", "not_allowed", "refused")


class Seen(Struct, frozen=True):
    """An INVITE as it was read. offer: its SDP."""

    request_uri: str
    uri: Uri
    message: Message
    offer: str | None


class Door:
    """ready, retry_after_s: what OPTIONS is told; not ready until somebody says so."""

    def __init__(self, max_bytes: int, retry_after_s: int, admission: Admission) -> None:
        self.max_bytes = max_bytes
        self.ready = False
        self.admission = admission
        self.retry_after_s = retry_after_s
        self._last: tuple[str, Seen] | None = None

    def judge(self, request: Request, now: float, running: Callable[[str], int]) -> tuple[Verdict, tuple[str, ...]]:
        """The verdict, and the names of the counters that it moves. running: calls of a trunk.

        Who is in a dialog has been let in before; everybody else is asked where he comes from, before a look at
        what he brings. The verdict of an INVITE that is let in names its trunk.
        """
        if request.method == "ACK":
            return LET_IN, ()
        if request.in_dialog:
            return (self._options(), ("options",)) if request.method == "OPTIONS" else (LET_IN, ())
        cancel = request.method == "CANCEL"
        ruling = self.admission.source(request.source, request.transport.lower(), now, costs=not cancel)
        if ruling.verdict is not LET_IN or cancel:
            return ruling.verdict, ruling.counters
        verdict, moved = self._judge(request, ruling, now, running)
        if moved and moved[0] in BLAMED and not ruling.known:
            moved += self.admission.blame(request.source, moved[-1], now)
        return verdict, moved

    def _judge(
        self, request: Request, ruling: Ruling, now: float, running: Callable[[str], int]
    ) -> tuple[Verdict, tuple[str, ...]]:
        if request.claims_dialog:  # §12.2.2
            return Verdict(481), ("no_dialog",)
        if request.method not in ("INVITE", "OPTIONS"):  # §8.2.1
            return Verdict(405, headers={"Allow": ALLOW}), ("not_allowed",)
        try:
            seen = self.look(request.raw)
        except Refused as error:
            return refuse(error), ("refused", f"refused_{error.defect.label}")
        if request.method == "OPTIONS":
            greeted = self.admission.options(ruling, request.source, seen.request_uri, seen.message, now)
            if greeted.verdict.code != LET_IN.code:
                return greeted.verdict, ("options", *greeted.counters)
            return self._options(), ("options",)
        admitted = self.admission.call(ruling, request.source, seen.request_uri, seen.message, now, running)
        if admitted.verdict.code == LET_IN.code:
            self._last = (request.raw, seen)
        return admitted.verdict, admitted.counters

    def look(self, raw: str) -> Seen:
        """Read a request; an INVITE that was let in a moment ago is not read twice. Raises Refused."""
        if self._last and self._last[0] == raw:
            return self._last[1]
        message, offer = headers.inspect(raw, self.max_bytes)
        request_uri = message.start.split(" ")[1]
        if not request_uri.lower().startswith(("sip:", "sips:")):
            raise Refused(Defect.UNSUPPORTED_SCHEME)
        if "?" in request_uri.rpartition("@")[2]:  # §19.1.1: headers have no place in a Request-URI
            raise Refused(Defect.BAD_URI, "it carries headers")
        try:
            uri = headers.parse_uri(request_uri)
        except ValueError as error:
            raise Refused(Defect.BAD_URI, str(error)) from error
        required = {tag.strip() for value in message.all("require") for tag in value.split(",")} - {""}
        if unknown := sorted(tag for tag in required if tag not in SUPPORTED):
            raise Refused(Defect.BAD_EXTENSION, ", ".join(unknown)[:100])
        if message.get("replaces") is not None:  # RFC 3891 §3: nobody picks up a call of somebody else's
            raise Refused(Defect.REPLACES, "a call is not replaced from outside")
        return Seen(request_uri, uri, message, offer)

    def _options(self) -> Verdict:
        """RFC 3261 §11.2; 503 with Retry-After (§21.5.4) lets a PBX take us out of its trunk group."""
        if not self.ready:
            return Verdict(503, headers={"Retry-After": str(self.retry_after_s)})
        return Verdict(200, headers={"Allow": ALLOW, "Accept": ACCEPT, "Supported": ", ".join(SUPPORTED)})


def invitation(dialog: Dialog, seen: Seen, source: str) -> Invited:
    """An INVITE as the controller is told of it. source: `host:port`."""
    message, uri = seen.message, seen.uri
    return Invited(
        dialog=dialog.id,
        sip_call_id=dialog.sip_call_id,
        transport=_transport(message.get("via") or ""),
        source=source,
        request_uri=seen.request_uri,
        user=uri.user,
        uri_parameters=uri.parameters,
        from_uri=headers.without_parameters(message.get("from") or ""),
        to_uri=headers.without_parameters(message.get("to") or ""),
        headers=message.told(),
        sdp=seen.offer,
        trunk=dialog.trunk,
    )


def late_request(dialog: Dialog, raw: str) -> Request:
    """An INVITE that came past the door, as the door would have been shown it."""
    return Request("INVITE", dialog.source, 0, _transport(headers.value_of(raw, "via")), False, False, raw)


def _transport(via: str) -> str:
    return via.partition(" ")[0].rpartition("/")[2].lower()


def rejection(dialog: Dialog, verdict: Verdict) -> Reject:
    """A verdict on a call that the stack has already. It can not be dropped any more, and carries one challenge."""
    told = dict(verdict.headers)
    if verdict.challenges:
        told["WWW-Authenticate"] = verdict.challenges[0]
    return Reject(dialog.id, verdict.code if verdict.code > 0 else 403, verdict.reason, told)


def refuse(error: Refused) -> Verdict:
    """How a message that is not taken is answered."""
    defect = error.defect
    told = {}
    if defect is Defect.BAD_EXTENSION:
        told["Unsupported"] = headers.one_line(error.detail)
    elif defect is Defect.BAD_CONTENT_TYPE:  # §21.4.13
        told["Accept"] = ACCEPT
    elif error.detail:
        quoted = headers.one_line(error.detail, 100).replace("\\", "").replace('"', "'")
        told["Warning"] = f'399 glotgate "{quoted}"'
    return Verdict(defect.code, defect.words, told)
