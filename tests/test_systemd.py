"""The unit is sound, hardened, and lets the media loop have what it needs. `systemd-analyze` must be there."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config import MAX_CAPACITY, Config
from gateway.host import files_needed
from gateway.supervisor import DRAIN_MARGIN_S, GRACE_S, START_S

FOLDER = Path(__file__).parent.parent / "systemd"
UNIT = FOLDER / "glotgate.service"
#: The exposure that is aimed at; what is left is the network, real-time scheduling and the host's root.
EXPOSURE = 1.5


class _Many(dict[str, str]):
    """A key that stands several times keeps all of its values, as systemd does."""

    def __setitem__(self, key: str, value: object) -> None:
        if isinstance(value, list) and key in self:
            value = [*self[key], *value]
        super().__setitem__(key, value)  # type: ignore[assignment]


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(dict_type=_Many, strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_unit_is_clean(tmp_path: Path) -> None:
    """Verified as it is but for the program's path, which the installation decides."""
    text = re.sub(r"^(Exec\w+)=\S+", rf"\1={sys.executable}", UNIT.read_text(), flags=re.M)
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    copy.chmod(0o644)
    assert _run("systemd-analyze", "verify", "--man=no", str(copy)) == ""


def test_the_exposure_is_low() -> None:
    table = _run("systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", table)
    assert found is not None, table
    assert float(found[1]) <= EXPOSURE, table


def test_the_media_loop_gets_what_it_asks_for(service: configparser.SectionProxy) -> None:
    realtime = Config().media.realtime
    assert int(service["LimitRTPRIO"]) >= realtime.priority
    assert service["LimitMEMLOCK"] == "infinity"
    assert "RestrictRealtime" not in service
    assert "@resources" not in service["SystemCallFilter"]
    assert service["SystemCallFilter"].split() == ["@system-service", "~@privileged"]
    assert service["RestrictAddressFamilies"].split() == ["AF_UNIX", "AF_INET", "AF_INET6"]


def test_files_suffice_for_any_capacity(service: configparser.SectionProxy) -> None:
    largest = Config.model_validate({"media": {"capacity": MAX_CAPACITY, "ports": {"first": 16384, "last": 32767}}})
    assert int(service["LimitNOFILE"]) >= files_needed(largest)


def test_times_leave_room_for_the_supervisor(service: configparser.SectionProxy) -> None:
    assert int(service["TimeoutStopSec"]) >= Config().drain.timeout_s + DRAIN_MARGIN_S + 3 * GRACE_S
    assert int(service["TimeoutStartSec"]) >= START_S
    assert service["KillMode"] == "mixed"
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0


def test_the_unit_starts_what_the_command_line_offers(service: configparser.SectionProxy) -> None:
    for key, command in (("ExecStart", "serve"), ("ExecReload", "reload")):
        program, *arguments = service[key].split()
        assert Path(program).name == "glotgate"
        assert arguments == [command, "-c", "/etc/glotgate/glotgate.yaml"]


def test_the_kernel_keeps_the_default_rtp_ports_free() -> None:
    ports = Config().media.ports
    text = (FOLDER / "glotgate-sysctl.conf").read_text()
    assert f"net.ipv4.ip_local_reserved_ports = {ports.first}-{ports.last}" in text
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|[a-z0-9_.]+ = [0-9-]+", line), line


def test_user_and_folders_are_those_of_the_unit(service: configparser.SectionProxy) -> None:
    kind, name, *_, home, shell = (FOLDER / "glotgate.sysusers.conf").read_text().splitlines()[1].split()
    assert (kind, name, home, shell) == ("u", service["User"], "/var/lib/glotgate", "/usr/sbin/nologin")
    folders = [line.split() for line in (FOLDER / "glotgate.tmpfiles.conf").read_text().splitlines()[1:]]
    modes = {path: mode for kind, path, mode, *_ in folders}
    assert modes == {
        "/etc/glotgate": service["ConfigurationDirectoryMode"],
        "/var/lib/glotgate": service["StateDirectoryMode"],
        "/var/log/glotgate": service["LogsDirectoryMode"],
    }
