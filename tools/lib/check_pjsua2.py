"""Refuses a pjsua2 that glotgate must not run on: run with the folder that holds its modules; exits 1 saying why."""

import subprocess
import sys
from pathlib import Path

OLDEST = (2, 17)  # twelve security fixes since the last release on PyPI
CALLS = 4096


def symbol_faults(symbols: str) -> list[str]:
    """What `nm -D` of the extension module gives away."""
    found = []
    if "__assert_fail" in symbols:
        found.append("it is an assert build (imports __assert_fail): one bad message would end the process")
    if "SSL_CTX_new" not in symbols:
        found.append("it has no TLS: OpenSSL's headers were not found when it was configured")
    if "epoll_wait" not in symbols:
        found.append("it polls with select, which ends at 1024 sockets")
    return found


def running_faults() -> list[str]:
    """What only a running endpoint shows. It binds loopback ports for a moment."""
    import pjsua2

    found = []
    endpoint = pjsua2.Endpoint()
    endpoint.libCreate()
    version = endpoint.libVersion()
    if (version.major, version.minor) < OLDEST:
        found.append(f"it is {version.full}, older than {'.'.join(map(str, OLDEST))}")
    if not hasattr(pjsua2, "RequestGate"):
        found.append("it has no RequestGate: each INVITE of a scanner would become a call")
    if not hasattr(pjsua2, "MessageTap"):
        found.append("it has no MessageTap: no SIP trace, and no new certificates without a restart")
    if not hasattr(pjsua2, "HostNames"):
        found.append("it has no HostNames: a slow name server would stop all signalling")
    config = pjsua2.EpConfig()
    if config.uaConfig.maxCalls < CALLS:
        found.append(f"it takes {config.uaConfig.maxCalls} calls, not {CALLS}")
    config.uaConfig.maxCalls = 4  # the table of 4096 takes 100 MB and is not what is looked at here
    config.uaConfig.threadCnt = 0
    config.logConfig.level = config.logConfig.consoleLevel = 0
    endpoint.libInit(config)
    transport = pjsua2.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    endpoint.transportCreate(pjsua2.PJSIP_TRANSPORT_UDP, transport)
    endpoint.transportCreate(pjsua2.PJSIP_TRANSPORT_TCP, transport)
    transport.boundAddress = "::1"
    try:
        endpoint.transportCreate(pjsua2.PJSIP_TRANSPORT_UDP6, transport)
    except pjsua2.Error as error:
        # The host may lack IPv6, which is its own matter; a build without it has this code for it.
        if error.status == 70021:  # PJ_EIPV6NOTSUP
            found.append("it has no IPv6")
    endpoint.libStart()
    endpoint.libDestroy()
    return found


def main(folder: Path) -> None:
    extension = next(folder.glob("_pjsua2*.so"))
    nm = subprocess.run(["nm", "-D", extension], check=True, capture_output=True, text=True)
    sys.path.insert(0, str(folder))
    if faults := symbol_faults(nm.stdout) + running_faults():
        sys.exit("this pjsua2 is refused: " + "; ".join(faults))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
