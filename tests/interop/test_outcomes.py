"""Every way in which an INVITE may end (contract §4), asked of the real daemon by SIPp: a scenario for each.

The scenarios of a table run side by side against one daemon; each test looks at how its own went. SIPp fails on
anything but what the scenario expects, headers included.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from rig.daemon import HOST, Daemon, free_port
from rig.demo import create_key, create_session

from tests.interop.watched import until
from tests.support.hosted_service import HostedService
from tests.support.scenario import Scenario, sdp
from tests.support.sipp import Calls, calling

UNKNOWN: Final = "sess_01HZZZZZZZZZZZZZZZZZZZZZZZ"
KEY: Final = "inline:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"
#: Retry-After is what `sip.retry_after_s` says, where the service does not say more.
LATER: Final = "Retry-After: 5"
TRUNKS: Final = [
    {"name": "open", "allow": ["127.0.0.1"]},
    {"name": "alaw", "allow": ["127.0.0.2"], "codecs": ["PCMA"]},
    {"name": "sealed", "allow": ["127.0.0.3"], "srtp": "mandatory"},
    {  # SIPp takes the first challenge, and knows no SHA-256
        "name": "asked",
        "allow": ["127.0.0.4"],
        "credentials": [{"username": "pbx", "password": "secret"}],
        "digest": ["MD5"],
    },
    {"name": "timed", "allow": ["127.0.0.5"], "session_timer": {"mode": "required", "expires_s": 120}},
]
#: Of the daemon with a hosted service: as many calls as its table has, and an even number.
CAPACITY: Final = 18
#: Until the session ends.
STAYING: Final = Scenario().invite().answered().comes("BYE", "Reason: ").reply()
ROUTES: Final = [{"name": "hotline", "user": "100", "mode": "help_chat_voice"}]


class Row(NamedTuple):
    """What is called, how it goes, and where from. session: a new one for each such row."""

    scenario: Scenario
    user: str = "session"
    source: str = "127.0.0.1"
    transport: str = "u1"


def said(direction: str) -> str:
    return f"a={direction}"


#: A daemon with its own session service.
EMBEDDED: Final[dict[str, Row]] = {
    # Which session
    "answered": Row(
        Scenario()
        .invite()
        .expect(180, "To: .*;tag=", maybe=(100,))
        .expect(200, "X-Session-ID: sess_", "m=audio [0-9]+ RTP/AVP 0", "Supported: .*timer")
        .ack()
        .bye()
    ),
    "answered over TCP": Row(calling(), transport="t1"),
    "by a route": Row(Scenario().invite().answered("X-Session-ID: sess_").bye(), user="100"),
    "unknown session": Row(Scenario().invite().refused(404, lacks="X-Session-ID"), user=UNKNOWN),
    "no session and no route": Row(Scenario().invite().refused(404), user="200"),
    "ended session": Row(Scenario().invite().refused(410), user="ended"),
    # Admission
    "an address of no trunk": Row(Scenario().invite().refused(403), source="127.0.0.99"),
    "no password": Row(
        Scenario().invite().refused(401, 'WWW-Authenticate: Digest.*realm="glotgate"'), source="127.0.0.4"
    ),
    "a password": Row(calling(authenticated=True), source="127.0.0.4"),
    # Descriptions
    "no common codec": Row(Scenario().invite(sdp(audio="40000 RTP/AVP 18")).refused(488, "Warning: ")),
    "not the trunk's codec": Row(Scenario().invite().refused(488), source="127.0.0.2"),
    "the trunk's codec": Row(
        Scenario().invite(sdp(audio="40000 RTP/AVP 0 8")).answered("m=audio [0-9]+ RTP/AVP 8").bye(), source="127.0.0.2"
    ),
    "no audio": Row(Scenario().invite(sdp().replace("m=audio", "m=video")).refused(488)),
    "a broken description": Row(Scenario().invite("v=0\no=-\nm=audio forty RTP/AVP 0\n").refused(488)),
    "unsealed where keys are a must": Row(Scenario().invite().refused(488), source="127.0.0.3"),
    "sealed": Row(
        Scenario()
        .invite(sdp(f"crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}", audio="40000 RTP/SAVP 0"))
        .answered("m=audio [0-9]+ RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:")
        .bye(),
        source="127.0.0.3",
    ),
    "sealed where keys are not taken": Row(
        Scenario().invite(sdp(f"crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}", audio="40000 RTP/SAVP 0")).refused(488)
    ),
    "a delayed offer": Row(Scenario().invite("").answered("m=audio [0-9]+ RTP/AVP 0 8", body=sdp()).pause(100).bye()),
    # Requests that are none of ours
    "an extension that nobody knows": Row(
        Scenario().invite(extra="Require: telepathy\n").refused(420, "Unsupported: telepathy")
    ),
    "a body that is no description": Row(
        Scenario().request("INVITE", "hello\n", kind="text/plain").expect(415, "Accept: application/sdp", maybe=(100,))
    ),
    "a telephone number as URI": Row(Scenario().invite(uri="tel:+4930123").refused(416)),
    "a BYE of no call": Row(Scenario(to_tag=";tag=nobody").request("BYE").expect(481)),
    "a CANCEL of nothing": Row(Scenario().request("CANCEL").expect(481)),
    "a MESSAGE": Row(Scenario().request("MESSAGE", "hello\n", kind="text/plain").expect(405, "Allow: .*INVITE")),
    "too short a session timer": Row(
        Scenario().invite(extra="Supported: timer\nSession-Expires: 60\n").refused(422, "Min-SE: 90")
    ),
    "OPTIONS": Row(Scenario().request("OPTIONS").expect(200, "Allow: .*UPDATE", "Accept: application/sdp")),
    # In the dialog
    "hold and resume": Row(
        Scenario()
        .invite()
        .answered()
        .invite(sdp("sendonly", version=2))
        .answered(said("recvonly"))
        .invite(sdp("inactive", version=3))
        .answered(said("inactive"))
        .invite(sdp(address="0.0.0.0", version=4))
        .answered("a=(recvonly|inactive)")
        .invite(sdp("sendrecv", version=5))
        .expect(200, lacks="a=(recvonly|inactive|sendonly)", maybe=(100,))
        .ack()
        .bye()
    ),
    "another codec and address by UPDATE": Row(
        Scenario()
        .invite(sdp(audio="40000 RTP/AVP 0 8"))
        .answered("RTP/AVP 0")
        .request("UPDATE", sdp(audio="40002 RTP/AVP 8", version=2))
        .expect(200, "RTP/AVP 8")
        .bye()
    ),
    "an offer that can not be taken leaves the call as it was": Row(
        Scenario()
        .invite()
        .answered()
        .invite(sdp(audio="40000 RTP/AVP 18", version=2))
        .expect(488, maybe=(100,))
        .ack(same=True)
        .invite(sdp(version=3))
        .answered()
        .bye()
    ),
    "a re-INVITE without an offer": Row(
        Scenario().invite().answered().invite("").answered("m=audio", body=sdp(version=2)).pause(100).bye()
    ),
    "an INVITE that was sent twice": Row(
        Scenario().invite().expect(100).invite(again=True).answered().pause(300).bye()
    ),
    "OPTIONS and INFO": Row(
        Scenario()
        .invite()
        .answered()
        .request("OPTIONS")
        .expect(200, "Allow: .*REFER")
        .request("INFO", "Signal=5\nDuration=160\n", kind="application/dtmf-relay")
        .expect(200)
        .bye()
    ),
    "a REFER that the trunk does not allow": Row(
        Scenario().invite().answered().request("REFER", extra="Refer-To: <sip:1@127.0.0.1>\n").expect(603).bye()
    ),
    "a session timer, and we refresh": Row(
        Scenario()
        .invite(extra="Supported: timer\nSession-Expires: 120;refresher=uas\n")
        .answered("Session-Expires: 120;refresher=uas")
        .bye(),
        source="127.0.0.5",
    ),
    "a session timer, and they refresh": Row(
        Scenario()
        .invite(extra="Supported: timer\nSession-Expires: 120;refresher=uac\n")
        .answered("Session-Expires: 120;refresher=uac", "Require: [^\r\n]*timer")
        .request("UPDATE", extra="Supported: timer\nSession-Expires: 120;refresher=uac\n")
        .expect(200, "Session-Expires: 120;refresher=uac")
        .bye(),
        source="127.0.0.5",
    ),
    "a provisional response that must arrive": Row(
        Scenario()
        .invite(extra="Require: 100rel\nSupported: 100rel\n")
        .rings_reliably()
        .expect(200, "CSeq: 1 INVITE")
        .ack()
        .bye()
    ),
    "two offers cross": Row(  # ours is in the 200; theirs must wait for its answer (RFC 3311 §5.2)
        Scenario()
        .invite("")
        .expect(200, maybe=(100, 180))
        .request("UPDATE", sdp(version=2))
        .expect(491)
        .ack(sdp())
        .pause(100)
        .bye()
    ),
}

#: A daemon with a hosted session service, which may be in any condition.
HOSTED: Final[dict[str, Row]] = {
    "fine": Row(calling(), user="sess_fine"),
    "unknown session": Row(Scenario().invite().refused(404), user="sess_unknown"),
    "ended session": Row(Scenario().invite().refused(410), user="sess_ended"),
    "out of credits": Row(Scenario().invite().refused(402), user="sess_broke"),
    "inactive organization": Row(Scenario().invite().refused(402), user="sess_inactive"),
    "a key without the right": Row(Scenario().invite().refused(403), user="sess_forbidden"),
    "a key that is not known": Row(Scenario().invite().refused(503), user="sess_keyless"),
    "the service asks for patience": Row(Scenario().invite().refused(503, "Retry-After: 7"), user="sess_hurried"),
    "the service says that it is away": Row(Scenario().invite().refused(503, LATER), user="sess_away"),
    "the service drains": Row(Scenario().invite().refused(503, "Retry-After: 9"), user="sess_draining"),
    "the service fails": Row(Scenario().invite().refused(503, LATER), user="sess_broken"),
    "the service talks nonsense": Row(Scenario().invite().refused(503, LATER), user="sess_nonsense"),
    "the service is too slow": Row(Scenario().invite().refused(503, LATER), user="sess_slow"),
    "the stream is refused": Row(Scenario().invite().refused(504), user="sess_refused"),
    "the stream is never ready": Row(
        Scenario().invite().expect(180, maybe=(100,)).refused(504, lacks="X-Session-ID"), user="sess_silent"
    ),
    "nobody serves the stream": Row(Scenario().invite().refused(504), user="sess_absent"),
    "CANCEL while it rings": Row(
        Scenario()
        .invite()
        .expect(180, maybe=(100,))
        .cancel()
        .expect(200, "CSeq: 1 CANCEL")
        .expect(487, "CSeq: 1 INVITE")
        .ack(same=True),
        user="sess_silent",
    ),
    "an UPDATE while it rings": Row(
        Scenario()
        .invite()
        .expect(180, maybe=(100,))
        .request("UPDATE", sdp(version=2))
        .expect(500, "Retry-After: [0-9]")  # RFC 3311 §5.2: there is an offer that was not answered yet
        .refused(504),
        user="sess_silent",
    ),
}


def begin(daemon: Daemon, folder: Path, rows: dict[str, Row], **users: str) -> dict[str, Calls]:
    """All of them at once. users: what stands for a name; a session of its own stands for "session"."""
    key = create_key(daemon) if any(row.user == "session" for row in rows.values()) else ""
    begun = {}
    for number, (name, row) in enumerate(rows.items()):
        user = create_session(daemon, key)["id"] if row.user == "session" else users.get(row.user, row.user)
        begun[name] = Calls(
            folder / str(number),
            daemon.sip_address,
            row.scenario,
            source=row.source,
            user=user,
            transport=row.transport,
        )
    return begun


def post(daemon: Daemon, key: str, path: str) -> None:
    """An order over REST."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{daemon.sessions_url}{path}", b"{}", headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        json.load(answer)


def idle(daemon: Daemon) -> bool:
    """Whether no call is left, soon."""
    return until(lambda: daemon.metrics()["glotgate_calls_active"] == 0)


@pytest.fixture(scope="module")
def own() -> Iterator[Daemon]:
    """A daemon with a session service of its own."""
    sip = free_port()
    bind = [{"transport": transport, "address": f"{HOST}:{sip}"} for transport in ("udp", "tcp")]
    changes = {"trunks": TRUNKS, "routes": ROUTES, "sip": {"bind": bind}, "drain": {"timeout_s": 30}}
    with Daemon(capacity=64, changes=changes) as running:
        yield running


@pytest.fixture(scope="module")
def embedded(own: Daemon, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Calls]:
    key = create_key(own)
    ended = create_session(own, key)["id"]
    post(own, key, f"/v1/sessions/{ended}/end")
    return begin(own, tmp_path_factory.mktemp("embedded"), EMBEDDED, ended=ended)


@pytest.mark.parametrize("name", EMBEDDED)
def test_outcomes(embedded: dict[str, Calls], name: str) -> None:
    assert embedded[name].done() == (1, 0), embedded[name].story()


def test_what_is_not_expected_fails_a_scenario(own: Daemon, tmp_path: Path) -> None:
    assert Calls(tmp_path / "code", own.sip_address, calling(ends=410), user=UNKNOWN).done() == (0, 1)
    other = Scenario().invite().refused(404, "Retry-After")
    assert Calls(tmp_path / "header", own.sip_address, other, user=UNKNOWN).done() == (0, 1)
    other = Scenario().invite().refused(404, lacks="SIP/2.0 404")
    assert Calls(tmp_path / "lacks", own.sip_address, other, user=UNKNOWN).done() == (0, 1)


def test_no_scenario_leaves_a_call_behind(own: Daemon, embedded: dict[str, Calls]) -> None:
    for calls in embedded.values():
        calls.done()
    assert idle(own), own.log_end()


def test_a_session_that_ends_hangs_its_caller_up(own: Daemon, tmp_path: Path) -> None:
    key = create_key(own)
    session = create_session(own, key)["id"]
    scenario = Scenario().invite().answered().comes("BYE", "Reason: .*explicit_end").reply()
    call = Calls(tmp_path, own.sip_address, scenario, user=session)
    assert until(lambda: own.metrics()["glotgate_calls_active"] == 1)
    post(own, key, f"/v1/sessions/{session}/end")
    assert call.done() == (1, 0), call.story()


def test_an_organization_that_may_not_is_told_to_pay(own: Daemon, tmp_path: Path) -> None:
    for option in (("--credits", "0"), ("--credits", "-1", "--inactive")):
        own.run("organizations", "change", "org_default", *option)
        call = Calls(tmp_path / option[-1], own.sip_address, Scenario().invite().refused(402), user="100")
        assert call.done() == (1, 0), call.story()
    own.run("organizations", "change", "org_default", "--active")
    assert Calls(tmp_path / "again", own.sip_address, calling(), user="100").done() == (1, 0)


def test_a_gateway_that_drains_says_when_to_come_again(own: Daemon, tmp_path: Path) -> None:
    """The last one of this daemon. A call that runs keeps it from stopping."""
    key = create_key(own)
    session = create_session(own, key)["id"]
    staying = Scenario().invite().answered().comes("BYE", "Reason: .*explicit_end").reply()
    stay = Calls(tmp_path / "stay", own.sip_address, staying, user=session)
    assert until(lambda: own.metrics()["glotgate_calls_active"] == 1)
    own.run("drain", "--no-wait")
    assert until(lambda: own.metrics()["glotgate_draining"] == 1)
    new = Calls(tmp_path / "new", own.sip_address, Scenario().invite().refused(503, LATER), user="100")
    asked = Calls(tmp_path / "asked", own.sip_address, Scenario().request("OPTIONS").expect(503, LATER))
    assert new.done() == (1, 0), new.story()
    assert asked.done() == (1, 0), asked.story()
    post(own, key, f"/v1/sessions/{session}/end")
    assert stay.done() == (1, 0), stay.story()


@pytest.fixture(scope="module")
def hosted_service() -> Iterator[HostedService]:
    with HostedService() as service:
        yield service


@pytest.fixture(scope="module")
def elsewhere(hosted_service: HostedService) -> Iterator[Daemon]:
    """A daemon whose session service is elsewhere."""
    changes = {
        "sessions": {"mode": "remote", "url": hosted_service.url, "api_key": "sk_live_x", "max_legs": CAPACITY // 2},
        "stream": {"ready_timeout_s": 2.0},
    }
    with Daemon(capacity=CAPACITY, changes=changes) as running:
        yield running


@pytest.fixture(scope="module")
def hosted(elsewhere: Daemon, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Calls]:
    return begin(elsewhere, tmp_path_factory.mktemp("hosted"), HOSTED)


@pytest.mark.parametrize("name", HOSTED)
def test_outcomes_with_a_service_elsewhere(hosted: dict[str, Calls], name: str) -> None:
    assert hosted[name].done() == (1, 0), hosted[name].story()


def test_a_full_session_is_busy(
    elsewhere: Daemon, hosted_service: HostedService, hosted: dict[str, Calls], tmp_path: Path
) -> None:
    for calls in hosted.values():
        calls.done()
    stay = Calls(tmp_path / "stay", elsewhere.sip_address, STAYING, user="sess_one", count=CAPACITY // 2, per_s=50)
    assert until(lambda: elsewhere.metrics()["glotgate_calls_active"] == CAPACITY // 2), elsewhere.log_end()
    more = Calls(tmp_path / "more", elsewhere.sip_address, Scenario().invite().refused(486), user="sess_one")
    assert more.done() == (1, 0), more.story()
    hosted_service.end_all()
    assert stay.done() == (CAPACITY // 2, 0), stay.story()


def test_a_full_gateway_says_when_to_come_again(
    elsewhere: Daemon, hosted_service: HostedService, hosted: dict[str, Calls], tmp_path: Path
) -> None:
    for calls in hosted.values():
        calls.done()
    assert idle(elsewhere), elsewhere.log_end()
    stays = [
        Calls(tmp_path / user, elsewhere.sip_address, STAYING, user=user, count=CAPACITY // 2, per_s=50)
        for user in ("sess_one", "sess_two")
    ]
    assert until(lambda: elsewhere.metrics()["glotgate_calls_active"] == CAPACITY), elsewhere.log_end()
    more = Calls(tmp_path / "more", elsewhere.sip_address, Scenario().invite().refused(503, LATER), user="sess_fine")
    assert more.done() == (1, 0), more.story()
    hosted_service.end_all()
    for stay in stays:
        assert stay.done() == (CAPACITY // 2, 0), stay.story()
    assert idle(elsewhere)


def test_a_service_that_is_not_there_says_when_to_come_again(
    elsewhere: Daemon, hosted_service: HostedService, hosted: dict[str, Calls], tmp_path: Path
) -> None:
    for calls in hosted.values():
        calls.done()
    hosted_service.stop()
    call = Calls(tmp_path, elsewhere.sip_address, Scenario().invite().refused(503, LATER), user="sess_fine")
    assert call.done() == (1, 0), call.story()
