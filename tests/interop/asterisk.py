"""A real Asterisk 22 for the interop tests: Debian's own package in a folder of its own, started and stopped here.

Owns the folder, the configuration that the tests add to it, and the daemon. Needs root (debootstrap, chroot).
`GLOTGATE_ASTERISK` names the folder with the scripts `setup` and `asteriskctl` when it is not `../shared/asterisk`
beside the repository.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rig.native import cache_root

ROOT = Path(__file__).parents[2]
SIP_PORT = 5961
MODULES = (
    *("app_mixmonitor", "format_wav", "res_clioriginate", "app_originate", "app_senddtmf", "res_srtp"),
    *("app_read", "app_transfer", "func_global", "res_pjsip_refer", "res_pjsip_registrar"),
)
#: As whom the gateway registers, and the password.
ACCOUNT = ("glotgate-out", "open sesame")
#: Where sounds and recordings stand, as Asterisk sees it.
SPOOL = "/var/spool/asterisk/interop"

_DIALPLAN = f"""\
[interop]
; speaks a file and records what it hears meanwhile and for a while afterwards
exten => _speak-.,1,Answer()
 same => n,MixMonitor({SPOOL}/${{EXTEN:6}}.wav,r({SPOOL}/${{EXTEN:6}}-heard.wav)t({SPOOL}/${{EXTEN:6}}-said.wav))
 same => n,Wait(1)
 same => n,Playback({SPOOL}/speech)
 same => n,Wait(5)
 same => n,Hangup()
; says nothing (an n in a pattern would stand for a digit)
exten => _quiet-.,1,Answer()
 same => n,MixMonitor({SPOOL}/${{EXTEN:6}}.wav,r({SPOOL}/${{EXTEN:6}}-heard.wav)t({SPOOL}/${{EXTEN:6}}-said.wav))
 same => n,Wait(11)
 same => n,Hangup()
; presses keys
exten => keys,1,Answer()
 same => n,Wait(1)
 same => n,SendDTMF(1234#)
 same => n,Wait(1)
 same => n,Hangup()
; hears keys
exten => read,1,Answer()
 same => n,Set(GLOBAL(PRESSED)=)
 same => n,Read(PRESSED,,4,,1,10)
 same => n,Set(GLOBAL(PRESSED)=${{PRESSED}})
 same => n,Hangup()
; just stays, so many seconds
exten => _stay-.,1,Answer()
 same => n,Wait(${{EXTEN:5}})
 same => n,Hangup()
; somebody who answers: Asterisk tells the one who transferred a call of an answer that it dialled for
exten => desk,1,Dial(Local/stay-2@interop)
 same => n,Hangup()
; sends the other end to somebody else
exten => blind,1,Answer()
 same => n,Wait(1)
 same => n,Transfer(PJSIP/sip:speak-blind@127.0.0.1:{SIP_PORT})
 same => n,Set(GLOBAL(TRANSFERRED)=${{TRANSFERSTATUS}})
 same => n,Hangup()
; two who find each other
exten => park,1,Answer()
 same => n,Set(GLOBAL(PARKED)=${{CHANNEL}})
 same => n,Wait(30)
 same => n,Hangup()
exten => meet,1,Answer()
 same => n,Bridge(${{PARKED}})
 same => n,Hangup()

[phones]
; the sample's own way to a session, and one over the trunk that tells of hold
include => translated
include => interop
exten => _through-.,1,Dial(PJSIP/${{EXTEN:8}}@watched,30)
"""

_ONE_CODEC = """
[glotgate-{codec}]
type=endpoint
context=from-glotgate
disallow=all
allow={codec}
direct_media=no
aors=glotgate
"""

#: Key presses by SIP INFO, and the same trunk over TCP.
_MORE = """
[transport-tcp]
type=transport
protocol=tcp
bind=127.0.0.1:{port}

[glotgate-tcp]
type=endpoint
transport=transport-tcp
context=from-glotgate
disallow=all
allow=ulaw
direct_media=no
dtmf_mode=info
aors=glotgate-tcp

[glotgate-tcp]
type=aor
contact=sip:{gateway}\\;transport=tcp
qualify_frequency=10
"""

#: A gateway of which everything is seen: trunks with session timers that pass hold on, one with keys by INFO; the
#: account that the gateway registers and calls as; and telephones of this PBX.
_WATCHED = """
[watching](!)
type=endpoint
context=interop
disallow=all
allow=ulaw
direct_media=no
moh_passthrough=yes
timers=always
timers_sess_expires=90
timers_min_se=90

[watched](watching)
dtmf_mode=rfc4733
aors=watched

[watched-info](watching)
dtmf_mode=info
aors=watched

[watched]
type=aor
contact=sip:{watched}

[{user}](watching)
auth={user}
aors={user}

[{user}]
type=auth
auth_type=userpass
username={user}
password={password}

[{user}]
type=aor
max_contacts=1

[caller]
type=endpoint
context=phones
disallow=all
allow=ulaw
direct_media=no
"""


class Unavailable(Exception):
    """Asterisk can not be set up here; the message says why."""


def scripts() -> Path:
    """The folder with the scripts that set Asterisk up."""
    named = os.environ.get("GLOTGATE_ASTERISK")
    folder = Path(named) if named else ROOT.parent / "shared" / "asterisk"
    if not (folder / "setup").exists():
        raise Unavailable(f"no set-up script for Asterisk in {folder}: name its folder in GLOTGATE_ASTERISK")
    return folder


class Asterisk:
    """Use as a context manager; `trunk` before calls are placed."""

    def __init__(self) -> None:
        self._scripts = scripts()
        if os.geteuid() != 0:
            raise Unavailable("Asterisk is set up in a chroot, which needs root")
        self.tree = cache_root() / "asterisk"
        self.spool = self.tree / SPOOL.lstrip("/")
        self._environment = os.environ | {
            "TARGET": str(self.tree), "GW_PORT": "9", "RTP_LO": "30000", "RTP_HI": "30999", "LC_ALL": "C.UTF-8",
        }  # fmt: skip

    def __enter__(self) -> Self:
        made = self._run(str(self._scripts / "setup"), str(self.tree), str(SIP_PORT), timeout_s=600)
        if made.returncode:
            raise Unavailable(f"Asterisk could not be set up:\n{made.stdout[-2000:]}{made.stderr[-2000:]}")
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir(parents=True)
        self.spool.chmod(0o777)
        modules = self.tree / "etc/asterisk-gw/modules.conf"
        modules.write_text(modules.read_text() + "".join(f"load={name}.so\n" for name in MODULES))
        self._control("stop")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control("stop")

    def trunk(self, gateway: str, secure: str, authority: Path, watched: str) -> None:
        """The samples of etc/asterisk as they are, but for the addresses; and a trunk per codec, and over TCP.

        gateway, secure: where it takes UDP and TCP, and TLS. authority: who signed its certificate. watched: where
        the other gateway is.
        """
        folder = self.tree / "etc/asterisk-gw"
        keys = self.tree / "etc/asterisk/keys"
        keys.mkdir(parents=True, exist_ok=True)
        shutil.copy(authority, keys / "glotgate-ca.pem")
        (keys / "glotgate-ca.pem").chmod(0o644)
        more = "".join(_ONE_CODEC.format(codec=codec) for codec in ("ulaw", "alaw"))
        more += _MORE.format(port=SIP_PORT, gateway=gateway)
        more += _WATCHED.format(watched=watched, user=ACCOUNT[0], password=ACCOUNT[1])
        samples = {"pjsip.conf": ("pjsip.conf", "pjsip-tls.conf"), "extensions.conf": ("extensions.conf",)}
        for name, parts in samples.items():
            text = "\n".join((ROOT / "etc/asterisk" / part).read_text() for part in parts)
            for sample, here in (
                ("sip:gateway.example.net:5060", f"sip:{gateway}"),
                ("sip:gateway.example.net:5061", f"sip:{secure}"),
                ("match=gateway.example.net", f"match={gateway}"),
                ("bind=0.0.0.0:5061", f"bind=127.0.0.1:{SIP_PORT + 1}"),
            ):
                text = text.replace(sample, here)
            with (folder / name).open("a") as file:
                file.write(f"\n{text}{more if name == 'pjsip.conf' else _DIALPLAN}")
        self._start()

    def _start(self) -> None:
        started = self._control("start")
        if started.returncode:
            raise Unavailable(f"Asterisk did not start:\n{started.stdout}{started.stderr}")

    def cli(self, command: str) -> str:
        return self._control("cli", command).stdout

    def originate(self, trunk: str, user: str, extension: str) -> None:
        """Call `user` over a trunk of ours; once it answers, that channel runs the extension."""
        self.cli(f"channel originate PJSIP/{user}@{trunk} extension {extension}@interop")

    def variable(self, name: str) -> str:
        """A global variable of the dialplan, "" when there is none."""
        found = re.search(rf"^\s*{name}=(.*)$", self.cli("dialplan show globals"), re.M)
        return found[1].strip() if found else ""

    def reachable(self, timeout_s: float = 20.0) -> bool:
        """Whether the gateway has answered Asterisk's OPTIONS."""
        available = re.compile(r"glotgate/sip\S+\s+\S+\s+Avail")
        return self.until(lambda: available.search(self.cli("pjsip show contacts")) is not None, timeout_s)

    def finished(self, name: str, timeout_s: float = 30.0) -> bool:
        """Wait until the recording of that name was begun and no channel is left."""
        return self.until(lambda: (self.spool / f"{name}-heard.wav").exists(), timeout_s) and self.until(
            lambda: "0 active channels" in self.cli("core show channels count"), timeout_s
        )

    @staticmethod
    def until(true: Callable[[], bool], timeout_s: float) -> bool:
        """Ask until it is true; False when it was not in time."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if true():
                return True
            time.sleep(0.25)
        return False

    def _control(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._run(str(self._scripts / "asteriskctl"), *words, timeout_s=60)

    def _run(self, *words: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=timeout_s, env=self._environment
        )
