"""The smallest thing that a bench can take for a gateway: SIP in, RTP to a stream and back, and nothing else.

It exists to be wrong on purpose: it loses, damages, shifts or crosses audio as it is told, so that a test can
see whether the bench's programs notice. No jitter buffer, no pacing: a packet is a frame.
"""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

#: (call number, frame number, 160 bytes) → what goes on the stream, or None for a loss.
Spoil = Callable[[int, int, bytes], bytes | None]


def faithful(call: int, number: int, audio: bytes) -> bytes | None:
    return audio


@dataclass
class Call:
    number: int
    session: str
    speaker: str = "customer"
    frames: int = 0
    sequence: int = 0
    remote: tuple[str, int] | None = None
    rtp: asyncio.DatagramTransport | None = None
    stream: WSTransport | None = None
    waiting: bytearray = field(default_factory=bytearray)


class WireGateway(asyncio.DatagramProtocol):
    """Listens for SIP on a loopback port. service: base URL of the session service. shift: bytes by which
    stream frames are cut beside packet borders. refuse: a status for every INVITE. deaf: INVITEs ignored at first."""

    def __init__(
        self, service: str, spoil: Spoil = faithful, *, shift: int = 0, refuse: str = "", deaf: int = 0
    ) -> None:
        self.service, self.spoil, self.shift, self.refuse, self.deaf = service, spoil, shift, refuse, deaf
        self.calls: dict[str, Call] = {}
        self.port = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))
        self.sip = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        head, _, body = data.decode().partition("\r\n\r\n")
        line, *fields = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
        method = line.split(" ", 1)[0]
        if method == "INVITE":
            if self.deaf > 0:
                self.deaf -= 1
            elif self.refuse:
                self._answer(headers, addr, self.refuse)
            elif headers["call-id"] not in self.calls:
                task = asyncio.get_running_loop().create_task(self._invited(line, headers, body, addr))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        elif method == "BYE":
            self._answer(headers, addr, "200 OK")
            call = self.calls.get(headers["call-id"])
            if call is not None and call.stream is not None:
                call.stream.send_close(1000)

    async def _invited(self, line: str, headers: dict[str, str], body: str, addr: tuple[str, int]) -> None:
        self._answer(headers, addr, "100 Trying")
        session = line.split("sip:")[1].split("@")[0]
        call = self.calls[headers["call-id"]] = Call(len(self.calls), session)
        call.remote = ("127.0.0.1", int(body.split("m=audio ")[1].split()[0]))
        description = await asyncio.to_thread(self._fetch, session)
        gateway = self

        class Listener(WSListener):  # type: ignore[misc]
            def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
                if frame.msg_type == WSMsgType.TEXT:
                    gateway.heard(call, json.loads(frame.get_payload_as_bytes()))

        class Media(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                gateway.packet(call, data[12:])

        loop = asyncio.get_running_loop()
        call.rtp, _ = await loop.create_datagram_endpoint(Media, local_addr=("127.0.0.1", 0))
        stream = description["stream"]
        call.stream, _ = await ws_connect(Listener, f"{stream['url']}?token={stream['token']}")
        port = call.rtp.get_extra_info("sockname")[1]
        sdp = f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        self._answer(headers, addr, "200 OK", sdp)

    def _fetch(self, session: str) -> dict[str, dict[str, str]]:
        with urllib.request.urlopen(f"{self.service}/v1/sessions/{session}", timeout=5) as answer:
            found: dict[str, dict[str, str]] = json.load(answer)
        return found

    def packet(self, call: Call, audio: bytes) -> None:
        call.frames += 1
        spoilt = self.spoil(call.number, call.frames, audio)
        if spoilt is None or call.stream is None:
            return
        call.waiting += spoilt
        if self.shift and call.sequence == 0 and len(call.waiting) == 160:
            del call.waiting[: self.shift]
        while len(call.waiting) >= 160:
            payload = base64.b64encode(bytes(call.waiting[:160])).decode()
            del call.waiting[:160]
            call.sequence += 1
            message = {"type": "audio.input", "sequence": call.sequence, "timestamp_ms": call.sequence * 20,
                       "speaker": call.speaker,
                       "audio": {"encoding": "mulaw", "sample_rate_hz": 8000, "payload": payload}}  # fmt: skip
            call.stream.send(WSMsgType.TEXT, json.dumps(message).encode())

    def heard(self, call: Call, message: dict[str, object]) -> None:
        if message["type"] != "audio.output" or call.rtp is None:
            return
        audio = message["audio"]
        assert isinstance(audio, dict)
        number = int(str(message["sequence"]))
        header = bytes([0x80, 0]) + number.to_bytes(2, "big") + (number * 160).to_bytes(4, "big") + bytes(4)
        call.rtp.sendto(header + base64.b64decode(audio["payload"]), call.remote)

    def _answer(self, headers: dict[str, str], addr: tuple[str, int], status: str, sdp: str = "") -> None:
        lines = [f"SIP/2.0 {status}", *(f"{n}: {headers[n]}" for n in ("via", "from", "call-id", "cseq"))]
        lines += [f"to: {headers['to']}" + ("" if ";tag=" in headers["to"] else ";tag=wire")]
        lines += [f"contact: <sip:wire@127.0.0.1:{self.port}>", f"content-length: {len(sdp)}", "", sdp]
        self.sip.sendto("\r\n".join(lines).encode(), addr)
