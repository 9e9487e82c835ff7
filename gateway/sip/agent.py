"""The SIP stack: pjsua2, driven by one thread.

pjsua2 signals and does not carry media: its media transport is the loop transport, which opens no
socket, and every SDP that leaves is the listener's. It runs without threads of its own. Its callbacks
only pass on what happened (`stack.Listener`); a Call object is kept until its last callback and deleted
in it. What a message may be, what a command means and what an SDP says
is decided elsewhere: here is only how pjsua2 is told.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import pjsua2 as pj
from msgspec.structs import replace

from gateway.sip import callbacks, objects, stack
from gateway.sip.callbacks import guarded
from gateway.sip.descriptors import event_polls, silence
from gateway.sip.dialogs import Dialog, State
from gateway.sip.stack import (
    Bind,
    Listener,
    Listening,
    Phase,
    Placement,
    Progress,
    StackError,
    StackOptions,
    TlsOptions,
)

#: pjsip's PJSIP_MAX_TIMED_OUT_ENTRIES, and how often it is asked again at once when that many had expired.
TIMERS_A_POLL: Final = 10
POLLS_AT_ONCE: Final = 32
TRANSPORTS: Final = {
    ("udp", False): pj.PJSIP_TRANSPORT_UDP,
    ("udp", True): pj.PJSIP_TRANSPORT_UDP6,
    ("tcp", False): pj.PJSIP_TRANSPORT_TCP,
    ("tcp", True): pj.PJSIP_TRANSPORT_TCP6,
    ("tls", False): pj.PJSIP_TRANSPORT_TLS,
    ("tls", True): pj.PJSIP_TRANSPORT_TLS6,
}
TLS_VERSIONS: Final = {
    "tls1.2": pj.PJ_SSL_SOCK_PROTO_TLS1_2 | pj.PJ_SSL_SOCK_PROTO_TLS1_3,
    "tls1.3": pj.PJ_SSL_SOCK_PROTO_TLS1_3,
}
PHASES: Final = {
    pj.PJSIP_INV_STATE_EARLY: Phase.EARLY,
    pj.PJSIP_INV_STATE_CONNECTING: Phase.ACCEPTED,
    pj.PJSIP_INV_STATE_CONFIRMED: Phase.CONFIRMED,
    pj.PJSIP_INV_STATE_DISCONNECTED: Phase.OVER,
}


def checked(method: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose pj.Error becomes the border's."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except pj.Error as error:
            raise StackError(error.reason) from error

    return call


class Endpoint(pj.Endpoint):  # type: ignore[misc]
    """The library, and the choice of the account that an INVITE is taken as."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent
        self.listener = agent.listener

    @guarded
    def onSelectAccount(self, prm: Any) -> None:
        prm.accountIndex = self.agent.account_of_invite().getId()


class Account(pj.Account):  # type: ignore[misc]
    """As whom we are; every INVITE outside a dialog comes to one of them."""

    def __init__(self, agent: Agent, ours: stack.Account) -> None:
        super().__init__()
        self.agent = agent
        self.listener = agent.listener
        self.ours = ours

    @guarded
    def onIncomingCall(self, prm: Any) -> None:
        call = Call(self.agent, self, Dialog(0, "", State.INVITED), prm.callId)
        if self.agent.keeps_addresses:
            pj.Transports.keep(prm.callId, prm.rdata)
        self.listener.invited(call, prm.rdata.wholeMsg, prm.rdata.srcAddress)

    @guarded
    def onRegState(self, prm: Any) -> None:
        # An error of the stack's own (no route, no such host) has no response; to the peer it is unavailable.
        code = prm.code if prm.status == 0 and prm.code > 0 else pj.PJSIP_SC_SERVICE_UNAVAILABLE
        self.listener.registered(self.ours.name, code, prm.reason, prm.expiration)


class Call(pj.Call):  # type: ignore[misc]
    """A call of pjsua2's with our dialog."""

    def __init__(self, agent: Agent, account: Account, dialog: Dialog, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(account, call_id)
        self.agent = agent
        self.account = account
        self.listener = agent.listener
        self.dialog = dialog
        self.deadline_s = 0.0
        agent.hold(self)

    @checked
    def respond(self, code: int, reason: str = "", headers: dict[str, str] | None = None, sdp: str = "") -> None:
        self.answer(objects.operation(code, reason, headers, sdp))

    @checked
    def close(self, headers: dict[str, str]) -> None:
        self.hangup(objects.operation(headers=headers))

    @checked
    def reoffer(self) -> None:
        self.reinvite(objects.operation())

    @checked
    def transfer(self, target: str) -> None:
        self.xfer(target, objects.operation())

    @checked
    def request(self, method: str, headers: dict[str, str], content_type: str = "", body: str = "") -> None:
        self.sendRequest(objects.request(method, headers, content_type, body))

    @guarded
    def onCallState(self, prm: Any) -> None:
        info = self.getInfo()
        phase = PHASES.get(info.state)
        if phase:
            progress = Progress(phase, info.lastStatusCode, info.lastReason, _raw(prm.e))
            if phase is Phase.OVER:
                self.agent.release(self)
            self.listener.progressed(self, progress)

    @guarded
    def onCallSdpCreated(self, prm: Any) -> None:
        if ours := self.listener.description(self, bool(prm.remSdp.wholeSdp)):
            prm.sdp.wholeSdp = ours

    @guarded
    def onCallRxReinvite(self, prm: Any) -> None:
        if self.listener.reinvited(self, prm.rdata.wholeMsg):
            prm.isAsync = True
        else:
            prm.statusCode = pj.PJSIP_SC_NOT_ACCEPTABLE_HERE

    @guarded
    def onCallRxOffer(self, prm: Any) -> None:
        """Of an UPDATE, since re-INVITEs are taken above; pjsip wants it answered before it returns."""
        if not self.listener.updated(self, prm.offer.wholeSdp):
            prm.statusCode = pj.PJSIP_SC_NOT_ACCEPTABLE_HERE

    @guarded
    def onCallTsxState(self, prm: Any) -> None:
        transaction = prm.e.body.tsxState
        if transaction.type == pj.PJSIP_EVENT_RX_MSG:
            self.listener.heard(self, transaction.src.rdata.wholeMsg)

    def _ignore(self, prm: Any) -> None:
        """The stack calls these several times a call; overriding them spares it the way back into C++."""

    onCallMediaState = onCallMediaTransportState = onCallMediaEvent = onDtmfEvent = _ignore
    onStreamPreCreate = onStreamCreated = onStreamDestroyed = onCreateMediaTransport = _ignore

    @guarded
    def onCallTransferRequest(self, prm: Any) -> None:
        def place(dialog: Dialog) -> Call:
            made = Call(self.agent, self.account, dialog)
            prm.newCall = made
            return made

        if not self.listener.referred(self, prm.dstUri, place):
            prm.statusCode = pj.PJSIP_SC_DECLINE

    @guarded
    def onCallTransferStatus(self, prm: Any) -> None:
        self.listener.transferred(self, prm.statusCode, prm.reason, prm.finalNotify)


class Agent:
    """pjsua2 as a `stack.Stack`. One for a process: the library is a singleton."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self._accounts: dict[str, Account] = {}
        self._dismissed: list[Account] = []
        self._endpoint = Endpoint(self)
        self._live: set[Call] = set()
        self._descriptors: set[int] = set()
        self._gate = callbacks.gate(listener)
        self._tap = callbacks.tap(listener)
        self._names = callbacks.names(listener)
        self._secured: list[tuple[int, Bind]] = []
        self.keeps_addresses = False  # with several UDP addresses the stack would show the first one of them

    @checked
    def start(self, options: StackOptions) -> Listening:
        before = event_polls()
        with silence():  # it greets on standard output before it can be told not to
            self._endpoint.libCreate()
        built = pj.EpConfig().uaConfig.maxCalls
        writer = callbacks.LogWriter(self.listener).__disown__()
        self._endpoint.libInit(objects.endpoint(options, min(built, options.max_calls), writer))
        if self._gate:
            self._gate.install()
        if self._tap:
            pj.Transports.keepAlive(options.keepalive_s)
            if options.tapped:
                self._tap.install()
            self.keeps_addresses = sum(bind.transport == "udp" for bind in options.binds) > 1
        addresses = [self._bind(bind, options.tls) for bind in options.binds]
        if self._names:
            self._names.install()
        self._endpoint.libStart()
        self._endpoint.audDevManager().setNoDev()
        self._descriptors = event_polls() - before
        for ours in options.accounts:
            self.account(ours)
        version = self._endpoint.libVersion()
        return Listening(addresses, version.full, built, self._gate is not None)

    def _bind(self, bind: Bind, tls: TlsOptions | None) -> str:
        try:
            number = self._endpoint.transportCreate(
                TRANSPORTS[bind.transport, ":" in bind.host], _transport_config(bind, tls)
            )
        except pj.Error as error:
            advertised = f", advertised as {bind.advertise}" if bind.advertise else ""
            raise StackError(f"{bind.transport} {bind.host}:{bind.port}{advertised}: {error.reason}") from error
        address = self._endpoint.transportGetInfo(number).localAddress
        if bind.transport == "tls":
            self._secured.append((number, replace(bind, port=int(address.rpartition(":")[2]))))
        return f"{bind.transport} {address}"

    @checked
    def secure(self, tls: TlsOptions) -> None:
        if not self._tap:
            raise StackError("this pjsua2 build takes another certificate with a restart only")
        for number, bind in self._secured:
            pj.Transports.restart(number, _transport_config(bind, tls))

    @checked
    def account(self, ours: stack.Account) -> None:
        settings = objects.account(ours, self._contact(ours))
        if known := self._accounts.get(ours.name):
            known.modify(settings)
            known.ours = ours
            return
        account = Account(self, ours)
        account.create(settings, not ours.name)
        self._accounts[ours.name] = account

    @checked
    def dismiss(self, account: str) -> None:
        if gone := self._accounts.pop(account, None):
            gone.modify(objects.account(replace(gone.ours, registrar="", contact_user="")))  # it has left already
            self._dismissed.append(gone)

    def _bury(self) -> None:
        """Delete the C++ half of accounts that no call refers to any more; the stack may give their numbers again."""
        used = {call.account for call in self._live}
        for account in [account for account in self._dismissed if account not in used]:
            self._dismissed.remove(account)
            pj.Account.__swig_destroy__(account)

    def _named(self, account: str) -> Account:
        found = self._accounts.get(account)
        if found is None:
            raise StackError(f"there is no account {account}")
        return found

    def _contact(self, ours: stack.Account) -> str:
        """Our Contact, where the registrar is to call us by another name than the one that we log in with."""
        if not ours.contact_user:
            return ""
        for number in self._endpoint.transportEnum():
            info = self._endpoint.transportGetInfo(number)
            if info.typeName.lower().startswith(ours.transport):
                return f"<sip:{ours.contact_user}@{info.localName};transport={ours.transport}>"
        raise StackError(f"account {ours.name} wants {ours.transport}, which is not bound")

    def descriptors(self) -> set[int]:
        return self._descriptors

    def poll(self, timeout_ms: int) -> None:
        """pjsip lets few timers expire at a time, and each transaction keeps its memory until its timer does."""
        for _ in range(POLLS_AT_ONCE):
            if self._endpoint.libHandleEvents(timeout_ms) < TIMERS_A_POLL:
                break
            timeout_ms = 0
        if self._dismissed:
            self._bury()

    def account_of_invite(self) -> Account:
        """The account that the door has chosen for the INVITE that is being let in."""
        return self._accounts.get(self._gate.chosen if self._gate else "", self._accounts[""])

    @checked
    def dial(self, dialog: Dialog, order: Placement) -> Call:
        call = Call(self, self._named(order.account), dialog)
        operation = objects.operation(headers=order.headers, sip_call_id=order.sip_call_id)
        operation.txOption.localUri = f"<{order.from_uri}>" if order.from_uri else ""
        try:
            call.makeCall(order.uri, operation)
        except pj.Error:
            if call in self._live:  # else its last callback has been, within
                self.release(call)
            raise
        return call

    @checked
    def register(self, account: str, active: bool) -> None:
        self._named(account).setRegistration(active)

    @checked
    def named(self, name: str, addresses: list[str], good_s: int) -> None:
        if self._names:
            pj.HostNames.answer(name, pj.StringVector(addresses), good_s)

    @checked
    def stop(self) -> None:
        self._live.clear()
        self._endpoint.libDestroy(pj.PJSUA_DESTROY_NO_NETWORK)

    def hold(self, call: Call) -> None:
        """Keep a call referenced: pjsua2 calls into it as long as it lives."""
        self._live.add(call)

    def release(self, call: Call) -> None:
        """Delete the C++ half of a call that is over, within its last callback, which pjsua2 allows.

        Later would be too late: its destructor hangs up whatever call has the same number, and pjsua may give
        that number to the next INVITE of the same poll.
        """
        self._live.discard(call)
        pj.Call.__swig_destroy__(call)


def _transport_config(bind: Bind, tls: TlsOptions | None) -> Any:
    config = pj.TransportConfig()
    config.boundAddress, config.port, config.publicAddress = bind.host, bind.port, bind.advertise
    if bind.transport == "tls" and tls is not None:
        ours = config.tlsConfig
        ours.certFile, ours.privKeyFile, ours.CaListFile = tls.certificate, tls.key, tls.ca_file
        ours.proto = TLS_VERSIONS[tls.minimum]
        ours.verifyServer = bool(tls.ca_file)
        ours.verifyClient = tls.client_certificates != "off"
        ours.requireClientCert = tls.client_certificates == "required"
    return config


def _raw(event: Any) -> str:
    """The message received that is behind an event of the stack, "" when there is none."""
    if event.type == pj.PJSIP_EVENT_RX_MSG:
        return str(event.body.rxMsg.rdata.wholeMsg)
    if event.type == pj.PJSIP_EVENT_TSX_STATE and event.body.tsxState.type == pj.PJSIP_EVENT_RX_MSG:
        return str(event.body.tsxState.src.rdata.wholeMsg)
    return ""
