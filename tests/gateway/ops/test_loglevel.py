"""A level that is set in one process is in force in all, for the next line."""

from __future__ import annotations

import io
import os
import subprocess
import sys

from gateway.config import Logging
from gateway.ops import loglevel
from gateway.ops.loglevel import LogLevel
from gateway.ops.logs import make_logger


def test_a_bound_logger_follows_the_level() -> None:
    out = io.StringIO()
    fd = loglevel.create("warning")
    level = LogLevel(fd)
    log = make_logger(Logging(format="json"), "sip", out, level).bind(call_id="c")
    log.info("unheard")
    log.warning("one")
    level.set("debug")
    log.debug("two")
    level.set("error")
    log.warning("unheard")
    log.exception("three")
    os.close(fd)
    lines = [line.split('"event":"')[1].split('"')[0] for line in out.getvalue().splitlines()]
    assert lines == ["one", "two", "three"]


def test_another_process_sees_it() -> None:
    fd = loglevel.create("info")
    LogLevel(fd).set("error")
    code = (
        "import sys, io\nfrom gateway.config import Logging\nfrom gateway.ops.loglevel import LogLevel\n"
        "from gateway.ops.logs import make_logger\n"
        "log = make_logger(Logging(format='json'), 'x', sys.stdout, LogLevel(int(sys.argv[1])))\n"
        "log.warning('quiet')\nlog.error('loud')\n"
    )
    words = [sys.executable, "-c", code, str(fd)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, pass_fds=(fd,))
    os.close(fd)
    assert "quiet" not in done.stdout
    assert "loud" in done.stdout
