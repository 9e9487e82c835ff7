"""The tool from its command line: choices, output forms, and an output that is the same each time."""

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from rig import replay_cli

from tests.support import call_capture
from tests.support.captures import CALLER, GATEWAY, pcap, pcapng, udp
from tests.support.engine import rtp_packet

GOLDEN = Path(__file__).with_name("replay_golden.txt")
#: With the delay held fast, what is heard does not hang on how the delay is estimated.
FIXED = ("--jitter", "60:60:60")


@pytest.fixture
def capture(tmp_path: Path) -> str:
    path = tmp_path / "call.pcap"
    path.write_bytes(call_capture.capture())
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert replay_cli.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_the_same_capture_gives_the_same_output(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    """When the engine is meant to behave differently, tools/replay --odd with `FIXED` writes the new file."""
    assert run(capsys, capture, "--odd", *FIXED) == GOLDEN.read_text()
    assert run(capsys, capture, "--json") == run(capsys, capture, "--json")


def test_json_has_every_packet_and_the_summary_last(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in run(capsys, capture, "--json").splitlines()]
    summary = lines.pop()["summary"]
    packets = [line for line in lines if line["line"] == "packet"]
    assert summary["packets"]["total"] == len(packets) == len(call_capture.packets())
    assert packets[0] == {
        "line": "packet",
        "at_ms": 0.0,
        "packet": 2,
        "octets": 172,
        "what": "played",
        "sequence": 1000,
        "timestamp": 16000,
        "ssrc": "00000011",
        "payload_type": 0,
        "notes": ["start"],
        "waited_ms": 40.0,
    }
    assert summary["flow"] == "192.0.2.10:4000 → 192.0.2.20:16384"
    assert summary["left_out"] == {"not UDP": 1}


def test_streams_are_listed_and_chosen(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    listed = [json.loads(line) for line in run(capsys, capture, "--list", "--json").splitlines()]
    assert [(s["stream"], s["ssrc"], s["packets"]) for s in listed] == [
        (1, "00000011", 160),
        (2, "00000033", 120),
        (3, "00000022", 50),
    ]
    assert "ssrc 00000033" in run(capsys, capture, "--list")
    own = run(capsys, capture, "--stream", "2", "--json").splitlines()
    assert json.loads(own[-1])["summary"]["packets"] == {"total": 120, "played": 120}
    alone = run(capsys, capture, "--stream", "3", "--alone", "--json").splitlines()
    assert json.loads(alone[-1])["summary"]["packets"] == {"total": 50, "played": 50}


def test_payload_types_are_what_the_user_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dynamic.pcapng"
    packets = [(n * 20_000_000, udp(CALLER, GATEWAY, rtp_packet(n, n * 160, b"x" * 160, 97))) for n in range(20)]
    path.write_bytes(pcapng(packets))
    unknown = json.loads(run(capsys, str(path), "--json").splitlines()[-1])["summary"]
    assert unknown["rejected"] == {"bad_payload_type": 20}
    known = json.loads(run(capsys, str(path), "--json", "--payload-type", "97=pcma").splitlines()[-1])["summary"]
    assert known["packets"]["played"] == 20


def test_what_was_heard_is_written(capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "heard.wav"
    out = run(capsys, capture, "--json", "--wav", str(path))
    frames = json.loads(out.splitlines()[-1])["summary"]["frames"]["total"]
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (8000, 2, 1)
        assert file.getnframes() == frames * 160
        first = file.readframes(160)
    assert max(abs(int.from_bytes(first[i : i + 2], "little", signed=True)) for i in range(0, 320, 2)) > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/absent"], "No such file"),
        (["{tmp}/text"], "neither a pcap nor a pcapng"),
        (["{tmp}/empty"], "no RTP stream in this capture (1 packets not UDP)"),
        (["{tmp}/empty", "--list"], "no RTP stream in this capture"),
        (["{tmp}/call.pcap", "--stream", "4"], "the capture has 3"),
        (["{tmp}/call.pcap", "--stream", "0"], "there is no stream 0"),
    ],
)
def test_trouble_is_said_in_one_line(
    arguments: list[str], message: str, capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("hello")
    packet = udp(CALLER, GATEWAY, b"")
    (tmp_path / "empty").write_bytes(pcap([(0, packet[:9] + b"\6" + packet[10:])]))
    assert replay_cli.main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not said.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--payload-type", "128=PCMU"],
        ["--payload-type", "0=opus"],
        ["--payload-type", "PCMU"],
        ["--jitter", "20:40"],
        ["--jitter", "40:20:60"],
        ["--jitter", "1:2:900"],
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        replay_cli.main(["x", *arguments])
    assert ended.value.code == 2


def test_the_tool_itself_and_a_reader_that_goes_away(capture: str) -> None:
    root = Path(__file__).parents[2]
    environment = os.environ | {"GLOTGATE_VENV": sys.prefix}
    process = subprocess.Popen(
        [root / "tools/replay", capture], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert "played" in process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 0
