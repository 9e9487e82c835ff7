"""Refuses a pjsua2 that glotgate must not run on: run with the folder that holds the modules; exits 1 saying why."""

import subprocess
import sys
from pathlib import Path

OLDEST = (2, 17)  # twelve security fixes since the last release on PyPI
CALLS = 4096


def faults(folder: Path) -> list[str]:
    found = []
    extension = next(folder.glob("_pjsua2*.so"))
    symbols = subprocess.run(["nm", "-D", extension], check=True, capture_output=True, text=True).stdout
    if "__assert_fail" in symbols:
        found.append("it is an assert build (imports __assert_fail): one bad message would end the process")
    if "SSL_CTX_new" not in symbols:
        found.append("it has no TLS: OpenSSL's headers were not found when it was configured")

    sys.path.insert(0, str(folder))
    import pjsua2

    endpoint = pjsua2.Endpoint()
    endpoint.libCreate()
    version = endpoint.libVersion()
    if (version.major, version.minor) < OLDEST:
        found.append(f"it is {version.full}, older than {'.'.join(map(str, OLDEST))}")
    config = pjsua2.EpConfig()
    config.logConfig.level = config.logConfig.consoleLevel = 0
    config.uaConfig.threadCnt = 0
    config.uaConfig.maxCalls = CALLS
    if pjsua2.EpConfig().uaConfig.maxCalls < CALLS:
        found.append(f"it takes {pjsua2.EpConfig().uaConfig.maxCalls} calls, not {CALLS}")
    endpoint.libInit(config)
    loopback = pjsua2.TransportConfig()
    loopback.boundAddress = "127.0.0.1"
    endpoint.transportCreate(pjsua2.PJSIP_TRANSPORT_UDP, loopback)
    endpoint.transportCreate(pjsua2.PJSIP_TRANSPORT_TCP, loopback)
    loopback.boundAddress = "::1"
    try:
        endpoint.transportCreate(pjsua2.PJSIP_TRANSPORT_UDP6, loopback)
    except pjsua2.Error as error:
        # A machine without IPv6 can not bind ::1; a build without it says so with a code of its own.
        if "IPv6" in error.reason or error.status == 70022:
            found.append(f"it has no IPv6: {error.reason}")
    endpoint.libStart()
    endpoint.libDestroy()
    return found


if __name__ == "__main__":
    if problems := faults(Path(sys.argv[1])):
        sys.exit("this pjsua2 is refused: " + "; ".join(problems))
