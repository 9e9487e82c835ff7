"""Telephones by the dozen: each a SIP peer with an RTP socket, all driven by one thread that keeps 20 ms."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.sip.headers import Message
from tests.support.sip import OFFER, Peer

SAMPLES = 160
#: A loud square wave of 400 Hz, and silence, in mu-law.
LOUD = (b"\x10" * 10 + b"\x90" * 10) * 8
SILENT = b"\xff" * SAMPLES


class Phone:
    """One call. sent, heard: packets; loud: those heard that were not silence."""

    def __init__(self, port: int) -> None:
        self.peer = Peer(port)
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rtp.bind(("127.0.0.1", 0))
        self.rtp.setblocking(False)
        self.speaking = False
        self.sent = self.heard = self.loud = 0

    def invite(self, user: str) -> None:
        offer = OFFER.replace("audio 4000", f"audio {self.rtp.getsockname()[1]}")
        self.peer.send(self.peer.request("INVITE", offer, user=user))

    def established(self) -> None:
        """Wait for the 200, acknowledge it and speak."""
        ok = self.peer.expect("200")
        found = re.search(r"m=audio (\d+)", ok.body)
        assert found is not None
        self.rtp.connect(("127.0.0.1", int(found[1])))
        self.peer.send(self.peer.request("ACK"))
        self.speaking = True

    def options(self) -> Message:
        """Ask how the gateway is, in a transaction of its own."""
        asking = Peer(int(self.peer.there.rpartition(":")[2]))
        asking.sock.settimeout(0.5)
        try:
            asking.send(asking.request("OPTIONS"))
            return asking.receive()
        finally:
            asking.close()

    def bye(self) -> Message:
        self.peer.send(self.peer.request("BYE"))
        return self.peer.expect("SIP/2.0")

    def turn(self, voice: bytes) -> None:
        """20 ms have passed."""
        if self.speaking:
            self.sent += 1
            header = struct.pack("!BBHII", 0x80, 0, self.sent & 0xFFFF, self.sent * SAMPLES, 77)
            with contextlib.suppress(OSError):  # nobody listens any more
                self.rtp.send(header + voice)
        with contextlib.suppress(OSError):
            while True:
                payload = self.rtp.recv(2048)[12:]
                self.heard += 1
                self.loud += len(set(payload)) > 1

    def close(self) -> None:
        self.speaking = False
        self.peer.close()
        self.rtp.close()


@contextmanager
def phones(port: int, count: int) -> Iterator[list[Phone]]:
    """So many, every 20 ms on an absolute clock, each loud for a second and silent for another in turn."""
    made = [Phone(port) for _ in range(count)]
    stop = threading.Event()

    def run() -> None:
        due, number = time.monotonic(), 0
        while not stop.is_set():
            due, number = due + 0.02, number + 1
            for at, phone in enumerate(made):
                phone.turn(LOUD if (number // 50 + at) % 2 else SILENT)
            time.sleep(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join()
        for phone in made:
            phone.close()
