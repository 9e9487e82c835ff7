"""Reading the configuration file: YAML with positions, substitution, and errors that say where and why.

Every problem is told with the file, the line, the key's path and the reason, and all of them at once: who
repairs a configuration wants one list, not one error per try. YAML is read by the 1.2 core rules: `on` and
`off` are words, not truth values. Secrets come in by `${NAME}` (environment) and `${file:/path}`; `$${` is a
plain `${`. What the keys mean is `config.py`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Final, NamedTuple, get_args

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from gateway.config import Config
from gateway.section import KeyFaults, KeyPath, dotted

#: Deeper than any key, and more than any file holds; against files that contain themselves.
MAX_DEPTH: Final = 12
MAX_NODES: Final = 20_000

_VARIABLE: Final = re.compile(r"\$(\$\{|\{(?P<name>[^}]*)\})")
_PLAIN: Final[list[tuple[re.Pattern[str], Callable[[str], Any]]]] = [
    (re.compile(r"|~|null|Null|NULL"), lambda text: None),
    (re.compile(r"true|True|TRUE"), lambda text: True),
    (re.compile(r"false|False|FALSE"), lambda text: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
]
#: Pydantic's words for a few frequent errors, in ours. `{}`: from the error's context.
_REASONS: Final = {
    "missing": "is needed here",
    "string_type": "must be text; put it in quotes",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "literal_error": "must be {expected}",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "union_tag_not_found": "must say its {discriminator}",
    "union_tag_invalid": "its {discriminator} must be one of {expected_tags}",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
}


class Problem(NamedTuple):
    """One thing that is wrong. line: from 1, or 0 when no line is to blame; path: "" for the whole file."""

    file: str
    line: int
    path: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.path}: {self.reason}" if self.path else f"{where}: {self.reason}"


class ConfigError(Exception):
    """The configuration can not be used. problems: all that was found, in the file's order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check a file. Raises ConfigError, never anything else for what a user can do wrong."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, "", f"can not be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(str(path), line, "", "is not UTF-8 text")]) from None
    return parse(text, str(path), os.environ if environ is None else environ)


def parse(text: str, name: str, environ: Mapping[str, str]) -> Config:
    """Check a configuration given as text; `name` is what its errors call it. Raises ConfigError."""
    reader = _Reader(name, environ)
    data = reader.read(text)
    problems = reader.problems
    config = None
    try:
        config = Config.model_validate({} if data is None else data)
    except ValidationError as error:
        problems += reader.explain(error.errors(include_url=False), data)
    if problems or config is None:
        raise ConfigError(sorted(set(problems), key=lambda problem: (problem.line, problem.path)))
    return config


class _Reader:
    """From YAML text to plain data, remembering where each key stood and which values are secret."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._name, self._environ = name, environ
        self._lines: dict[KeyPath, int] = {(): 0}
        self._substituted: set[KeyPath] = set()

    def read(self, text: str) -> Any:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            reason = getattr(error, "problem", None) or str(error).splitlines()[0]
            line = mark.line + 1 if mark else 0
            raise ConfigError([Problem(self._name, line, "", f"is not YAML: {reason}")]) from None
        return None if root is None else self._plain(root, ())

    def _plain(self, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        if len(path) > MAX_DEPTH or len(self._lines) > MAX_NODES:
            raise ConfigError([Problem(self._name, line, dotted(path[:4]), "is nested too deep or too long")])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*path, i)) for i, item in enumerate(node.value)]
        if "${" in node.value:
            return self._substitute(node.value, path, line)
        if getattr(node, "style", None) is None:
            for pattern, convert in _PLAIN:
                if pattern.fullmatch(node.value):
                    return convert(node.value)
        return node.value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._fault(path, "a key must be a word", line)
                continue
            inner = (*path, key.value)
            if key.value in plain:
                self._fault(inner, f"stands here twice, first in line {self._lines[inner]}", line)
                continue
            self._lines[inner] = line
            plain[key.value] = self._plain(value, inner)
        return plain

    def _substitute(self, text: str, path: KeyPath, line: int) -> str:
        def value_of(match: re.Match[str]) -> str:
            name = match["name"]
            if name is None:
                return "${"
            self._substituted.add(path)
            if not name.startswith("file:"):
                if name not in self._environ:
                    self._fault(path, f"environment variable {name or '(no name)'} is not set", line)
                return self._environ.get(name, "")
            try:
                return Path(name[5:]).read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                self._fault(path, f"file {name[5:] or '(no name)'} can not be read: {error.strerror}", line)
            except UnicodeDecodeError:
                self._fault(path, f"file {name[5:]} is not UTF-8 text", line)
            return ""

        return _VARIABLE.sub(value_of, text)

    def _fault(self, path: KeyPath, reason: str, line: int = 0) -> None:
        self.problems.append(Problem(self._name, line or self._line(path), dotted(path), reason))

    def _line(self, path: KeyPath) -> int:
        """The line of the key, or of the nearest key around it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def explain(self, errors: list[ErrorDetails], data: Any) -> list[Problem]:
        """Pydantic's errors as problems. Alternatives that all failed for one key become one sentence."""
        blamed = {problem.path for problem in self.problems}
        problems: list[Problem] = []
        reasons: dict[KeyPath, list[str]] = {}
        for error in errors:
            cause = error.get("ctx", {}).get("error")
            path = self._known(error["loc"], error["type"] == "missing")
            if isinstance(cause, KeyFaults):
                for inner, reason, other in cause.faults:
                    line = self._line(path + inner if path + inner in self._lines else path + other)
                    problems.append(Problem(self._name, line, dotted(path + inner), reason))
            else:
                reasons.setdefault(path, []).append(self._reason(error, path))
        for path, why in reasons.items():
            if dotted(path) not in blamed:  # what could not be substituted is not also a bad value
                reason = " or ".join(dict.fromkeys(why))
                reason += self._got(path, data, reason)
                problems.append(Problem(self._name, self._line(path), dotted(path), reason))
        return problems

    def _known(self, location: tuple[str | int, ...], missing: bool) -> KeyPath:
        """Without the names that pydantic gives to the alternatives of a union."""
        path: KeyPath = ()
        for part in location:
            if (*path, part) in self._lines:
                path = (*path, part)
        return (*path, location[-1]) if missing else path

    def _reason(self, error: ErrorDetails, path: KeyPath) -> str:
        if error["type"] == "extra_forbidden":
            return "unknown key" + _did_you_mean(path)
        if error["type"] in ("value_error", "assertion_error"):
            return str(error["ctx"]["error"])
        words = _REASONS.get(error["type"])
        return words.format(**error.get("ctx", {})) if words else error["msg"]

    def _got(self, path: KeyPath, data: Any, reason: str) -> str:
        """The value, where it helps, is not said already, and is no secret."""
        for part in path:
            try:
                data = data[part]
            except (KeyError, IndexError, TypeError):
                return ""
        annotation = _annotation(path)
        secret = path in self._substituted or SecretStr in (annotation, *get_args(annotation))
        if secret or annotation is None or isinstance(data, (dict, list)) or str(data) in reason:
            return ""
        return f" (it is {str(data)[:60]!r})"


def _fields(path: KeyPath) -> dict[str, Any]:
    """The fields of the section at a path, by name; empty where there is no section."""
    annotation: Any = Config
    for part in path:
        if isinstance(part, int):
            annotation = next(iter(get_args(annotation)), None)
        else:
            section = _section(annotation)
            field = section.model_fields.get(part) if section else None
            annotation = field.annotation if field else None
    section = _section(annotation)
    return dict(section.model_fields) if section else {}


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation names, also where it may be left out; a list of sections is none."""
    alternatives = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((a for a in alternatives if isinstance(a, type) and issubclass(a, BaseModel)), None)


def _annotation(path: KeyPath) -> Any:
    field = _fields(path[:-1]).get(str(path[-1])) if path else None
    return field.annotation if field else (str if path and isinstance(path[-1], int) else None)


def _did_you_mean(path: KeyPath) -> str:
    here, name = path[:-1], str(path[-1])
    near = get_close_matches(name, _fields(here), n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    elsewhere = [dotted(known) for known in _all_keys(()) if known[-1] == name]
    return f"; did you mean {' or '.join(elsewhere[:2])}?" if elsewhere else ""


def _all_keys(path: KeyPath) -> list[KeyPath]:
    """Every key below a section, sections included; lists are not entered."""
    keys: list[KeyPath] = []
    for name in _fields(path):
        keys += [(*path, name), *_all_keys((*path, name))]
    return keys
