"""A real Kamailio for the interop tests: Debian's package, with the samples of etc/kamailio but for addresses."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rig.daemon import HOST, free_port

SAMPLES = Path(__file__).parents[2] / "etc/kamailio"


class Kamailio:
    """Use as a context manager. gateways: addresses of the sample's two, the one that is preferred first."""

    def __init__(self, folder: Path, gateways: Sequence[str]) -> None:
        self.folder = folder
        self.address = f"{HOST}:{free_port()}"
        gateway_list = folder / "dispatcher.list"
        listed = (SAMPLES / "dispatcher.list").read_text()
        for name, gateway in zip("ab", gateways, strict=True):
            assert f"sip:gateway-{name}.example.net:5060" in listed
            listed = listed.replace(f"gateway-{name}.example.net:5060", gateway)
        gateway_list.write_text(listed)
        sample = (SAMPLES / "kamailio.cfg").read_text()
        sample = sample.replace("0.0.0.0:5060", self.address).replace(
            "/etc/kamailio/dispatcher.list", str(gateway_list)
        )
        self._config = folder / "kamailio.cfg"
        self._config.write_text(sample)
        self.log = folder / "kamailio.log"

    def __enter__(self) -> Self:
        command = shutil.which("kamailio") or "/usr/sbin/kamailio"
        words = [command, "-f", str(self._config), "-DD", "-E", "-m", "16", "-M", "4", "-w", str(self.folder)]
        words += ["-Y", str(self.folder), "-P", str(self.folder / "pid")]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 15
        while "running processes" not in self._said() and time.monotonic() < until:
            if self._process.poll() is not None:
                raise AssertionError(f"Kamailio ended at start:\n{self._said()}")
            if self._listens():
                break
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()

    def _said(self) -> str:
        return self.log.read_text(errors="replace")

    def _listens(self) -> bool:
        port = int(self.address.rpartition(":")[2])
        sockets = Path("/proc/net/udp").read_text()
        return f"0100007F:{port:04X}" in sockets
