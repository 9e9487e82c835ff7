"""A pytest plugin: under CI a skipped test fails the run unless its reason is allowed here.

Elsewhere a skip is a courtesy to a machine that lacks something. CI has, or installs, all of it, so there a skip
means that something stopped being tested.
"""

import os
import re

import pytest

# Regular expressions for reasons that hold on every machine CI may run on, each with why.
ALLOWED: tuple[str, ...] = ()


class SkipGate:
    def __init__(self) -> None:
        self.refused: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._judge(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._judge(report)

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # A skip's longrepr is (file, line, "Skipped: reason").
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not any(re.search(pattern, reason) for pattern in ALLOWED):
            self.refused.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.refused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.refused:
            return
        terminalreporter.section("skipped, which CI does not allow", red=True)
        for line in self.refused:
            terminalreporter.line(line)
        terminalreporter.line("Let the test run, or allow its reason in tools/lib/skip_gate.py and say why.")


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(SkipGate(), "skip-gate-verdict")
