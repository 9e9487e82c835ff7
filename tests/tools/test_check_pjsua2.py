"""The judgement on a built pjsua2: each fault that would make it unfit is named."""

from __future__ import annotations

from lib import check_pjsua2

FIT = "                 U SSL_CTX_new@OPENSSL_3.0.0\n                 U epoll_wait@GLIBC_2.3.2\n"


def test_a_fit_build_has_no_faults() -> None:
    assert check_pjsua2.symbol_faults(FIT) == []


def test_each_fault_is_named() -> None:
    assert "assert build" in check_pjsua2.symbol_faults(FIT + " U __assert_fail@GLIBC_2.2.5\n")[0]
    assert [fault.split(":")[0] for fault in check_pjsua2.symbol_faults("")] == [
        "it has no TLS",
        "it polls with select, which ends at 1024 sockets",
    ]
