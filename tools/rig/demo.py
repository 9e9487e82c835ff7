"""The demo: one call through the gateway by an independent phone, heard, measured and drawn.

Owns the course and what is written to demo-out/. It passes only if the sentences that were spoken came back.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import latency
from rig.daemon import Daemon, end_in_order
from rig.picture import Utterance, draw
from rig.softphone import Softphone, scratch
from rig.sound import Placed, Samples, find, join, silence, speak, write_wav
from rig.tap import Tap

SENTENCES = ("Good morning, how may I help you?", "My parcel has not arrived yet.")
LEAD_S = 1.0
#: The interpreter waits for the end of an utterance, then plays it: this much silence leaves room for that.
PAUSE_S = 1.2
#: Audio has come back when a recording holds each sentence with at least this likeness (see sound.find).
ENOUGH = 0.9


@dataclass(frozen=True)
class Script:
    """What is said: the whole recording, and each sentence with its place in it."""

    samples: Samples
    sentences: list[tuple[str, float, Samples]]


@dataclass(frozen=True)
class Result:
    """What a call came to. found: per sentence, where it was heard. spoken_at: where it really began in `said`."""

    said: Samples
    heard: Samples
    spoken: list[Placed]
    found: list[Placed]
    lengths_s: list[float]
    answered_s: float
    to_stream_ms: list[float]
    to_rtp_ms: list[float]
    untapped: str
    record: dict[str, Any]

    @property
    def passed(self) -> bool:
        return all(place.likeness >= ENOUGH for place in self.found)


def script(folder: Path) -> Script:
    """The sentences, each followed by the time that it takes to be played back."""
    parts, sentences, at = [silence(LEAD_S)], [], LEAD_S
    for text in SENTENCES:
        samples = speak(text, folder / "espeak.wav")
        pause = silence(samples.size / 8000 + PAUSE_S)
        sentences.append((text, at, samples))
        parts += [samples, pause]
        at += (samples.size + pause.size) / 8000
    return Script(join(parts), sentences)


def create_key(daemon: Daemon) -> str:
    """An API key, as an operator makes it."""
    words = daemon.run("keys", "create").split()
    return next(word for word in reversed(words) if word.startswith("sk_"))


def create_session(daemon: Daemon, key: str) -> dict[str, Any]:
    """A session over REST."""
    body = {"mode": "bidirectional_translation", "source_language": "en", "target_language": "es"}
    request = urllib.request.Request(
        f"{daemon.sessions_url}/v1/sessions", json.dumps(body).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=10) as answer:
        session: dict[str, Any] = json.load(answer)
    return session


def call(daemon: Daemon, session_id: str, said: Script, folder: Path) -> Result:
    """Place the call, listen, and compare."""
    write_wav(folder / "script.wav", said.samples)
    phone = Softphone(folder / f"phone-{os.getpid()}", folder / "script.wav")
    uri, seconds = f"sip:{session_id}@{daemon.sip_address}", said.samples.size / 8000 + 0.3
    to_stream: list[float] = []
    to_rtp: list[float] = []
    try:
        tap, untapped = Tap(), ""
    except PermissionError:
        answered, untapped = phone.call(uri, seconds), "needs root for a tap on the loopback interface"
    else:
        with tap:
            answered = phone.call(uri, seconds)
        packets = tap.rtp(phone.rtp_ports)
        messages = tap.messages(int(str(daemon.config["sessions"]["stream_bind"]).rsplit(":", 1)[1]))
        to_stream = latency.rtp_to_stream(packets, messages, phone.rtp_ports)
        to_rtp = latency.stream_to_rtp(packets, messages, phone.rtp_ports)
    spoken, heard = phone.spoken(), phone.heard()
    places = [find(samples, spoken, max(0.0, at - 0.5)) for _, at, samples in said.sentences]
    found = [find(samples, heard, place.start_s) for (_, _, samples), place in zip(said.sentences, places, strict=True)]
    lengths = [samples.size / 8000 for _, _, samples in said.sentences]
    return Result(spoken, heard, places, found, lengths, answered, to_stream, to_rtp, untapped, record_of(daemon))


def record_of(daemon: Daemon, wait_s: float = 5.0) -> dict[str, Any]:
    """The call record that the daemon writes at the end of the call."""
    file, until = Path(daemon.config["logging"]["call_records"]), time.monotonic() + wait_s
    while time.monotonic() < until:
        lines = file.read_text().splitlines() if file.exists() else []
        if lines:
            record: dict[str, Any] = json.loads(lines[-1])
            return record
        time.sleep(0.05)
    return {}


def statistic(record: Any, name: str) -> float | None:
    """A figure of the call record by its name, wherever it stands in it."""
    if isinstance(record, dict):
        if isinstance(record.get(name), (int, float)):
            return float(record[name])
        record = list(record.values())
    if isinstance(record, list):
        return next((figure for part in record if (figure := statistic(part, name)) is not None), None)
    return None


def table(result: Result, set_up_s: float | None, started_s: float) -> list[tuple[str, str]]:
    """What is printed: name and value."""

    def spread(values: list[float]) -> str:
        if not values:
            return f"not measured: {result.untapped or 'nothing to tell one packet from another'}"
        low, high = latency.quantile(values, 0.5), latency.quantile(values, 0.99)
        return f"p50 {low:.1f} ms   p99 {high:.1f} ms   ({len(values)} packets)"

    def figure(name: str, unit: str, digits: int = 1) -> str:
        value = statistic(result.record, name)
        return "not in the call record" if value is None else f"{value:.{digits}f}{unit}"

    rows = [] if set_up_s is None else [("set-up of this machine", f"{set_up_s:.1f} s")]
    rows += [
        ("start of the daemon", f"{started_s:.1f} s"),
        ("call answered after", f"{1000 * result.answered_s:.0f} ms"),
        ("RTP → stream, play-out delay included", spread(result.to_stream_ms)),
        ("stream → RTP, play-out lead included", spread(result.to_rtp_ms)),
        ("packets lost", figure("packets_lost", "", 0)),
        ("jitter", figure("jitter_ms", " ms", 2)),
        ("MOS (E-model)", figure("mos", "", 2)),
    ]
    for text, place in zip(SENTENCES, result.found, strict=True):
        verdict = "came back" if place.likeness >= ENOUGH else "DID NOT COME BACK"
        rows.append((f"“{text}”", f"{verdict}: likeness {place.likeness:.3f}, SNR {place.snr_db:.0f} dB"))
    return rows


def write(out: Path, result: Result) -> None:
    """said.wav, heard.wav, demo.png."""
    out.mkdir(parents=True, exist_ok=True)
    write_wav(out / "said.wav", result.said)
    write_wav(out / "heard.wav", result.heard)
    each = zip(SENTENCES, result.spoken, result.found, result.lengths_s, strict=True)
    utterances = [
        Utterance(text, spoken.start_s, found.start_s if found.likeness >= ENOUGH else None, length)
        for text, spoken, found, length in each
    ]
    caption = "The loopback interpreter waits for the end of each sentence, then plays it back to the caller."
    draw(out / "demo.png", result.said, result.heard, utterances, caption)


def stay(daemon: Daemon, key: str) -> None:
    """Keep it running until interrupted, and say what to do with it."""
    session = create_session(daemon, key)
    print(
        f"""
It keeps running until Ctrl-C. Dial, with any phone that needs no account (PCMU or PCMA, UDP):
    sip:{session["id"]}@{daemon.sip_address}
and it plays back to you each sentence that you speak. Open:
    {daemon.sessions_url}/docs      the sessions API; its key is in {daemon.folder / "key"}
    {daemon.admin_url}/metrics   what Prometheus reads
    {daemon.admin_url}/readyz    whether it takes calls
Another session:
    curl -H "Authorization: Bearer $(cat {daemon.folder / "key"})" -H 'Content-Type: application/json' \\
        -d '{{"mode":"bidirectional_translation"}}' {daemon.sessions_url}/v1/sessions
The log: {daemon.log}""",
        flush=True,
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print()


def main(argv: list[str] | None = None) -> int:
    """Run the demo; 0 only if every sentence came back."""
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="leave it running and say what to dial")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="where to write (default demo-out)")
    parser.add_argument("--set-up-seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    end_in_order()
    folder = scratch()
    said, began = script(folder), time.monotonic()
    with Daemon(capacity=16) as daemon:
        started = time.monotonic() - began
        key = create_key(daemon)
        key_file = daemon.folder / "key"
        key_file.touch(0o600)
        key_file.write_text(key)
        session = create_session(daemon, key)
        print(f"calling sip:{session['id']}@{daemon.sip_address}, {said.samples.size / 8000:.0f} s", flush=True)
        result = call(daemon, session["id"], said, folder)
        write(given.out, result)
        rows = table(result, given.set_up_seconds, started)
        width = max(len(name) for name, _ in rows)
        print("\n".join(f"  {name:<{width}}  {value}" for name, value in rows))
        print(f"  written: {given.out / 'said.wav'}, {given.out / 'heard.wav'}, {given.out / 'demo.png'}")
        print("audio came back" if result.passed else "AUDIO DID NOT COME BACK", flush=True)
        if not result.passed:
            print(daemon.log_end(), file=sys.stderr)
        if given.stay:
            stay(daemon, key)
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
