"""The sample configuration says every key, its default and what it is for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from gateway.config import Config, Route
from gateway.configfile import load, parse
from gateway.section import KeyPath, dotted

FILE = Path(__file__).parent.parent / "etc" / "glotgate.yaml"

#: A key that is commented out because its default is none, or that belongs to the sample of a list.
_HIDDEN = re.compile(r"^(\s*)# (?=(- )?[a-z0-9_]+:|  )", re.M)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _keys(model: type[BaseModel], path: KeyPath = ()) -> dict[KeyPath, Any]:
    """Every key that holds a value, with its default; the first entry stands for a list of sections."""
    keys: dict[KeyPath, Any] = {}
    for name, field in model.model_fields.items():
        inner = _models(field.annotation)
        if get_origin(field.annotation) is dict and inner:
            for section in inner:  # entries of several kinds; the sample of each bears the name of its kind
                keys |= _keys(section, (*path, name, section.model_fields["kind"].default))
        elif inner:
            listed = (0,) if get_origin(field.annotation) is tuple else ()
            keys |= _keys(inner[0], (*path, name, *listed))
        else:
            keys[*path, name] = field.get_default(call_default_factory=True) if not field.is_required() else ...
    return keys


def _told() -> tuple[Any, dict[KeyPath, int], list[str]]:
    """The file with everything uncommented: its data, and the line of each key."""
    text = FILE.read_text()
    for samples in ("routes", "trunks"):
        text = text.replace(f"{samples}: []", "# ", 1)  # the sample below it says the keys
    text = _HIDDEN.sub(r"\1", _HIDDEN.sub(r"\1", text))  # a sample may hide keys in its turn
    lines: dict[KeyPath, int] = {}

    def walk(node: yaml.Node, path: KeyPath) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[*path, key.value] = key.start_mark.line
                walk(value, (*path, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for i, item in enumerate(node.value):
                walk(item, (*path, i))

    node = yaml.compose(text)
    assert node is not None
    walk(node, ())
    return yaml.safe_load(text), lines, text.splitlines()


def test_the_file_is_valid_and_says_the_defaults() -> None:
    assert load(FILE, {}) == Config()


@pytest.mark.parametrize("path", _keys(Config), ids=dotted)
def test_every_key_stands_there_with_a_comment(path: KeyPath) -> None:
    _, lines, text = _told()
    assert path in lines, f"{dotted(path)} is missing in {FILE.name}"
    line = text[lines[path]]
    # A pair of the same kind, like min_ms below a commented section, needs no words of its own.
    above = text[lines[path[:-1]]] if path[:-1] in lines else ""
    assert "# " in line or "# " in above, f"{dotted(path)} has no comment"


def test_no_key_stands_there_that_is_none() -> None:
    _, lines, _ = _told()
    known = set(_keys(Config))
    for path in lines:
        path = tuple(0 if isinstance(part, int) else part for part in path)
        assert any(key[: len(path)] == path for key in known), f"{dotted(path)} is no key"


def test_keys_without_a_default_are_commented_out() -> None:
    shown = yaml.safe_load(FILE.read_text())
    for path, default in _keys(Config).items():
        if default is None and path[0] not in ("routes", "trunks"):
            section = shown
            for part in path[:-1]:
                absent = isinstance(section, dict) and part not in section  # a sample that is commented out as a whole
                section = {} if absent else section[part] or {}
            assert path[-1] not in section, f"{dotted(path)} has no default that could be shown"


def _sample(name: str, environ: dict[str, str]) -> Config:
    """A configuration of nothing but a sample, as somebody has it who takes the comment signs away."""
    sample = FILE.read_text().split(f"{name}: []", 1)[1].split("\n\n", 1)[0]
    text = re.sub(r"^# ?", "", sample.split("\n", 1)[1], flags=re.M)
    return parse(re.sub(r"\$\{file:[^}]*\}", "${SECRET}", text), "sample", environ)


def test_the_sample_route_is_one() -> None:
    (route,) = _sample("routes", {}).routes
    assert isinstance(route, Route)
    assert re.fullmatch(route.user, "+4930123")


def test_the_sample_trunk_is_one() -> None:
    (trunk,) = _sample("trunks", {"SECRET": "s3cret"}).trunks
    assert trunk.credentials[0].password is not None
    assert trunk.outbound is not None
    assert trunk.registration is not None
