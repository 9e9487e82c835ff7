"""The command line of tools/replay: a capture in, what the engine did with it out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import wave
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rig import pcap, replay
from rig.datagrams import Datagram, datagrams
from rig.replay import Account, EventLine, FrameLine, Line, PacketLine, Replay
from rig.streams import Stream, find, header_of
from rtp import g711
from rtp.settings import Settings
from rtp.table import KINDS

DESCRIPTION = """Runs the media engine on the RTP of a capture, without sockets and on the capture's own clock, and says
what it did with each packet: when it came, its number in the capture, SSRC, payload type, sequence number, timestamp
and octets, what became of it, and how long it waited to be heard. The same capture gives the same output."""
EPILOG = """A capture of a call has two streams, of which the longer is replayed if none is named: what the gateway
heard is the one to its own port, see --list. Of the stream that is chosen, everything is replayed that came from its
source address to its destination address, as a leg would get it: other SSRCs, RTCP and damaged packets too, unless
--alone is given."""


class Trouble(Exception):
    """What the user has to hear instead of a result."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/replay", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("capture", type=Path, help="a pcap or pcapng file")
    parser.add_argument("--list", action="store_true", help="say which RTP streams there are, and no more")
    parser.add_argument("--stream", type=int, metavar="N", help="which one of the list (default: the longest)")
    parser.add_argument("--alone", action="store_true", help="replay only packets of the stream's own SSRC")
    parser.add_argument(
        "--payload-type",
        action="append",
        default=[],
        type=_payload_type,
        metavar="N=NAME",
        help=f"what SDP agreed, beside {_mapping(replay.PAYLOAD_TYPES)}; names: {', '.join(KINDS)}",
    )
    parser.add_argument(
        "--jitter",
        type=_jitter,
        default=(20, 40, 200),
        metavar="MIN:START:MAX",
        help="bounds of the play-out delay in ms (default 20:40:200)",
    )
    parser.add_argument("--odd", action="store_true", help="leave out packets that were simply played")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, the summary last")
    parser.add_argument("--wav", type=Path, metavar="FILE", help="write what was heard, 16 bit, 8000 Hz")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """0: done. 2: the capture or the choice was no good, as said on standard error."""
    given = arguments(argv)
    try:
        _run(given)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads our output has seen enough; Python would try to write the rest at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Trouble, pcap.NotACapture, OSError) as error:
        print(f"tools/replay: {error}", file=sys.stderr)
        return 2
    return 0


def _run(given: argparse.Namespace) -> None:
    left_out: Counter[str] = Counter()
    streams = find(_read(given.capture, left_out))
    if given.list:
        _choose(streams, None, left_out)
        for number, stream in enumerate(streams, 1):
            fields = {"stream": number, **stream.describe()}
            print(json.dumps(fields) if given.json else _stream_text(fields))
        return
    number, stream = _choose(streams, given.stream, left_out)
    minimum, start, maximum = given.jitter
    settings = Settings(
        capacity=1, jitter_min_ms=minimum, jitter_start_ms=start, jitter_max_ms=maximum, vad_events=True
    )
    chosen = [
        (datagram.number, datagram.time_ns, datagram.payload)
        for datagram in _read(given.capture, Counter())
        if (datagram.source, datagram.destination) == stream.flow and (not given.alone or _is_of(stream, datagram))
    ]
    chosen.sort(key=lambda item: item[1])  # several interfaces may have been captured at once
    try:
        account = Replay(settings, replay.PAYLOAD_TYPES | dict(given.payload_type)).run(chosen)
    except ValueError as error:
        raise Trouble(str(error)) from None
    summary = {"stream": number, **stream.describe(), "left_out": dict(sorted(left_out.items()))} | account.summary
    for line in account.lines:
        if not (given.odd and _is_ordinary(line)):
            print(json.dumps(_fields(line)) if given.json else _text(line))
    print(json.dumps({"summary": summary}) if given.json else _summary_text(summary))
    if given.wav:
        _write(given.wav, account)


def _read(path: Path, left_out: Counter[str]) -> Iterator[Datagram]:
    with path.open("rb") as file:
        yield from datagrams(pcap.packets(file), left_out)


def _choose(streams: list[Stream], wanted: int | None, left_out: Counter[str]) -> tuple[int, Stream]:
    if not streams:
        reasons = ", ".join(f"{n} packets {reason}" for reason, n in left_out.items())
        raise Trouble("no RTP stream in this capture" + (f" ({reasons})" if reasons else ""))
    if wanted is None:
        wanted = max(range(len(streams)), key=lambda i: streams[i].packets) + 1
    if not 1 <= wanted <= len(streams):
        raise Trouble(f"there is no stream {wanted}: the capture has {len(streams)}, see --list")
    return wanted, streams[wanted - 1]


def _is_of(stream: Stream, datagram: Datagram) -> bool:
    header = header_of(datagram.payload)
    return header is not None and header.ssrc == stream.ssrc


def _is_ordinary(line: Line) -> bool:
    return isinstance(line, PacketLine) and line.what == "played" and not line.notes


def _fields(line: Line) -> dict[str, Any]:
    """What is known of it; the kind of the line first."""
    kind = {PacketLine: "packet", FrameLine: "frames", EventLine: "event"}[type(line)]
    return {"line": kind} | {name: value for name, value in asdict(line).items() if value not in (None, [])}


def _text(line: Line) -> str:
    at = f"{line.at_ms / 1000:10.3f}  "
    match line:
        case PacketLine():
            what = f"{line.what} {line.reason}" if line.reason else line.what
            header = ""
            if line.ssrc is not None:
                header = f"{line.ssrc} {line.payload_type:3} {line.sequence:5} {line.timestamp:10}"
            waited = "" if line.waited_ms is None else f"{line.waited_ms:7.1f} ms"
            columns = f"#{line.packet:<6} {header:29} {line.octets:4}  {what:28} {waited:10} {' '.join(line.notes)}"
            return f"{at}{columns}".rstrip()
        case FrameLine():
            return f"{at}{'':36}        ≈ {line.frames * 20} ms {line.heard}"
        case EventLine():
            digit = "" if line.digit is None else f" {line.digit}, {line.duration_ms} ms"
            return f"{at}{'':36}        ! {line.event}{digit}"


def _summary_text(summary: dict[str, Any]) -> str:
    rows = []
    for name, value in summary.items():
        shown = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
        if shown != "":
            rows.append(f"  {name.replace('_', ' '):18} {shown}")
    return "\n" + "\n".join(rows)


def _stream_text(fields: dict[str, Any]) -> str:
    types = ", ".join(f"{number}: {count}" for number, count in fields["payload_types"].items())
    return (
        f"{fields['stream']:3}  {fields['flow']}  ssrc {fields['ssrc']}  {fields['packets']} packets in "
        f"{fields['seconds']} s  payload types {types}"
    )


def _write(path: Path, account: Account) -> None:
    linear = g711.MU_TO_LINEAR[np.frombuffer(account.heard, np.uint8)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(linear.astype("<i2").tobytes())


def _payload_type(text: str) -> tuple[int, str]:
    number, _, name = text.partition("=")
    names = {known.lower(): known for known in KINDS}
    if not number.isdecimal() or int(number) > 127 or name.lower() not in names:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number up to 127, '=' and one of {', '.join(KINDS)}")
    return int(number), names[name.lower()]


def _jitter(text: str) -> tuple[int, int, int]:
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers of ms like 20:40:200")
    minimum, start, maximum = map(int, parts)
    if not 10 <= minimum <= start <= maximum <= 500:
        raise argparse.ArgumentTypeError("bounds must rise, from 10 to 500")
    return minimum, start, maximum


def _mapping(types: dict[int, str]) -> str:
    return " ".join(f"{number}={name}" for number, name in types.items())


if __name__ == "__main__":
    sys.exit(main())
