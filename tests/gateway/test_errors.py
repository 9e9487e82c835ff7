from __future__ import annotations

import http
import re

import pytest

from gateway.errors import Fault, LocalFault, PeerFault, heard


@pytest.mark.parametrize("fault", Fault)
def test_every_row_of_the_table_is_sayable(fault: Fault) -> None:
    outcome = fault.value
    assert outcome.sip == 0 or 400 <= outcome.sip <= 699
    assert outcome.http == 0 or http.HTTPStatus(outcome.http).phrase
    assert outcome.close == 0 or 1000 <= outcome.close <= 1015
    assert re.fullmatch(r"[a-z_]+_(error)|upstream_error", outcome.type)
    assert re.fullmatch(r"[a-z_]+", outcome.code)
    assert fault.label == fault.name.lower()


def test_no_two_faults_are_the_same_member() -> None:
    """Equal values would make one name an alias of the other, and one label would never be counted."""
    assert len({fault.label for fault in Fault}) == len(Fault.__members__)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.SESSION_NOT_FOUND, 404),
        (Fault.SESSION_ENDED, 410),
        (Fault.ORGANIZATION_INACTIVE, 402),
        (Fault.NO_CREDITS, 402),
        (Fault.SERVICE_UNAVAILABLE, 503),
        (Fault.NO_COMMON_CODEC, 488),
        (Fault.BAD_SDP, 488),
        (Fault.STREAM_REFUSED, 504),
        (Fault.STREAM_NOT_READY, 504),
        (Fault.DRAINING, 503),
        (Fault.CANCELLED, 487),
    ],
)
def test_sip_outcomes_of_the_contract(fault: Fault, code: int) -> None:
    assert fault.value.sip == code


def test_an_error_carries_its_fault_and_its_words() -> None:
    for kind in (PeerFault, LocalFault):
        error = kind(Fault.RATE_LIMITED, "slow down", param="x", retry_after_s=3)
        assert (error.fault, str(error), error.param, error.retry_after_s) == (Fault.RATE_LIMITED, "slow down", "x", 3)


def test_what_one_process_tells_another_is_heard_as_it_was() -> None:
    for fault in Fault:
        again = heard(PeerFault(fault, "why", param="x", retry_after_s=3).told())
        expected = fault if fault.value.http else Fault.SERVICE_UNAVAILABLE
        assert (again.fault, again.message, again.param, again.retry_after_s) == (expected, "why", "x", 3)
    for nonsense in (None, [], {"fault": []}, {"fault": "nothing of ours"}):
        assert heard(nonsense).fault is Fault.SERVICE_UNAVAILABLE
