"""The rules of the house, held by reading the source: who may import whom, who may read a clock, how long a module
may be, that each has its tests. A rule that has to give way gives way here, in a list with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
MODULES: Final = sorted(
    path.relative_to(ROOT)
    for package in ("gateway", "rtp")
    for path in (ROOT / package).rglob("*.py")
    if "versions" not in path.parts  # a migration is a record of the past, not a module
)
MAX_LINES: Final = 400

#: Who reads a clock: the real-time loop, and the roots and rims that hand time on as an argument.
CLOCKS: Final = {
    "rtp/loop.py": "the real-time loop",
    "gateway/app.py": "the root of every process",
    "gateway/hub.py": "the root of the controller process",
    "gateway/supervisor.py": "the root of the daemon",
    "gateway/cli.py": "the root of a command",
    "gateway/sessions/tenant_commands.py": "the root of commands",
    "gateway/sip/process.py": "the rim of the sip process",
    "gateway/sessions/server.py": "the root of the sessions process",
}
#: Through what the gateway meets the media path.
DOORS: Final = {
    "rtp.engine": "the handle",
    "rtp.plane": "the shared memory",
    "rtp.control": "the messages",
    "rtp.g711": "the definition of the two laws, for who decodes speech",
}
#: Loops in the hot path, by what they go over. None of them is every leg in every slot.
TICK_LOOPS: Final = {
    "t.rows_of_slot": "the slots of a frame, after a stall",
    "self._packets": "once, at the start",
    "rows": "the few legs that send something else than one voice packet",
    "_datagrams(noise)": "the few legs that have just begun a pause",
}
#: Where a test may be skipped.
SKIPS: Final = {"tests/interop/conftest.py": "without root there is no Asterisk; in CI that is a failure"}
#: Modules without logic of their own: nothing that a test of theirs could find.
UNTESTED: Final = {"__init__.py", "env.py"}


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text(), str(module))


def imports(module: Path) -> set[str]:
    """The dotted names that a module imports, `from a import b` as both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def under(*folders: str) -> list[Path]:
    return [module for module in MODULES if module.as_posix().startswith(folders)]


def ids(module: Path) -> str:
    return module.as_posix()


@pytest.mark.parametrize("module", under("rtp/"), ids=ids)
def test_rtp_knows_nothing_of_the_gateway(module: Path) -> None:
    assert not {name for name in imports(module) if inside(name, "gateway")}


@pytest.mark.parametrize("module", under("gateway/"), ids=ids)
def test_the_gateway_meets_rtp_at_its_doors_only(module: Path) -> None:
    met = {name for name in imports(module) if inside(name, "rtp") and name != "rtp"}
    assert not {name for name in met if not any(inside(name, door) for door in DOORS)}


@pytest.mark.parametrize("module", under("gateway/sip/"), ids=ids)
def test_sip_knows_no_calls_sessions_or_streams(module: Path) -> None:
    foreign = ("gateway.calls", "gateway.sessions", "gateway.stream", "gateway.speech", "rtp")
    assert not {name for name in imports(module) if any(inside(name, package) for package in foreign)}


@pytest.mark.parametrize("module", under("gateway/sessions/", "gateway/speech/"), ids=ids)
def test_the_session_service_knows_no_calls_and_no_sip(module: Path) -> None:
    foreign = ("gateway.calls", "gateway.sip", "gateway.hub", "gateway.supervisor")
    assert not {name for name in imports(module) if any(inside(name, package) for package in foreign)}


@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_pjsua2_is_in_three_modules(module: Path) -> None:
    used = {name for name in imports(module) if inside(name, "pjsua2")}
    assert not used or module.as_posix() in (
        "gateway/sip/agent.py",
        "gateway/sip/callbacks.py",
        "gateway/sip/objects.py",
    )


@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_time_is_an_argument(module: Path) -> None:
    read = [f"{module}:{line}: time.{name}" for line, name in clocks(tree(module)) if module.as_posix() not in CLOCKS]
    assert not read


def clocks(source: ast.Module) -> Iterator[tuple[int, str]]:
    """Where a module reads, or takes hold of, a clock."""
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            clock = node.value.id == "time" and node.attr.removesuffix("_ns") in ("time", "monotonic", "perf_counter")
            if clock or (node.value.id in ("datetime", "date") and node.attr in ("now", "utcnow", "today")):
                yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield node.lineno, ", ".join(alias.name for alias in node.names)


def test_the_list_of_clocks_is_no_longer_than_needed() -> None:
    assert {module for module in CLOCKS if not list(clocks(tree(Path(module))))} == set()


def test_the_hot_path_has_no_loop_over_legs() -> None:
    module = Path("rtp/tick.py")
    for node in ast.walk(tree(module)):
        assert not isinstance(node, (ast.While, ast.AsyncFor)), f"{module}:{node.lineno}"
        if isinstance(node, (ast.For, ast.comprehension)):
            over = ast.unparse(node.iter)
            assert over in TICK_LOOPS, f"{module}: a loop over {over}"


@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_modules_are_short(module: Path) -> None:
    assert len((ROOT / module).read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_modules_say_what_they_own(module: Path) -> None:
    assert ast.get_docstring(tree(module)), f"{module} has no docstring"


@pytest.mark.parametrize("module", [m for m in MODULES if m.name not in UNTESTED], ids=ids)
def test_every_module_has_its_tests(module: Path) -> None:
    tests = ROOT / "tests" / module.parent / f"test_{module.name}"
    assert tests.exists(), f"{tests.relative_to(ROOT)} is missing"
    assert "def test_" in tests.read_text()


@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_nothing_is_swallowed(module: Path) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ExceptHandler):
            where = f"{module}:{node.lineno}"
            assert node.type is not None, f"{where}: a bare except"
            assert not (len(node.body) == 1 and isinstance(node.body[0], ast.Pass)), f"{where}: except … pass"
            caught = ast.unparse(node.type)
            if caught in ("Exception", "BaseException"):
                assert not all(isinstance(step, (ast.Pass, ast.Continue)) for step in node.body), where
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("suppress", "contextlib.suppress"):
            swallowed = {ast.unparse(argument) for argument in node.args}
            assert not swallowed & {"Exception", "BaseException"}, f"{module}:{node.lineno}: everything is suppressed"


def test_no_test_is_skipped() -> None:
    marks = [
        f"{owner}.{mark}" for owner in ("pytest", "pytest.mark") for mark in ("skip", "skipif", "xfail", "importorskip")
    ]
    for path in (ROOT / "tests").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        used = [ast.unparse(n) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)]
        assert name in SKIPS or not set(used) & set(marks), name


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (clocks, "import time\nx = time.monotonic_ns"),
        (clocks, "from time import time"),
        (clocks, "from datetime import datetime\ndatetime.now()"),
    ],
)
def test_the_rules_bite(rule: object, code: str) -> None:
    assert callable(rule)
    assert list(rule(ast.parse(code)))
