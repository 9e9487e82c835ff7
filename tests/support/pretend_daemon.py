"""A stand-in for `glotgate serve -c FILE`: the wire gateway behind the daemon's outside.

It has the processes, the admin address and the signals that the tools rely on, so that the tools themselves can be
tested without the daemon. `pretend_daemon.py serve -c FILE`; a FILE with `"pretend": "…"` makes it misbehave.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.wire_gateway import WireGateway

_METRICS = 'glotgate_rtp_slots_missed_total 0\nglotgate_rtp_slot_lateness_seconds_bucket{le="+Inf"} 7\n'


async def _admin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)[1]
    body = _METRICS if line == "/metrics" else "{}"
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
    await writer.drain()
    writer.close()


async def serve(config: dict[str, dict[str, str]], children: list[subprocess.Popen[bytes]]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    gateway = WireGateway(config["sessions"].get("url", ""))
    host, port = config["sip"]["bind"][0]["address"].split(":")  # type: ignore[index,attr-defined]
    await gateway.start(int(port))
    host, port = config["admin"]["bind"].split(":")
    server = await asyncio.start_server(_admin, host, int(port))
    async with server:
        await stop.wait()
    for child in children:
        child.kill()
        child.wait()


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[3]).read_text())
    if given.get("pretend") == "no start":
        sys.exit("media.ports: this is what is wrong")
    busy = [sys.executable, "-c", "import time, sys\nwhile True: time.sleep(0.01)"]
    roles = [subprocess.Popen([*busy, role]) for role in ("sip", "controller", "rtp", "sessions")]
    asyncio.run(serve(given, roles))
