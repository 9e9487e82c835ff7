"""The sections of the configuration that say who may call, as whom we call, and on which terms: `trunks`.

Owns the shape and the rules of a trunk and of `sip.admission`, and which trunk serves when none is configured.
It refuses to know how a call is admitted (`gateway/sip/admission.py`) or placed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.section import Host, KeyFault, KeyFaults, Network, Section

Codec = Literal["PCMU", "PCMA"]
Transport = Literal["udp", "tcp", "tls"]
Algorithm = Literal["SHA-256", "MD5"]
SrtpPolicy = Literal["disabled", "optional", "mandatory"]
SymmetricPolicy = Literal["off", "auto", "on"]

#: The hash lengths of a stored HA1, in hex digits (RFC 7616 §3.4.2, RFC 8760).
_HA1_DIGITS: Final = {"ha1_md5": 32, "ha1_sha256": 64}
_ALGORITHMS: Final = {"ha1_sha256": "SHA-256", "ha1_md5": "MD5"}
#: Where a call may come from when no trunk is configured: this host and private networks (RFC 1918, RFC 6598,
#: RFC 4193, link-local). The rest of the world has to be named in a trunk.
PRIVATE_NETWORKS: Final = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)


def _header_pattern(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,60}\*?", value):
        raise ValueError(f"{value!r} is no header name, nor the beginning of some with * at its end")
    if not value.lower().startswith("x-") and value.lower() != "reason":
        raise ValueError(f"{value!r} is neither Reason nor an X- header; others are the stack's own")
    return value


HeaderPattern = Annotated[str, AfterValidator(_header_pattern)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Speaker = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
#: What stands in quotes in a header, and before a colon in HA1.
Username = Annotated[str, Field(pattern=r'^[^\x00-\x1f\x7f":\\]{1,64}$')]
Realm = Annotated[str, Field(pattern=r'^[^\x00-\x1f\x7f":\\]{1,64}$')]
UriUser = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.!~*'()&=+$,;?/-]{1,64}$")]


class Admission(Section):
    """How much of strangers is borne. A source on a trunk's allow list is none."""

    per_source_per_s: Annotated[float, Field(ge=0.1, le=10_000)] = 10.0
    burst: Annotated[int, Field(ge=1, le=100_000)] = 50
    strikes: Annotated[int, Field(ge=1, le=10_000)] = 10
    strikes_window_s: Annotated[int, Field(ge=1, le=3600)] = 60
    drop_s: Annotated[int, Field(ge=1, le=604_800)] = 600
    max_sources: Annotated[int, Field(ge=16, le=1_000_000)] = 4096
    nonce_lifetime_s: Annotated[int, Field(ge=10, le=86_400)] = 300


class Credential(Section):
    """A user that may call through the trunk: a password, or what is hashed of it (HA1, RFC 7616 §3.4.2)."""

    username: Username
    password: SecretStr | None = None
    ha1_md5: SecretStr | None = None
    ha1_sha256: SecretStr | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        hashes = {name: getattr(self, name) for name in _HA1_DIGITS if getattr(self, name) is not None}
        if (self.password is None) == (not hashes):
            raise ValueError("password, or ha1_md5 and ha1_sha256 (one or both): one of the two is needed")
        if self.password is not None and not self.password.get_secret_value():
            raise KeyFaults(KeyFault(("password",), "is empty"))
        for name, value in hashes.items():
            if not re.fullmatch(f"[0-9a-fA-F]{{{_HA1_DIGITS[name]}}}", value.get_secret_value()):
                fault = f"must be {_HA1_DIGITS[name]} hex digits: the hash of username:realm:password"
                raise KeyFaults(KeyFault((name,), fault))
        return self

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The digest algorithms that can be checked, the stronger first."""
        return tuple(
            algorithm
            for name, algorithm in _ALGORITHMS.items()
            if self.password is not None or getattr(self, name) is not None
        )


class SessionTimer(Section):
    """RFC 4028: a call whose peer is gone without a word is noticed by the refresh that fails."""

    mode: Literal["off", "optional", "required"] = "optional"
    expires_s: Annotated[int, Field(ge=90, le=86_400)] = 1800
    min_se_s: Annotated[int, Field(ge=90, le=86_400)] = 90

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_se_s > self.expires_s:
            raise KeyFaults(KeyFault(("min_se_s",), f"{self.min_se_s} is above expires_s {self.expires_s}"))
        return self


class Outbound(Section):
    """Where calls of ours go, and who we are there."""

    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    transport: Transport = "udp"
    username: Username | None = None
    password: SecretStr | None = None
    from_user: UriUser | None = None
    from_domain: Host | None = None
    ring_timeout_s: Annotated[int, Field(ge=1, le=600)] = 60

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.username is None) != (self.password is None):
            missing = "password" if self.password is None else "username"
            raise KeyFaults(KeyFault((missing,), "is needed: username and password go together", ("username",)))
        return self

    @property
    def authority(self) -> str:
        """host:port as a SIP URI has it; without the port where the transport's own one serves."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


class Registration(Section):
    """Keeping ourselves registered at a PBX, with the credentials of `outbound`."""

    registrar: Host | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    expires_s: Annotated[int, Field(ge=60, le=86_400)] = 300
    contact_user: UriUser | None = None
    retry_first_s: Annotated[int, Field(ge=1, le=3600)] = 2
    retry_max_s: Annotated[int, Field(ge=1, le=86_400)] = 300

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.retry_first_s > self.retry_max_s:
            fault = f"{self.retry_first_s} is above retry_max_s {self.retry_max_s}"
            raise KeyFaults(KeyFault(("retry_first_s",), fault, ("retry_max_s",)))
        return self


class Trunk(Section):
    """A way in and out. codecs, srtp, symmetric: none means what `sip` and `media` say for all.

    Calls come in from the networks of `allow`, or from anywhere when there are only credentials; a trunk with
    neither is for calls of ours alone.
    """

    name: Word
    allow: tuple[Network, ...] = ()
    realm: Realm = "glotgate"
    credentials: tuple[Credential, ...] = ()
    digest: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("SHA-256", "MD5")
    transports: Annotated[tuple[Transport, ...], Field(min_length=1)] = ("udp", "tcp", "tls")
    codecs: Annotated[tuple[Codec, ...], Field(min_length=1)] | None = None
    srtp: SrtpPolicy | None = None
    symmetric: SymmetricPolicy | None = None
    speaker: Speaker | None = None
    max_calls: Annotated[int, Field(ge=1, le=100_000)] | None = None
    max_calls_per_s: Annotated[float, Field(ge=0.1, le=10_000)] | None = None
    pass_headers: tuple[HeaderPattern, ...] = ("X-*", "Reason")
    refer: Literal["deny", "accept"] = "deny"
    session_timer: SessionTimer = SessionTimer()
    outbound: Outbound | None = None
    registration: Registration | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        faults: list[KeyFault] = []
        if not self.allow and not self.credentials and self.outbound is None:
            faults.append(KeyFault(("allow",), "nobody could use this trunk: give allow, credentials or outbound"))
        users = [credential.username for credential in self.credentials]
        for i, user in enumerate(users):
            if user in users[:i]:
                faults.append(KeyFault(("credentials", i, "username"), f"{user!r} stands here twice"))
        if self.credentials and not self.algorithms:
            fault = f"none of {', '.join(self.digest)} serves all users: give each a password, or the same kind of ha1"
            faults.append(KeyFault(("credentials",), fault))
        if self.registration is not None and self.outbound is None:
            faults.append(KeyFault(("registration",), "needs outbound: where, and as whom"))
        if faults:
            raise KeyFaults(*faults)
        return self

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Those of `digest` that serve every user of the trunk: a challenge is made before one is known."""
        shared = [set(credential.algorithms) for credential in self.credentials]
        return tuple(name for name in self.digest if shared and all(name in some for some in shared))

    @property
    def sources(self) -> tuple[str, ...]:
        """The networks that calls come in from; empty when none do."""
        return self.allow or (("0.0.0.0/0", "::/0") if self.credentials else ())

    def passes(self, header: str) -> bool:
        """Whether a header may go through, in either direction."""
        name = header.lower()
        return any(
            name.startswith(known[:-1]) if known.endswith("*") else name == known
            for known in map(str.lower, self.pass_headers)
        )


#: Who serves when no trunk is configured: a PBX on a private network needs no further word.
IMPLICIT: Final = Trunk(name="default", allow=PRIVATE_NETWORKS)


def in_force(trunks: Sequence[Trunk]) -> tuple[Trunk, ...]:
    """The trunks that serve: those configured, else the implicit one."""
    return tuple(trunks) or (IMPLICIT,)


def exposure(trunks: Sequence[Trunk], hosts: Iterable[str]) -> list[str]:
    """Who may call without a password though nobody was named, in words. hosts: where calls are taken.

    Nothing is said of a daemon that listens on its own host alone.
    """
    if all(host == "localhost" or host.startswith("127.") or host == "::1" for host in hosts):
        return []
    if not trunks:
        return ["no trunk is configured: whoever has a private address may call, without a password"]
    return [
        f"trunk {trunk.name!r} takes calls from the whole internet without a password"
        for trunk in trunks
        if not trunk.credentials and {"0.0.0.0/0", "::/0"} & set(trunk.allow)
    ]


def named(trunks: Sequence[Trunk], name: str) -> Trunk | None:
    """The trunk of that name among those in force."""
    return next((trunk for trunk in in_force(trunks) if trunk.name == name), None)


def clashes(trunks: Sequence[Trunk]) -> list[KeyFault]:
    """What does not go together between trunks; paths are seen from the list.

    Two trunks may share a network when the user who authenticates tells them apart (or the transport does).
    """
    faults: list[KeyFault] = []
    for i, trunk in enumerate(trunks):
        for j, other in enumerate(trunks[:i]):
            if trunk.name == other.name:
                faults.append(KeyFault((i, "name"), f"{trunk.name!r} is the name of trunks[{j}] too"))
            shared = set(trunk.sources) & set(other.sources)
            if shared and set(trunk.transports) & set(other.transports):
                key = "allow" if trunk.allow else "credentials"
                network = min(shared)
                if not (trunk.credentials and other.credentials):
                    fault = f"{network} belongs to trunk {other.name!r} too: only credentials could tell them apart"
                    faults.append(KeyFault((i, key), fault))
                elif trunk.realm != other.realm or set(trunk.algorithms) != set(other.algorithms):
                    fault = f"trunk {other.name!r} takes calls of {network} too: one realm, and one kind of secret"
                    faults.append(KeyFault((i, "realm"), fault, (i, key)))
                elif twice := {c.username for c in trunk.credentials} & {c.username for c in other.credentials}:
                    fault = f"user {min(twice)!r} of {network} belongs to trunk {other.name!r} too"
                    faults.append(KeyFault((i, "credentials"), fault))
    return faults
