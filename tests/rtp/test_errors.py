import re

from rtp.errors import IS_BAD, LABELS, RejectReason


def test_codes_are_dense_and_fit_an_octet() -> None:
    assert [int(reason) for reason in RejectReason] == list(range(len(RejectReason)))
    assert len(RejectReason) < 256


def test_labels_are_metric_labels_in_code_order() -> None:
    assert [reason.label for reason in RejectReason] == list(LABELS)
    assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in LABELS)
    assert len(set(LABELS)) == len(LABELS)


def test_what_counts_as_a_bad_packet() -> None:
    good = {"ok", "rtcp", "stranger", "bad_sequence", "duplicate", "late", "not_receiving"}
    assert {r.label for r in RejectReason if not IS_BAD[r]} == good
