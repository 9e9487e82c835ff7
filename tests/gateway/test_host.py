from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.host import HostRefuses, files_needed, name_process, port_notes, raise_file_limit

CONFIG = Config.model_validate({"media": {"capacity": 100, "ports": {"first": 40000, "last": 40999}}})


def test_the_file_limit_is_raised_to_the_hard_one() -> None:
    code = (
        "import resource; from gateway.config import Config; from gateway.host import raise_file_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4000))\n"
        "print(raise_file_limit(Config()), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4000", "4000"]


def test_a_limit_that_is_too_low_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (500, 500))
    with pytest.raises(HostRefuses) as caught:
        raise_file_limit(CONFIG)
    text = str(caught.value)
    assert "media.capacity 100" in text
    assert f"LimitNOFILE={files_needed(CONFIG)}" in text
    assert "limit is 500" in text


@pytest.mark.parametrize(
    ("local", "reserved", "noted"),
    [
        ("32768 60999", "", True),
        ("32768 60999", "40000-40999", False),
        ("32768 60999", "80,39000-50000", False),
        ("32768 60999", "40000-40500", True),
        ("41000 60999", "", False),
        ("40999 60999", "40999", False),
        ("1024 39999", "", False),
    ],
)
def test_rtp_ports_that_the_kernel_may_give_away(tmp_path: Path, local: str, reserved: str, noted: bool) -> None:
    (tmp_path / "ip_local_port_range").write_text(local.replace(" ", "\t") + "\n")
    (tmp_path / "ip_local_reserved_ports").write_text(reserved + "\n")
    notes = port_notes(CONFIG, tmp_path)
    assert bool(notes) == noted
    assert all("ip_local_reserved_ports=40000-40999" in note for note in notes)


def test_a_kernel_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    assert port_notes(CONFIG, tmp_path) == []


def test_the_process_has_a_name() -> None:
    code = (
        "from gateway.host import name_process; name_process('glot-controller'); print(open('/proc/self/comm').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "glot-controller"
    assert name_process.__doc__


def test_a_process_without_its_parent_ends() -> None:
    code = "from gateway.host import die_with; die_with(1); print('lives')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    code = f"from gateway.host import die_with; die_with({os.getpid()}); print('lives')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "lives")


def test_memory_that_is_free_is_given_back() -> None:
    code = (
        "import ctypes; from gateway.host import give_back_memory\n"
        "def rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; libc.free.argtypes = [ctypes.c_void_p]\n"
        "libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]\n"
        "blocks = [libc.malloc(16_000) for _ in range(6000)]\n"
        "for block in blocks: libc.memset(block, 1, 16_000)\n"
        "pin = libc.malloc(16_000)\n"
        "for block in blocks: libc.free(block)\n"
        "held = rss(); give_back_memory(); print(held - rss() > 50_000_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
