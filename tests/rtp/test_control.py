from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from rtp import control

COMMANDS, EVENTS = get_args(control.AnyCommand), get_args(control.AnyEvent)


def _sample(annotation: Any) -> Any:
    """A value of a type that is not its default: large, negative, beyond ASCII, nested."""
    plain = {int: -(2**40), float: 1.5, str: "ü1", bool: True, bytes: b"\x00\xff"}
    if annotation in plain:
        return plain[annotation]
    inner = get_args(annotation)
    if get_origin(annotation) is UnionType:
        return _sample(next(kind for kind in inner if kind is not NoneType))
    if get_origin(annotation) is dict:
        return {_sample(inner[0]): _sample(inner[1])}
    if get_origin(annotation) is list:
        return [_sample(inner[0])] * 2
    if get_origin(annotation) is tuple:
        return tuple(map(_sample, inner))
    return annotation(**{name: _sample(kind) for name, kind in get_type_hints(annotation).items()})


@pytest.mark.parametrize("struct", [*COMMANDS, *EVENTS], ids=lambda struct: struct.__name__)
def test_every_message_crosses_the_border_as_it_is(struct: type[Any]) -> None:
    message = _sample(struct)
    union: Any = control.AnyCommand if struct in COMMANDS else control.AnyEvent
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=union) == message


def test_no_message_is_forgotten_in_the_unions() -> None:
    for base, union in ((control.Command, COMMANDS), (control.Event, EVENTS)):
        assert set(base.__subclasses__()) == set(union)


def test_a_leg_is_always_named_by_row_and_generation() -> None:
    for struct in (*COMMANDS, *EVENTS):
        fields = struct.__struct_fields__
        assert ("row" in fields) == ("generation" in fields), struct.__name__


def test_keys_do_not_show() -> None:
    assert "secret" not in repr(control.Srtp("AES_CM_128_HMAC_SHA1_80", b"secret", b"secret"))


def test_bounds_of_the_histograms_rise() -> None:
    assert list(control.LATENESS_BOUNDS_US) == sorted(set(control.LATENESS_BOUNDS_US))
