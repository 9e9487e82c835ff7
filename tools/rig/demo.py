"""The demo: English spoken into a call by an independent phone, heard in Spanish on the way back, measured and drawn.

Owns the course and what is written to demo-out/. It passes only if the transcript holds the Spanish words that were to
be expected, and the recording of the phone holds them spoken.
"""

from __future__ import annotations

import argparse
import json
import os
import re
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
from rig.sound import Placed, Samples, find, find_words, join, silence, speak, speak_english, write_wav
from rig.tap import Tap

#: What is said, and words that its Spanish must have, whichever way it is put.
SENTENCES = (
    ("I would like to reserve a table for two people.", {"reservar", "mesa", "dos", "personas"}),
    ("The meeting begins tomorrow morning.", {"reunión", "empieza", "mañana"}),
)
LEAD_S = 1.0
#: Silence after each sentence: what its translation takes, and to spare.
PAUSE_S = 4.5
#: The Spanish was heard when the recording holds it with at least this likeness (see sound.find_words).
ENOUGH = 0.8


@dataclass(frozen=True)
class Script:
    """What is said: the whole recording, and each sentence with its place in it."""

    samples: Samples
    sentences: list[tuple[str, float, Samples]]


@dataclass(frozen=True)
class Said:
    """One sentence's way. spoken: where it is in `said`. turn: of the transcript, None when there is none for it.
    heard: where its translation is in `heard`, and its length in seconds."""

    text: str
    expected: set[str]
    spoken: Placed
    length_s: float
    turn: dict[str, Any] | None
    heard: Placed | None
    heard_length_s: float

    @property
    def spanish(self) -> str:
        return str(self.turn["translation"]["text"]) if self.turn and "translation" in self.turn else ""

    @property
    def passed(self) -> bool:
        words = set(re.findall(r"\w+", self.spanish.lower()))
        return self.expected <= words and self.heard is not None and self.heard.likeness >= ENOUGH


@dataclass(frozen=True)
class Result:
    """What a call came to."""

    said: Samples
    heard: Samples
    sentences: list[Said]
    answered_s: float
    to_stream_ms: list[float]
    to_rtp_ms: list[float]
    untapped: str
    record: dict[str, Any]

    @property
    def passed(self) -> bool:
        return all(sentence.passed for sentence in self.sentences)


def script(folder: Path) -> Script:
    """The sentences, each followed by the time that its translation takes."""
    parts, sentences, at = [silence(LEAD_S)], [], LEAD_S
    for text, _ in SENTENCES:
        samples = speak_english(text, folder / "english.wav")
        pause = silence(PAUSE_S)
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


def transcript(daemon: Daemon, key: str, session_id: str, wait_s: float = 5.0) -> list[dict[str, Any]]:
    """The turns, once the session has ended."""
    request = urllib.request.Request(
        f"{daemon.sessions_url}/v1/sessions/{session_id}/transcript", headers={"Authorization": f"Bearer {key}"}
    )
    until = time.monotonic() + wait_s
    while True:
        with urllib.request.urlopen(request, timeout=10) as answer:
            known = json.load(answer)
        if known["status"] == "completed" or time.monotonic() > until:
            turns: list[dict[str, Any]] = known["turns"]
            return turns
        time.sleep(0.1)


def follow(said: Script, spoken: Samples, heard: Samples, turns: list[dict[str, Any]], folder: Path) -> list[Said]:
    """Each sentence's way through the call: by time to its turn, by its Spanish to where that was heard."""
    ways = []
    for (text, at, samples), (_, expected) in zip(said.sentences, SENTENCES, strict=True):
        place = find(samples, spoken, max(0.0, at - 0.5))
        turn = next((one for one in turns if abs(one["start_ms"] / 1000 - place.start_s) < 1.5), None)
        found, length = None, 0.0
        if turn is not None and "translation" in turn:
            # The same voice once more, by itself: what was heard must be this.
            spanish = speak(turn["translation"]["text"], folder / "spanish.wav", "es", 160)
            found, length = find_words(spanish, heard, place.start_s), spanish.size / 8000
        ways.append(Said(text, expected, place, samples.size / 8000, turn, found, length))
    return ways


def call(daemon: Daemon, key: str, session_id: str, said: Script, folder: Path) -> Result:
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
    ways = follow(said, spoken, heard, transcript(daemon, key, session_id), folder)
    return Result(spoken, heard, ways, answered, to_stream, to_rtp, untapped, record_of(daemon))


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
    for sentence in result.sentences:
        turn, place = sentence.turn, sentence.heard
        rows.append((f"said “{sentence.text}”", f"understood “{turn['text']}”" if turn else "NOT UNDERSTOOD"))
        if turn is None or place is None:
            continue
        wanting = sentence.expected - set(re.findall(r"\w+", sentence.spanish.lower()))
        verdict = f"WITHOUT {', '.join(sorted(wanting))}" if wanting else "as expected"
        rows.append(("  translated", f"“{sentence.spanish}”, {verdict}"))
        after = place.start_s - sentence.spoken.start_s - sentence.length_s
        seen = f"{after:.2f} s after the sentence's end" if place.likeness >= ENOUGH else "NOT HEARD"
        rows.append(("  heard in Spanish", f"{seen}, likeness {place.likeness:.3f}"))
    return rows


def write(out: Path, result: Result) -> None:
    """said.wav, heard.wav, demo.png."""
    out.mkdir(parents=True, exist_ok=True)
    write_wav(out / "said.wav", result.said)
    write_wav(out / "heard.wav", result.heard)
    utterances = [
        Utterance(
            one.text,
            one.spanish,
            one.spoken.start_s,
            one.heard.start_s if one.heard and one.heard.likeness >= ENOUGH else None,
            one.length_s,
            one.heard_length_s,
        )
        for one in result.sentences
    ]
    caption = "English said by the caller; its Spanish, by the offline engine, heard by the same phone."
    draw(out / "demo.png", result.said, result.heard, utterances, caption)


def stay(daemon: Daemon, key: str) -> None:
    """Keep it running until interrupted, and say what to do with it."""
    session = create_session(daemon, key)
    print(
        f"""
It keeps running until Ctrl-C. Dial, with any phone that needs no account (PCMU or PCMA, UDP):
    sip:{session["id"]}@{daemon.sip_address}
and speak English: alone in a session, you hear your own words in Spanish. Open:
    {daemon.sessions_url}/docs      the sessions API; its key is in {daemon.folder / "key"}
    {daemon.admin_url}/metrics   what Prometheus reads
    {daemon.admin_url}/readyz    whether it takes calls
Another session:
    curl -H "Authorization: Bearer $(cat {daemon.folder / "key"})" -H 'Content-Type: application/json' \\
        -d '{{"mode":"bidirectional_translation","source_language":"en","target_language":"es"}}' \\
        {daemon.sessions_url}/v1/sessions
The log: {daemon.log}""",
        flush=True,
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print()


def main(argv: list[str] | None = None) -> int:
    """Run the demo; 0 only if every sentence was heard in Spanish."""
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="leave it running and say what to dial")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="where to write (default demo-out)")
    parser.add_argument("--set-up-seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    end_in_order()
    folder = scratch()
    said, began = script(folder), time.monotonic()
    with Daemon(capacity=16, changes={"sessions": {"interpreter": "pipeline"}}) as daemon:
        started = time.monotonic() - began
        key = create_key(daemon)
        key_file = daemon.folder / "key"
        key_file.touch(0o600)
        key_file.write_text(key)
        session = create_session(daemon, key)
        print(f"calling sip:{session['id']}@{daemon.sip_address}, {said.samples.size / 8000:.0f} s", flush=True)
        result = call(daemon, key, session["id"], said, folder)
        write(given.out, result)
        rows = table(result, given.set_up_seconds, started)
        width = max(len(name) for name, _ in rows)
        print("\n".join(f"  {name:<{width}}  {value}" for name, value in rows))
        print(f"  written: {given.out / 'said.wav'}, {given.out / 'heard.wav'}, {given.out / 'demo.png'}")
        print("heard in Spanish" if result.passed else "NOT HEARD IN SPANISH", flush=True)
        if not result.passed:
            print(daemon.log_end(), file=sys.stderr)
        if given.stay:
            stay(daemon, key)
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
