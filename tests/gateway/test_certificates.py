"""What keeps a certificate from being used is named before anything is closed for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway import certificates
from gateway.config import Config
from tests.support.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def _problems(certificate: Path, key: Path, ca: Path | None = None) -> list[tuple[str, str]]:
    tls = {"certificate": str(certificate), "key": str(key)} | ({"ca_file": str(ca)} if ca else {})
    sip = {"bind": [{"transport": "tls", "address": "127.0.0.1:5061"}], "tls": tls}
    config = Config.model_validate({"sip": sip})
    return [(problem.path, problem.reason) for problem in certificates.problems(config, "f.yaml", time.time())]


def test_a_good_pair_has_none(authority: Authority) -> None:
    pair = authority.issue("good", days=10)
    assert _problems(*pair, authority.file) == []
    assert 9.9 < certificates.days_left(pair.certificate, time.time()) <= 10


def test_without_a_tls_transport_nobody_looks() -> None:
    tls = {"certificate": "/nowhere", "key": "/nowhere"}
    assert certificates.problems(Config.model_validate({"sip": {"tls": tls}}), "f", 0.0) == []


def test_what_is_wrong_is_named(authority: Authority, tmp_path: Path) -> None:
    good, other, old = authority.issue("one"), authority.issue("other"), authority.issue("old", days=-1)
    empty = tmp_path / "empty.pem"
    empty.write_text("")

    (missing,) = _problems(good.certificate, tmp_path / "nokey")
    assert missing[0] == "sip.tls.key"
    assert "can not be read: No such file" in missing[1]
    ((path, reason),) = _problems(good.certificate, other.key)
    assert path == "sip.tls.key"
    assert "does not go with" in reason
    ((path, reason),) = _problems(*old)
    assert path == "sip.tls.certificate"
    assert "has expired" in reason
    ((path, reason),) = _problems(empty, good.key)
    assert path == "sip.tls.certificate"
    assert "no PEM certificate" in reason
    ((path, reason),) = _problems(*good, empty)
    assert path == "sip.tls.ca_file"
    assert "holds no certificates" in reason


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(authority: Authority, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    pair = authority.issue("sealed")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    sealed = tmp_path / "sealed.key"
    best = serialization.BestAvailableEncryption(b"secret")
    sealed.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, best))
    ((path, _),) = _problems(pair.certificate, sealed)
    assert path == "sip.tls.key"
