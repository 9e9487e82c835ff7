"""Taking up the certificate of the TLS transports, at the start and again when it may have changed.

Owns the order: what can not be used is found before a listener is closed for it. Refuses to know pjsua2, and what is
asked of a certificate (`gateway/certificates.py`).
"""

from __future__ import annotations

from gateway import certificates
from gateway.config import Config
from gateway.sip import options
from gateway.sip.events import CertificateTaken
from gateway.sip.stack import Stack, StackError


def check(config: Config, now_unix: float) -> CertificateTaken | None:
    """What the transports show, or why they can not; None without a TLS transport."""
    path = config.sip.tls.certificate
    if path is None or not any(bind.transport == "tls" for bind in config.sip.bind):
        return None
    if problems := certificates.problems(config, "", now_unix):
        return CertificateTaken(problem="; ".join(f"{problem.path}: {problem.reason}" for problem in problems))
    return CertificateTaken(certificates.expiry(path))


def renew(stack: Stack, config: Config, now_unix: float) -> CertificateTaken | None:
    """Have the stack show what the configuration names now. With a problem everything stays as it was."""
    taken = check(config, now_unix)
    if taken is None or taken.problem:
        return taken
    try:
        stack.secure(options.tls(config.sip.tls))
    except StackError as error:
        return CertificateTaken(problem=str(error))
    return taken
