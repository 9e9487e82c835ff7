"""The fail2ban filter finds the scanners, and nobody else, in what the daemon logs."""

from __future__ import annotations

import configparser
import io
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Logging
from gateway.ops.logs import make_logger

FOLDER = Path(__file__).parent.parent / "etc" / "fail2ban"
#: What fail2ban makes of <ADDR>, a little simpler.
ADDRESS = r"(?P<address>\d+(?:\.\d+){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]+)"


def section(path: Path, name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(path)
    return parser[name]


def found(line: str) -> str | None:
    """The address that a line gives away, as fail2ban reads it from a file, or, all the same, from the journal."""
    results = {_found(_without_date(line)), _found(f"host glotgate[77]: {line}")}
    assert len(results) == 1, line
    return results.pop()


def _without_date(line: str) -> str:
    filter_ = section(FOLDER / "filter.d" / "glotgate.conf", "Definition")
    named = {"%%Y": r"\d{4}", "%%f": r"\d{6}", "%%z": "Z"} | {f"%%{letter}": r"\d\d" for letter in "mdHMS"}
    for pattern in filter_["datepattern"].split("\n"):
        for word, meaning in named.items():
            pattern = pattern.replace(word, meaning)
        line = re.sub(pattern, "", line, count=1)
    return line


def _found(line: str) -> str | None:
    filter_ = section(FOLDER / "filter.d" / "glotgate.conf", "Definition")
    for pattern in filter_["failregex"].split("\n"):
        if match := re.search(pattern.replace("<ADDR>", ADDRESS), line):
            return match["address"]
    return None


def logged(form: str, event: str, **fields: Any) -> str:
    out = io.StringIO()
    make_logger(Logging.model_validate({"format": form}), "sip", out).warning(event, **fields)
    return out.getvalue().rstrip("\n")


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("address", ["192.0.2.4", "2001:db8::9"])
def test_a_scanner_is_found(form: str, address: str) -> None:
    assert found(logged(form, "sip_scanner", source=address, reason="not_allowed", requests=7)) == address


@pytest.mark.parametrize("form", ["json", "console"])
def test_nobody_else_is(form: str) -> None:
    assert found(logged(form, "sip_source_refused", source="192.0.2.4", reason="not_allowed", requests=7)) is None
    forged = '","level":"warning","process":"sip","event":"sip_scanner","source":"192.0.2.4","'
    assert found(logged(form, "sip_stack", text=forged)) is None
    assert found(logged(form, "sip_stack", text=logged("json", "sip_scanner", source="192.0.2.4", reason="x"))) is None
    assert found(logged(form, "sip_stack", text="\n[warning  ] sip_scanner process=sip a=b source=192.0.2.4")) is None


def test_the_jail_keeps_out_udp_too() -> None:
    jail = section(FOLDER / "jail.d" / "glotgate.conf", "glotgate")
    assert (jail["filter"], jail["protocol"], jail["maxretry"]) == ("glotgate", "tcp,udp", "1")
