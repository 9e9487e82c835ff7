from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config
from gateway.configfile import ConfigError, Problem, load, parse


def _problems(text: str, **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(textwrap.dedent(text), "f.yaml", environ)
    return caught.value.problems


def _one(text: str, **environ: str) -> str:
    (problem,) = _problems(text, **environ)
    return str(problem)


def test_an_empty_file_is_all_defaults() -> None:
    assert parse("", "f", {}) == Config()
    assert parse("# nothing\n", "f", {}) == Config()


def test_an_unknown_key_names_its_line_and_the_nearest_key() -> None:
    text = """\
        media:
          bind: 127.0.0.1
          simetric: auto
        """
    assert _one(text) == "f.yaml:3: media.simetric: unknown key; did you mean symmetric?"


def test_an_unknown_key_that_belongs_elsewhere() -> None:
    assert _one("capacity: 5") == "f.yaml:1: capacity: unknown key; did you mean media.capacity?"
    assert _one("zzz: 5") == "f.yaml:1: zzz: unknown key"


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("media: {capacity: many}", "media.capacity", "must be a whole number (it is 'many')"),
        ("media: {capacity: 1.5}", "media.capacity", "must be a whole number (it is '1.5')"),
        ("media: {capacity: 0}", "media.capacity", "must be at least 1 (it is '0')"),
        ("media: {capacity: 5000}", "media.capacity", "must be at most 4096 (it is '5000')"),
        ("media: {dtx: perhaps}", "media.dtx", "must be true or false (it is 'perhaps')"),
        ("media: {bind: 1.2.3}", "media.bind", "'1.2.3' does not appear to be an IPv4 or IPv6 address"),
        (
            "media: {original_gain_db: loud}",
            "media.original_gain_db",
            "must be a number or must be 'off' (it is 'loud')",
        ),
        (
            "media: {original_gain_db: -90}",
            "media.original_gain_db",
            "must be at least -60.0 or must be 'off' (it is '-90')",
        ),
        ("media: {symmetric: maybe}", "media.symmetric", "must be 'off', 'auto' or 'on' (it is 'maybe')"),
        (
            "media: {ports: {first: 16385}}",
            "media.ports.first",
            "16385 must be even (RFC 3550 §11: RTP even, RTCP odd)",
        ),
        (
            "media: {ports: {last: 16386}}",
            "media.capacity",
            "1000 legs need as many port pairs; ports 16384–16386 hold 1",
        ),
        ("media: {jitter: {min_ms: 90}}", "media.jitter", "min_ms 90 ≤ start_ms 40 ≤ max_ms 200 must hold"),
        ("media: 3", "media", "must be a mapping of keys to values"),
        ("sip: {bind: x}", "sip.bind", "must be a list (it is 'x')"),
        ("sip: {bind: []}", "sip.bind", "at least one is needed"),
        ("sip: {codecs: [PCMU, PCMU]}", "sip.codecs", "the same entry stands here twice"),
        ("sip: {codecs: [PCMU, G722]}", "sip.codecs[1]", "must be 'PCMU' or 'PCMA' (it is 'G722')"),
        ("sip: {bind: [{address: x}]}", "sip.bind[0].address", "'x' is not host:port"),
        (
            "sip: {bind: [{address: 'a b:5060'}]}",
            "sip.bind[0].address",
            "'a b' is neither an IP address nor a host name",
        ),
        ("routes: [{name: a}]", "routes[0].mode", "is needed here"),
        (
            "routes: [{name: a, mode: help_chat_voice, user: '(('}]",
            "routes[0].user",
            "not a regular expression: missing )",
        ),
        ("sessions: {url: 'ftp://x'}", "sessions.url", "'ftp://x' is not an http:// or https:// address"),
        ("sessions: {database: x.db}", "sessions.database", "a database is named sqlite:////path/to/file"),
        (
            "sessions: {webhooks: {allow_networks: [10.0.0.1/8]}}",
            "sessions.webhooks.allow_networks[0]",
            "host bits set",
        ),
    ],
)
def test_a_bad_value_names_key_and_reason(text: str, path: str, reason: str) -> None:
    (problem,) = _problems(text)
    assert problem.path == path
    assert reason in problem.reason
    assert problem.line == 1


def test_remote_needs_url_and_key_and_says_both() -> None:
    text = "sessions:\n  mode: remote\n"
    assert [problem.path for problem in _problems(text)] == ["sessions.api_key", "sessions.url"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("admin: {bind: '127.0.0.1:16400'}", "admin.bind: port 16400 lies inside media.ports 16384–20479"),
        (
            "sip: {bind: [{address: '0.0.0.0:20479'}]}",
            "sip.bind[0].address: port 20479 lies inside media.ports 16384–20479",
        ),
        ("admin: {bind: '127.0.0.1:8080'}", "sessions.bind: tcp port 8080 is taken by admin.bind"),
        (
            "admin: {bind: '127.0.0.1:5060'}",
            "admin.bind: tcp port 5060 is taken by sip.bind[1].address",
        ),
    ],
)
def test_overlapping_ports(text: str, expected: str) -> None:
    assert _one(text) == f"f.yaml:1: {expected}"


def test_ports_that_only_look_alike() -> None:
    two = "sip: {bind: [{address: '10.0.0.1:5060'}, {address: '10.0.0.2:5060'}]}"
    assert len(parse(two, "f", {}).sip.bind) == 2
    assert parse("sip: {bind: [{address: '127.0.0.1:8080'}]}", "f", {})  # UDP beside TCP
    assert parse("sessions: {mode: remote, url: 'https://h', api_key: k, bind: '127.0.0.1:9464'}", "f", {})
    assert parse("admin: {bind: '127.0.0.1:0'}\nsessions: {bind: '127.0.0.1:0'}", "f", {})


def test_all_problems_are_told_at_once_in_order() -> None:
    text = """\
        admin: {bind: "${NOPE}"}
        media:
          capacity: many
          capacity: 5
        sip:
          codecs: [G729]
        extra: 1
        """
    assert [(problem.line, problem.path) for problem in _problems(text)] == [
        (1, "admin.bind"),
        (4, "media.capacity"),
        (6, "sip.codecs[0]"),
        (7, "extra"),
    ]


def test_a_key_that_stands_twice() -> None:
    text = "media:\n  bind: 127.0.0.1\n  bind: 127.0.0.2\n"
    assert _one(text) == "f.yaml:3: media.bind: stands here twice, first in line 2"


def test_yaml_that_is_none() -> None:
    assert _one("media: [1, 2").startswith("f.yaml:1: is not YAML: ")
    assert _one("a: b: c").startswith("f.yaml:1: is not YAML: ")
    assert _one("- 1\n- 2\n") == "f.yaml: must be a mapping of keys to values"
    assert "a key must be a word" in str(_problems("? [a]\n: 1\n")[0])


@pytest.mark.parametrize("bomb", ["&a [*a]", "a: &a {b: *a}"])
def test_a_file_that_contains_itself(bomb: str) -> None:
    assert "nested too deep" in _one(bomb)


def test_a_file_that_unfolds() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 8)]
    assert "too long" in _one("\n".join(lines))


def test_on_and_off_are_words() -> None:
    config = parse("media: {symmetric: off, original_gain_db: off, dtx: true}", "f", {})
    assert config.media.symmetric == "off"
    assert config.media.original_gain_db == "off"
    assert config.media.dtx is True
    assert parse("media: {symmetric: on}", "f", {}).media.symmetric == "on"


def test_substitution_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk_live_x\n")
    text = f"""\
sessions:
  mode: remote
  url: https://${{HOST}}/api
  api_key: ${{file:{tmp_path}/key}}
stream:
  frame_ms: ${{FRAME}}
media:
  capacity: ${{CAP}}
routes:
  - {{name: a, mode: help_chat_voice, metadata: {{price: "$${{not}} $5"}}}}
"""
    config = parse(text, "f", {"HOST": "h", "FRAME": "40", "CAP": "7"})
    assert config.sessions.url == "https://h/api"
    assert config.sessions.api_key is not None
    assert config.sessions.api_key.get_secret_value() == "sk_live_x"
    assert (config.stream.frame_ms, config.media.capacity) == (40, 7)
    assert config.routes[0].metadata == {"price": "${not} $5"}


def test_what_can_not_be_substituted_is_told_once(tmp_path: Path) -> None:
    text = f"media:\n  capacity: ${{CAP}}\nsessions:\n  api_key: ${{file:{tmp_path}/no}}\n  database: ${{}}\n"
    assert [str(problem) for problem in _problems(text)] == [
        "f.yaml:2: media.capacity: environment variable CAP is not set",
        f"f.yaml:4: sessions.api_key: file {tmp_path}/no can not be read: No such file or directory",
        "f.yaml:5: sessions.database: environment variable (no name) is not set",
    ]


def test_no_error_shows_a_secret() -> None:
    assert "1234" not in _one("sessions: {api_key: 1234}")
    assert "hush" not in _one("stream: {frame_ms: '${S}'}", S="hush")
    config = parse("sessions: {api_key: hush}", "f", {})
    assert "hush" not in repr(config) + str(config)


@pytest.mark.parametrize("kind", ["missing", "directory", "binary"])
def test_a_file_that_can_not_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.yaml"
    if kind == "directory":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"sip:\n  advertise: \xff\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(path) in str(caught.value)
    assert caught.value.problems[0].line == (2 if kind == "binary" else 0)


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfmedia: {capacity: 3}\n")
    assert load(path, {}).media.capacity == 3


def _outcome(text: str) -> Config | list[Problem]:
    try:
        return parse(text, "f", {})
    except ConfigError as error:
        return error.problems


_WORDS = st.sampled_from(
    ["sip", "media", "bind", "capacity", "ports", "first", "routes", "x", "${A}", "$${", "off", ""]
)
_LEAVES = _WORDS | st.integers() | st.booleans() | st.none() | st.floats() | st.text(max_size=5)
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(_WORDS, _TREES, max_size=5))
def test_any_yaml_is_a_configuration_or_a_list_of_problems(tree: dict[str, object]) -> None:
    assert _outcome(yaml.safe_dump(tree))


@given(st.text())
def test_any_text_is_a_configuration_or_a_list_of_problems(text: str) -> None:
    assert _outcome(text)


def test_an_entry_of_a_kind_is_blamed_by_its_keys_and_by_its_kind() -> None:
    text = """
speech:
  engines:
    hosted:
      kind: openai
      recognition: {modl: whisper-1}
    third: {kind: nope}
    fourth: {}
    offline: {max_speakers: 0}
"""
    with pytest.raises(ConfigError) as told:
        parse(text, "f", {})
    assert [(problem.line, problem.path) for problem in told.value.problems] == [
        (6, "speech.engines.hosted.recognition.model"),
        (6, "speech.engines.hosted.recognition.modl"),
        (7, "speech.engines.third"),
        (8, "speech.engines.fourth"),
        (9, "speech.engines.offline.max_speakers"),
    ]
