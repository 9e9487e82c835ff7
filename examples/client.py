"""Speaks a file into a session and keeps what comes back.

    pip install httpx websockets
    GLOTGATE_API_KEY=sk_live_… python client.py http://127.0.0.1:8080 in.ulaw out.ulaw

Both files are raw G.711 mu-law, 8000 Hz, one channel (sox: -t ul -r 8000 -c 1).
"""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

import httpx
import websockets

FRAME = 160  # octets: 20 ms


async def speak(stream, audio: bytes) -> None:
    """Send 20 ms frames in real time, then silence, so that the end of the speech is noticed."""
    audio += b"\xff" * (FRAME - len(audio) % FRAME) + b"\xff" * FRAME * 50
    start = asyncio.get_running_loop().time()
    for sequence, at in enumerate(range(0, len(audio), FRAME)):
        message = {
            "type": "audio.input",
            "sequence": sequence,
            "timestamp_ms": sequence * 20,
            "speaker": "customer",
            "audio": {
                "encoding": "mulaw",
                "sample_rate_hz": 8000,
                "payload": base64.b64encode(audio[at : at + FRAME]).decode(),
            },
        }
        await stream.send(json.dumps(message))
        await asyncio.sleep(start + sequence * 0.02 - asyncio.get_running_loop().time())
    await stream.send(json.dumps({"type": "session.end"}))


async def converse(base: str, audio: bytes) -> bytes:
    """A session in which this audio is said; returns what was heard."""
    headers = {"Authorization": f"Bearer {os.environ['GLOTGATE_API_KEY']}"}
    async with httpx.AsyncClient(base_url=base, headers=headers) as api:
        body = {"mode": "bidirectional_translation", "source_language": "en", "target_language": "es"}
        session = (await api.post("/v1/sessions", json=body)).raise_for_status().json()
        print("session", session["id"])
        heard = bytearray()
        url = f"{session['stream']['url']}?token={session['stream']['token']}"
        async with websockets.connect(url) as stream:
            speaking = None
            async for text in stream:
                message = json.loads(text)
                if message["type"] == "session.ready":
                    speaking = asyncio.create_task(speak(stream, audio))
                elif message["type"] == "audio.output":
                    heard += base64.b64decode(message["audio"]["payload"])
                elif message["type"].startswith(("transcript.", "session.error")):
                    print(message["type"], message.get("text") or message.get("message"))
            if speaking is not None:
                await speaking
        summary = (await api.post(f"/v1/sessions/{session['id']}/end", json={})).raise_for_status().json()
        print(f"{len(heard) / 8000:.1f} s came back in a session of {summary['duration_seconds']:.1f} s")
        return bytes(heard)


if __name__ == "__main__":
    base, source, target = sys.argv[1:]
    Path(target).write_bytes(asyncio.run(converse(base, Path(source).read_bytes())))
