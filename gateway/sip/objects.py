"""pjsua2's parameter objects, made from our own structs.

Owns what every setting is and why. Refuses to know calls and events: those are `agent.py`'s and `callbacks.py`'s, the
only other modules that meet pjsua2.
"""

from __future__ import annotations

from typing import Any, Final

import pjsua2 as pj

from gateway.sip.stack import Account, StackOptions

#: pjsip's log levels: 1 errors, 2 warnings; what is above is for pjsip's developers.
LOG_LEVEL: Final = 2
_TIMERS: Final = {
    "off": pj.PJSUA_SIP_TIMER_INACTIVE,
    "optional": pj.PJSUA_SIP_TIMER_OPTIONAL,
    "required": pj.PJSUA_SIP_TIMER_REQUIRED,
}


def endpoint(options: StackOptions, max_calls: int, log_writer: Any) -> Any:
    """pj.EpConfig. log_writer: the endpoint deletes it."""
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
    log.writer = log_writer
    return config


def account(ours: Account, contact: str = "") -> Any:
    """pj.AccountConfig. contact: the URI of our Contact, "" for the stack's own."""
    config = pj.AccountConfig()
    config.idUri = f"<{ours.uri}>"  # else its parameters would be the header's (RFC 3261 §20.10)
    media, nat, calls = config.mediaConfig, config.natConfig, config.callConfig
    media.useLoopMedTp = True  # no socket per call
    media.enableLoopback = False
    media.lockCodecEnabled = False
    media.srtpUse = pj.PJMEDIA_SRTP_OPTIONAL  # with it off, RTP/SAVP is refused before anybody is asked
    media.srtpSecureSignaling = 0
    media.ipv6Use = pj.PJSUA_IPV6_ENABLED
    nat.contactRewriteUse = nat.viaRewriteUse = nat.sdpNatRewriteUse = nat.sipOutboundUse = 0
    nat.udpKaIntervalSec = 0
    calls.timerUse = _TIMERS[ours.timer.mode]
    calls.timerSessExpiresSec = ours.timer.expires_s
    calls.timerMinSESec = ours.timer.min_se_s
    calls.prackUse = pj.PJSUA_100REL_OPTIONAL if ours.prack else pj.PJSUA_100REL_NOT_USED
    if ours.username:
        config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", ours.username, 0, ours.password))
    config.sipConfig.contactForced = contact
    registration = config.regConfig
    # When, and when again, is `registration.py`'s to say; and when to leave.
    registration.registerOnAdd, registration.disableRegOnModify = False, True
    registration.retryIntervalSec = registration.firstRetryIntervalSec = 0
    registration.registrarUri = ours.registrar
    registration.timeoutSec = ours.expires_s
    return config


def operation(
    code: int = 0, reason: str = "", headers: dict[str, str] | None = None, sdp: str = "", sip_call_id: str = ""
) -> Any:
    """pj.CallOpParam of an answer, a hang-up or a new call."""
    made = pj.CallOpParam(bool(sip_call_id))  # True: with the usual settings, which a Call-ID of ours is one of
    if code:
        made.statusCode = code
    made.reason = reason
    made.sdp.wholeSdp = sdp
    if sip_call_id:
        made.opt.customCallId = sip_call_id
    add_headers(made.txOption.headers, headers or {})
    return made


def request(method: str, headers: dict[str, str], content_type: str = "", body: str = "") -> Any:
    """pj.CallSendRequestParam of a request within a dialog."""
    made = pj.CallSendRequestParam()
    made.method = method
    made.txOption.contentType, made.txOption.msgBody = content_type, body
    add_headers(made.txOption.headers, headers)
    return made


def add_headers(vector: Any, values: dict[str, str]) -> None:
    for name, value in values.items():
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        vector.append(header)
