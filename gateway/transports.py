"""The part of the configuration that says where SIP is spoken, what secures it, who may look on, and when to refuse.

Owns sections and what must hold between their keys; opens no socket and reads no certificate
(`gateway/certificates.py` does).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.section import Host, HostPort, KeyFault, KeyFaults, Section


class SipBind(Section):
    """One listening transport of the user agent. advertise: what its Contact and Via show instead of the address."""

    transport: Literal["udp", "tcp", "tls"] = "udp"
    address: HostPort = "0.0.0.0:5060"
    advertise: Host | None = None


class Tls(Section):
    """What the TLS transports show, and whom they believe. The key's file protects it: it has no passphrase."""

    certificate: Path | None = None
    key: Path | None = None
    ca_file: Path | None = None
    client_certificates: Literal["off", "optional", "required"] = "off"
    minimum: Literal["tls1.2", "tls1.3"] = "tls1.2"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        faults = []
        if self.certificate and not self.key:
            faults.append(KeyFault(("key",), "is needed with a certificate", ("certificate",)))
        if self.key and not self.certificate:
            faults.append(KeyFault(("certificate",), "is needed with a key", ("key",)))
        if self.client_certificates != "off" and not self.ca_file:
            faults.append(KeyFault(("ca_file",), "says which clients' certificates count", ("client_certificates",)))
        if faults:
            raise KeyFaults(*faults)
        return self


class Homer(Section):
    """HEP3 export of every SIP message. agent: our number among the capture agents of a site."""

    address: HostPort | None = None
    agent: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = 2001


class Trace(Section):
    """SIP messages that are kept, the latest of each call, within a bound for all calls together; 0: none."""

    memory_kb: Annotated[int, Field(ge=0, le=1_048_576)] = 4096
    messages_per_call: Annotated[int, Field(ge=1, le=1000)] = 40
    homer: Homer = Homer()


class Overload(Section):
    """When new calls are refused for the sake of the running ones: after so many seconds in which one of the limits
    was passed, and until as many as `recover_s` were well below all of them."""

    enabled: bool = True
    late_ms: Literal[1, 2, 3, 4, 6, 8, 12, 20, 50] = 12
    late_percent: Annotated[float, Field(gt=0, le=100)] = 10.0
    cpu_percent: Annotated[float, Field(gt=0, le=100)] = 98.0
    after_s: Annotated[int, Field(ge=1, le=60)] = 3
    recover_s: Annotated[int, Field(ge=1, le=600)] = 10


def tls_faults(binds: tuple[SipBind, ...], tls: Tls) -> list[KeyFault]:
    """A TLS transport without a certificate to show, as seen from the section that holds both."""
    wanting = [i for i, bind in enumerate(binds) if bind.transport == "tls"]
    if not wanting or tls.certificate:
        return []
    return [KeyFault(("tls", "certificate"), "is needed with transport: tls", ("bind", wanting[0], "transport"))]
