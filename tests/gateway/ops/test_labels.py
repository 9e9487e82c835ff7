from __future__ import annotations

import re
from typing import get_args

from gateway.errors import Fault
from gateway.ops import labels
from gateway.stream import messages


def _tags(union: object) -> set[str]:
    return {struct.__struct_config__.tag for struct in get_args(union)}


def test_every_fault_is_an_outcome() -> None:
    assert set(labels.OUTCOMES) == {"ok"} | {fault.label for fault in Fault}


def test_every_code_of_a_fault_is_known() -> None:
    assert {str(fault.value.sip) for fault in Fault if fault.value.sip} <= set(labels.SIP_CODES)


def test_message_types_are_those_of_the_stream() -> None:
    assert set(labels.SERVER_TYPES) == _tags(messages.ServerMessage) - {"error"}


def test_values_are_plain_words_and_unique() -> None:
    for name in dir(labels):
        values = getattr(labels, name)
        if name.isupper() and isinstance(values, tuple):
            assert len(set(values)) == len(values), name
            assert all(re.fullmatch(r"[a-z0-9_.]+", value) for value in values), name
