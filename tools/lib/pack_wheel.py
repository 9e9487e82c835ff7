"""Packs modules into a wheel that fits this interpreter and this machine only.

By hand and not by setuptools, so that a build needs neither pip nor a package index.
"""

import argparse
import base64
import hashlib
import sys
import sysconfig
import zipfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="distribution name")
    parser.add_argument("--version", required=True, help="distribution version, PEP 440")
    parser.add_argument("--summary", required=True)
    parser.add_argument("--license", required=True, help="SPDX expression")
    parser.add_argument("--license-file", required=True, type=Path)
    parser.add_argument("--into", required=True, type=Path, help="folder for the wheel; its path is printed")
    parser.add_argument("modules", nargs="+", type=Path, help="files to put at the wheel's top")
    args = parser.parse_args()

    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    stem = f"{args.name.replace('-', '_')}-{args.version}"
    metadata = (
        f"Metadata-Version: 2.1\nName: {args.name}\nVersion: {args.version}\n"
        f"Summary: {args.summary}\nLicense: {args.license}\n"
    )
    wheel = f"Wheel-Version: 1.0\nGenerator: pack_wheel\nRoot-Is-Purelib: false\nTag: {python}-{python}-{platform}\n"
    contents = {module.name: module.read_bytes() for module in args.modules}
    contents[f"{stem}.dist-info/METADATA"] = metadata.encode()
    contents[f"{stem}.dist-info/WHEEL"] = wheel.encode()
    contents[f"{stem}.dist-info/LICENSE"] = args.license_file.read_bytes()

    record = f"{stem}.dist-info/RECORD"
    lines = [f"{name},sha256={digest(data)},{len(data)}" for name, data in contents.items()]
    contents[record] = "\n".join([*lines, f"{record},,", ""]).encode()

    path = args.into / f"{stem}-{python}-{python}-{platform}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    print(path)


def digest(data: bytes) -> str:
    """The hash as RECORD wants it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
