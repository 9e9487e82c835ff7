"""Certificates of the TLS transports: whether they can be used, in words, and when they end.

Owns what is asked of the files; opens no connection and reads no clock. Every process that takes up a
configuration asks here before a listener is closed for it: a bad file must change nothing.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from gateway.config import Config
from gateway.configfile import Problem
from gateway.section import KeyPath, dotted
from gateway.transports import Tls

DAY_S: Final = 86_400.0
#: From when on an end that is near is told.
SOON_DAYS: Final = 14.0


def problems(config: Config, file: str, now_unix: float) -> list[Problem]:
    """What keeps the certificates of this configuration from being used; empty without a TLS transport.

    file: what the configuration is called in what is told.
    """
    if not any(bind.transport == "tls" for bind in config.sip.bind):
        return []
    return [
        Problem(file, 0, dotted(("sip", "tls", *path)), reason) for path, reason in _faults(config.sip.tls, now_unix)
    ]


def expiry(path: Path) -> float:
    """When the first certificate of a PEM file ends, in Unix seconds. Raises OSError or ValueError."""
    from cryptography import x509  # here, for it is needed where TLS is only

    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()


def days_left(path: Path, now_unix: float) -> float:
    """Days until it ends, below zero after that. Raises OSError or ValueError."""
    return (expiry(path) - now_unix) / DAY_S


def _faults(tls: Tls, now_unix: float) -> list[tuple[KeyPath, str]]:
    assert tls.certificate is not None  # the configuration's own rule, for both
    assert tls.key is not None
    faults: list[tuple[KeyPath, str]] = []
    for name, path in (("certificate", tls.certificate), ("key", tls.key), ("ca_file", tls.ca_file)):
        if path is not None:
            try:
                path.read_bytes()
            except OSError as error:
                faults.append(((name,), f"{path} can not be read: {error.strerror}"))
    if faults:
        return faults
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if days_left(tls.certificate, now_unix) <= 0:
            faults.append((("certificate",), f"{tls.certificate} has expired"))
        # A passphrase would be asked for on the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    except ValueError as error:
        faults.append((("certificate",), f"{tls.certificate} is no PEM certificate: {error}"))
    except ssl.SSLError as error:
        faults.append((("key",), f"{tls.key} does not go with {tls.certificate}: {error.reason or error}"))
    if tls.ca_file is not None:
        try:
            context.load_verify_locations(tls.ca_file)
        except ssl.SSLError as error:
            faults.append((("ca_file",), f"{tls.ca_file} holds no certificates: {error.reason or error}"))
    return faults
