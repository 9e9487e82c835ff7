"""The configuration as the SIP stack takes it: what it binds, shows and may carry.

Pure translation. Refuses to know pjsua2 and to open a file.
"""

from __future__ import annotations

from typing import Final

from gateway.config import Config
from gateway.section import split_host_port
from gateway.sip.accounts import accounts
from gateway.sip.events import AgentReady
from gateway.sip.stack import Bind, Listening, StackOptions, TlsOptions
from gateway.transports import SipBind, Tls
from gateway.trunks import in_force

#: Call slots above the capacity: refusing a call needs one, and a slot is not reused before its last call
#: has been let go of.
SPARE_CALLS: Final = 128
#: Below this a build is for a look only (the wheel on PyPI takes 4 calls and ends on a bad message).
FIT_CALLS: Final = 64
FIT_VERSION: Final = (2, 17)


def of(config: Config) -> StackOptions:
    """What the stack is started with."""
    sip = config.sip
    secured = any(bind.transport == "tls" for bind in sip.bind)
    return StackOptions(
        binds=tuple(_bind(bind, sip.advertise or "") for bind in sip.bind),
        advertise=sip.advertise or "",
        max_calls=config.media.capacity * 5 // 4 + SPARE_CALLS,
        tls=tls(sip.tls) if secured else None,
        keepalive_s=sip.keepalive_s,
        accounts=accounts(in_force(config.trunks), sip.advertise or split_host_port(sip.bind[0].address)[0]),
        tapped=bool(sip.trace.memory_kb or sip.trace.homer.address),
    )


def ready(listening: Listening) -> AgentReady:
    """What the controller is told of the stack that runs."""
    built = listening.built_calls
    version = tuple(int(part) for part in listening.version.split("-")[0].split(".")[:2])
    return AgentReady(
        listening=listening.addresses,
        version=listening.version,
        max_calls=built if built < FIT_CALLS else built - SPARE_CALLS,
        fit_for_network=built >= FIT_CALLS and version >= FIT_VERSION,
    )


def tls(section: Tls) -> TlsOptions:
    """What the TLS transports show and ask for."""
    return TlsOptions(
        str(section.certificate or ""),
        str(section.key or ""),
        str(section.ca_file or ""),
        section.client_certificates,
        section.minimum,
    )


def _bind(bind: SipBind, advertise: str) -> Bind:
    """A name may stand for addresses of either family; an address only for those of its own."""
    shown = bind.advertise or advertise
    host, port = split_host_port(bind.address)
    if not bind.advertise and _is_address(shown) and (":" in shown) != (":" in host):
        shown = ""
    return Bind(bind.transport, host, port, shown)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
