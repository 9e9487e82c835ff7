"""Builds the C programs of this folder on first use, into the user's cache, by a hash of all that goes in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")


def cache_root() -> Path:
    """Where the tools keep what can be made again."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "glotgate"


#: Programs that are another one, compiled differently.
VARIANTS = {"load-sealed": ("load", ("-DSEALED",), ("-lsrtp2",))}


def build(name: str) -> Path:
    """The executable of `native/<name>.c`, or of a variant. Raises SystemExit with the compiler's words."""
    source, defines, libraries = VARIANTS.get(name, (name, (), ()))
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("a C compiler is needed: apt-get install gcc libc6-dev")
    digest = hashlib.sha256(" ".join((compiler, *FLAGS)).encode())
    for file in sorted(SOURCES.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    target = cache_root() / "rig" / f"{name}-{digest.hexdigest()[:16]}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"compiling {name}", file=sys.stderr)
    # Another run may compile at the same time: each to its own name, the last rename wins.
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    command = [compiler, *FLAGS, *defines, "-o", str(draft), str(SOURCES / f"{source}.c"), *libraries]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        missing = "\nlibsrtp2-dev is needed: apt-get install libsrtp2-dev" if "srtp2/" in result.stderr else ""
        raise SystemExit(f"{' '.join(command)}\n{result.stderr}{missing}")
    draft.rename(target)
    return target
