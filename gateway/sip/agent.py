"""The SIP stack: the only import of pjsua2, driven by one thread.

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

from gateway.sip import headers
from gateway.sip.descriptors import event_polls, silence
from gateway.sip.dialogs import Dialog, State
from gateway.sip.stack import (
    Bind,
    Listener,
    Listening,
    Phase,
    Progress,
    Request,
    StackError,
    StackOptions,
    TlsOptions,
    Wire,
)

#: pjsip's log levels: 1 errors, 2 warnings; what is above is for pjsip's developers.
LOG_LEVEL: Final = 2
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


def guarded(method: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """A callback whose defect is told: an exception must not unwind through the C stack."""

    @wraps(method)
    def call(self: Any, prm: Any) -> None:
        try:
            method(self, prm)
        except Exception as error:
            self.listener.faulted(method.__name__, error)

    return call


def checked(method: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose pj.Error becomes the border's."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except pj.Error as error:
            raise StackError(error.reason) from error

    return call


class LogWriter(pj.LogWriter):  # type: ignore[misc]
    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self.listener = listener

    @guarded
    def write(self, entry: Any) -> None:
        self.listener.logged(entry.level, headers.one_line(entry.msg, 400))


if hasattr(pj, "RequestGate"):

    class Gate(pj.RequestGate):  # type: ignore[misc]
        """The door of the build of tools/build-pjsua2: requests before pjsua sees them."""

        def __init__(self, listener: Listener) -> None:
            super().__init__()
            self.listener = listener

        @guarded
        def onRequest(self, prm: Any) -> None:
            verdict = self.listener.asked(
                Request(prm.method, prm.source, prm.port, prm.transport, prm.toTag, prm.inDialog, prm.wholeMsg)
            )
            if verdict.code:
                prm.code, prm.reason = verdict.code, verdict.reason
                _add_headers(prm.headers, verdict.headers)
                for challenge in verdict.challenges:
                    _add_headers(prm.headers, {"WWW-Authenticate": challenge})


if hasattr(pj, "MessageTap"):

    class Tap(pj.MessageTap):  # type: ignore[misc]
        """The wire of the same build."""

        def __init__(self, listener: Listener) -> None:
            super().__init__()
            self.listener = listener

        @guarded
        def onMessage(self, prm: Any) -> None:
            local, remote = (prm.localHost, prm.localPort), (prm.remoteHost, prm.remotePort)
            self.listener.wired(Wire(prm.sent, prm.transport, local, remote, prm.callId, prm.wholeMsg))


class Account(pj.Account):  # type: ignore[misc]
    """The one local account: every INVITE outside a dialog comes here."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent
        self.listener = agent.listener

    @guarded
    def onIncomingCall(self, prm: Any) -> None:
        call = Call(self.agent, Dialog(0, "", State.INVITED), prm.callId)
        self.listener.invited(call, prm.rdata.wholeMsg, prm.rdata.srcAddress)


class Call(pj.Call):  # type: ignore[misc]
    """A call of pjsua2's with our dialog."""

    def __init__(self, agent: Agent, dialog: Dialog, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(agent.account, call_id)
        self.agent = agent
        self.listener = agent.listener
        self.dialog = dialog
        self.deadline_s = 0.0
        agent.hold(self)

    @checked
    def respond(self, code: int, reason: str = "", headers: dict[str, str] | None = None, sdp: str = "") -> None:
        self.answer(_operation(code, reason, headers, sdp))

    @checked
    def close(self, headers: dict[str, str]) -> None:
        self.hangup(_operation(headers_=headers))

    @checked
    def reoffer(self) -> None:
        self.reinvite(_operation())

    @checked
    def transfer(self, target: str) -> None:
        self.xfer(target, _operation())

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
        prm.statusCode = pj.PJSIP_SC_DECLINE  # pjsua would dial by itself
        self.listener.referred(self, prm.dstUri)


class Agent:
    """pjsua2 as a `stack.Stack`. One for a process: the library is a singleton."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.account: Account
        self._endpoint = pj.Endpoint()
        self._live: set[Call] = set()
        self._descriptors: set[int] = set()
        self._gate = Gate(listener) if hasattr(pj, "RequestGate") else None
        self._tap = Tap(listener) if hasattr(pj, "MessageTap") else None
        self._secured: list[tuple[int, Bind]] = []

    @checked
    def start(self, options: StackOptions) -> Listening:
        before = event_polls()
        with silence():  # it greets on standard output before it can be told not to
            self._endpoint.libCreate()
        built = pj.EpConfig().uaConfig.maxCalls
        self._endpoint.libInit(self._endpoint_config(min(built, options.max_calls)))
        if self._gate:
            self._gate.install()
        if self._tap:
            pj.Transports.keepAlive(options.keepalive_s)
            if options.tapped:
                self._tap.install()
        addresses = [self._bind(bind, options.tls) for bind in options.binds]
        self._endpoint.libStart()
        self._endpoint.audDevManager().setNoDev()
        self._descriptors = event_polls() - before
        self.account = Account(self)
        self.account.create(_account_config(options.advertise or options.binds[0].host))
        version = self._endpoint.libVersion()
        return Listening(addresses, version.full, built, self._gate is not None)

    def _endpoint_config(self, max_calls: int) -> Any:
        config = pj.EpConfig()
        user_agent, media, log = config.uaConfig, config.medConfig, config.logConfig
        user_agent.threadCnt = 0
        user_agent.mainThreadOnly = True
        user_agent.maxCalls = max_calls
        user_agent.userAgent = "glotgate"
        user_agent.mwiUnsolicitedEnabled = False
        user_agent.natTypeInSdp = 0
        media.clockRate = media.sndClockRate = 8000
        media.threadCnt = 0
        media.hasIoqueue = False  # one event descriptor for all, and nothing of the media's to poll
        media.noVad = True
        log.msgLogging = 0
        log.level = log.consoleLevel = LOG_LEVEL
        log.decor = 0
        log.writer = LogWriter(self.listener).__disown__()  # the endpoint deletes it
        return config

    def _bind(self, bind: Bind, tls: TlsOptions | None) -> str:
        try:
            number = self._endpoint.transportCreate(
                TRANSPORTS[bind.transport, ":" in bind.host], _transport_config(bind, tls)
            )
        except pj.Error as error:
            advertised = f", advertised as {bind.advertise}" if bind.advertise else ""
            raise StackError(f"{bind.transport} {bind.host}:{bind.port}{advertised}: {error.reason}") from error
        if bind.transport == "tls":
            self._secured.append((number, bind))
        return f"{bind.transport} {self._endpoint.transportGetInfo(number).localAddress}"

    @checked
    def secure(self, tls: TlsOptions) -> None:
        for number, bind in self._secured:
            pj.Transports.restart(number, _transport_config(bind, tls))

    def descriptors(self) -> set[int]:
        return self._descriptors

    def poll(self, timeout_ms: int) -> None:
        self._endpoint.libHandleEvents(timeout_ms)

    @checked
    def dial(self, dialog: Dialog, uri: str, headers: dict[str, str]) -> Call:
        call = Call(self, dialog)
        try:
            call.makeCall(uri, _operation(headers_=headers))
        except pj.Error:
            self.release(call)
            raise
        return call

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


def _account_config(host: str) -> Any:
    config = pj.AccountConfig()
    config.idUri = f"sip:glotgate@[{host}]" if ":" in host else f"sip:glotgate@{host}"
    media, nat, calls = config.mediaConfig, config.natConfig, config.callConfig
    media.useLoopMedTp = True  # no socket per call
    media.enableLoopback = False
    media.lockCodecEnabled = False
    media.srtpUse = pj.PJMEDIA_SRTP_OPTIONAL  # with it off, RTP/SAVP is refused before anybody is asked
    media.srtpSecureSignaling = 0
    media.ipv6Use = pj.PJSUA_IPV6_ENABLED
    nat.contactRewriteUse = nat.viaRewriteUse = nat.sdpNatRewriteUse = nat.sipOutboundUse = 0
    nat.udpKaIntervalSec = 0
    calls.timerUse = pj.PJSUA_SIP_TIMER_OPTIONAL
    calls.prackUse = pj.PJSUA_100REL_NOT_USED
    return config


def _operation(code: int = 0, reason: str = "", headers_: dict[str, str] | None = None, sdp: str = "") -> Any:
    operation = pj.CallOpParam()
    if code:
        operation.statusCode = code
    operation.reason = reason
    operation.sdp.wholeSdp = sdp
    _add_headers(operation.txOption.headers, headers_ or {})
    return operation


def _add_headers(vector: Any, values: dict[str, str]) -> None:
    for name, value in values.items():
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        vector.append(header)


def _raw(event: Any) -> str:
    """The message received that is behind an event of the stack, "" when there is none."""
    if event.type == pj.PJSIP_EVENT_RX_MSG:
        return str(event.body.rxMsg.rdata.wholeMsg)
    if event.type == pj.PJSIP_EVENT_TSX_STATE and event.body.tsxState.type == pj.PJSIP_EVENT_RX_MSG:
        return str(event.body.tsxState.src.rdata.wholeMsg)
    return ""
