"""baresip as the caller: an independent SIP user agent that speaks a file and records what it hears."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from rig.daemon import HOST, free_port, free_sip_port
from rig.native import cache_root
from rig.sound import Samples, read_wav

#: `module_path` differs with the architecture and the release of Debian.
_MODULES = ("/usr/lib/baresip/modules", "/usr/lib/*/baresip/modules", "/usr/local/lib/baresip/modules")

_CONFIG = """\
poll_method epoll
sip_listen {host}:{port}
call_max_calls 1
audio_source aufile,{said}
audio_player aubridge,nil
audio_alert aubridge,nil
audio_buffer 20-160
jitter_buffer_delay 2-10
rtp_ports {rtp_first}-{rtp_last}
net_interface {host}
snd_path {folder}
module_path {modules}
module stdio.so
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
"""


def available() -> bool:
    return shutil.which("baresip") is not None


def _module_path() -> str:
    for pattern in _MODULES:
        for folder in Path("/").glob(pattern.lstrip("/")):
            if (folder / "aufile.so").exists():
                return str(folder)
    raise SystemExit("baresip's modules were not found: apt-get install baresip-core")


class Softphone:
    """One call. `rtp_ports`: where its RTP comes from. Afterwards `spoken` and `heard`: what went each way."""

    def __init__(self, folder: Path, said: Path) -> None:
        if not available():
            raise SystemExit("baresip is needed as the independent caller: apt-get install baresip-core")
        self.folder, first = folder, free_port(socket.SOCK_DGRAM) & ~1
        self.rtp_ports = range(first, first + 20)
        folder.mkdir(parents=True, exist_ok=True)
        values = {"host": HOST, "port": free_sip_port(), "said": said, "folder": folder,
                  "rtp_first": first, "rtp_last": first + 19, "modules": _module_path()}  # fmt: skip
        (folder / "config").write_text(_CONFIG.format(**values))
        (folder / "accounts").write_text(f"<sip:caller@{HOST};transport=udp>;regint=0;audio_codecs=PCMU\n")
        (folder / "contacts").write_text("")

    def call(
        self, uri: str, seconds: float, answer_timeout_s: float = 10.0, typed: Sequence[tuple[float, str]] = ()
    ) -> float:
        """Call, stay for `seconds` after the answer, hang up. Returns how long the answer took, in s.

        typed: seconds after the answer, and what is typed then: digits are keys of the telephone, x holds, X resumes.
        """
        log = self.folder / "baresip.log"
        with log.open("wb") as out:
            began = time.monotonic()
            phone = subprocess.Popen(
                ["baresip", "-f", str(self.folder), "-e", f"/dial {uri}"],
                stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
            assert phone.stdin is not None
            try:
                answered = self._await(phone, log, began, answer_timeout_s)
                answered_at = time.monotonic()
                for at, keys in (*typed, (seconds, "")):
                    time.sleep(max(0.0, answered_at + at - time.monotonic()))
                    phone.stdin.write(keys.encode())
                    phone.stdin.flush()
                if phone.poll() is not None:
                    raise SystemExit(f"baresip ended during the call\n{self._said(log)}")
                with contextlib.suppress(BrokenPipeError):
                    phone.stdin.write(b"/quit\n")
                    phone.stdin.flush()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    phone.wait(5)
            finally:
                if phone.poll() is None:
                    phone.kill()
                    phone.wait()
        return answered

    def spoken(self) -> Samples:
        return self._dump("enc")

    def heard(self) -> Samples:
        return self._dump("dec")

    def _dump(self, kind: str) -> Samples:
        files = sorted(self.folder.glob(f"dump-*-{kind}.wav"))
        if not files:
            raise SystemExit(f"baresip recorded nothing\n{self._said(self.folder / 'baresip.log')}")
        return read_wav(files[-1])

    def _await(self, phone: subprocess.Popen[bytes], log: Path, began: float, timeout_s: float) -> float:
        while time.monotonic() - began < timeout_s:
            text = self._said(log)
            if "Call established" in text:
                return time.monotonic() - began
            if "session closed" in text or phone.poll() is not None:
                raise SystemExit(f"the call was not answered\n{text}")
            time.sleep(0.02)
        raise SystemExit(f"no answer in {timeout_s:.0f} s\n{self._said(log)}")

    @staticmethod
    def _said(log: Path) -> str:
        """The log without the progress line and the echo of typed commands."""
        text = re.sub(r"\x1b\[[0-9;]*[mK]?", "", log.read_text(errors="replace"))
        return "\n".join(line for line in text.splitlines() if "audio=" not in line and not line.startswith("//"))


def scratch() -> Path:
    """A folder for what may be thrown away."""
    folder = cache_root() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
