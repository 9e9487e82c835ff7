"""The real stack, in a process of its own, against a peer that writes its own messages on a real socket."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from gateway.channel import PeerGone
from gateway.sip import events, negotiation, sdp
from gateway.sip.negotiation import KEY_BYTES, Terms
from gateway.sip.options import SPARE_CALLS
from tests.support.sip import OFFER, PATIENCE_S, Peer, sip_process

KEY = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20\r\n"
OTHER_SUITE = ":2 AES_CM_128_HMAC_SHA1_32"
DYNAMIC = OFFER.replace("0 8 101", "97 101") + "a=rtpmap:97 PCMA/8000\r\n"
TERMS = Terms("127.0.0.1", 20000, key=bytes(range(KEY_BYTES)))


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with sip_process(tmp_path_factory.mktemp("sip") / "log") as controller:
        controller.send(events.SetReadiness(True))
        yield controller


@pytest.fixture
def peer(agent):
    peer = Peer(agent.port)
    yield peer
    peer.close()


def answer(offer, **changed):
    terms = Terms(**{name: changed.get(name, getattr(TERMS, name)) for name in TERMS.__struct_fields__})
    return negotiation.answer(sdp.parse(offer), terms)


class Established:
    """A confirmed call from the peer to us."""

    def __init__(self, agent, peer, offer=OFFER, extra="", **terms):
        self.agent, self.peer = agent, peer
        peer.send(peer.request("INVITE", offer, extra))
        self.invited = agent.expect(events.Invited, lambda e: e.sip_call_id == peer.call_id)
        self.dialog = self.invited.dialog
        agent.send(events.Accept(self.dialog, answer(offer, **terms).sdp, {"X-Session-ID": "sess_1"}))
        self.ok = peer.expect("200")
        peer.send(peer.request("ACK"))
        self.expect(events.Acknowledged)

    def expect(self, kind):
        return self.agent.expect(kind, lambda e: e.dialog == self.dialog)

    def bye(self):
        self.peer.send(self.peer.request("BYE"))
        self.peer.expect("200")
        return self.expect(events.Ended)


def media_line(message):
    return next(line for line in message.body.split("\n") if line.startswith("m="))


def test_it_listens_and_is_fit(agent):
    assert [line.split()[0] for line in agent.ready.listening] == ["udp", "tcp"]
    assert agent.ready.fit_for_network
    assert agent.ready.max_calls > 1000


def test_a_call_in_stages(agent, peer):
    peer.send(peer.request("INVITE", OFFER, "X-Session-Speaker: agent\r\n", user="sess_1;x=y"))
    invited = agent.expect(events.Invited)
    assert (invited.user, invited.source, invited.transport) == ("sess_1;x=y", peer.here, "udp")
    assert invited.headers["x-session-speaker"] == "agent"
    assert invited.sdp == OFFER.replace("\r\n", "\n")
    peer.expect("100")
    agent.send(events.Ring(invited.dialog, headers={"X-Session-ID": "sess_1"}))
    ringing = peer.expect("180")
    assert (ringing.get("x-session-id"), ringing.body) == ("sess_1", "")
    agent.send(events.Accept(invited.dialog, answer(OFFER).sdp, {"X-Session-ID": "sess_1", "X-More": "1"}))
    ok = peer.expect("200")
    assert (ok.all("x-session-id"), ok.all("x-more")) == (["sess_1"], ["1"])
    assert media_line(ok) == "m=audio 20000 RTP/AVP 0 101"
    assert "c=IN IP4 127.0.0.1" in ok.body
    peer.send(peer.request("ACK"))
    assert agent.expect(events.Acknowledged) == events.Acknowledged(invited.dialog, None)
    peer.send(peer.request("BYE"))
    peer.expect("200")
    assert agent.expect(events.Ended).cause == "bye"


def test_early_media(agent, peer):
    peer.send(peer.request("INVITE", OFFER))
    invited = agent.expect(events.Invited)
    agent.send(events.Ring(invited.dialog, 183, sdp=answer(OFFER).sdp))
    progress = peer.expect("183")
    assert media_line(progress) == "m=audio 20000 RTP/AVP 0 101"
    agent.send(events.Accept(invited.dialog, answer(OFFER).sdp))
    ok = peer.expect("200")
    assert media_line(ok) == media_line(progress)
    assert versions(progress) == versions(ok)
    peer.send(peer.request("ACK"))
    agent.expect(events.Acknowledged)
    peer.send(peer.request("BYE"))
    assert agent.expect(events.Ended).cause == "bye"


def test_over_tcp(agent):
    port = int(agent.ready.listening[1].rpartition(":")[2])
    peer = Peer(port, "tcp")
    call = Established(agent, peer)
    assert call.invited.transport == "tcp"
    assert call.bye().cause == "bye"
    peer.close()


def test_a_retransmitted_invite_is_one_call(agent, peer):
    raw = peer.request("INVITE", OFFER)
    for _ in range(3):
        peer.send(raw)
    invited = agent.expect(events.Invited)
    agent.send(events.Reject(invited.dialog, 404, "Not Found"))
    peer.expect("404")
    peer.send(peer.request("ACK", same=True))
    assert agent.expect(events.Ended).cause == "rejected"
    assert not [e for e in agent.seen if isinstance(e, events.Invited)]


@pytest.mark.parametrize(
    ("code", "told"), [(404, {}), (410, {}), (488, {}), (503, {"Retry-After": "5"}), (504, {}), (402, {})]
)
def test_rejections(agent, peer, code, told):
    peer.send(peer.request("INVITE", OFFER))
    invited = agent.expect(events.Invited)
    agent.send(events.Ring(invited.dialog))
    agent.send(events.Reject(invited.dialog, code, "Because", told))
    refused = peer.expect(str(code))
    assert refused.start == f"SIP/2.0 {code} Because"
    assert refused.get("retry-after") == told.get("Retry-After")
    peer.send(peer.request("ACK", same=True))
    assert agent.expect(events.Ended) == events.Ended(invited.dialog, "rejected", code, "Because")


def test_cancel(agent, peer):
    peer.send(peer.request("INVITE", OFFER))
    invited = agent.expect(events.Invited)
    agent.send(events.Ring(invited.dialog))
    peer.expect("180")
    peer.send(peer.request("CANCEL", same=True))
    peer.expect("487")
    peer.send(peer.request("ACK", same=True))
    assert agent.expect(events.Ended).cause == "cancelled"
    agent.send(events.Accept(invited.dialog, answer(OFFER).sdp))
    assert agent.count("late_commands") >= 1


def test_hanging_up_says_why(agent, peer):
    call = Established(agent, peer)
    agent.send(events.Hangup(call.dialog, "session ended"))
    bye = peer.expect("BYE")
    assert bye.get("reason") == 'Q.850;cause=16;text="session ended"'
    peer.reply(bye)
    assert call.expect(events.Ended).cause == "local"


def test_a_delayed_offer(agent, peer):
    """A legal INVITE without SDP: accepted here, and refused below; an assert build died of the latter."""
    peer.send(peer.request("INVITE"))
    invited = agent.expect(events.Invited)
    assert invited.sdp is None
    agent.send(events.Ring(invited.dialog))
    assert peer.expect("180").body == ""
    agent.send(events.Accept(invited.dialog, negotiation.offer(TERMS)))
    assert media_line(peer.expect("200")) == "m=audio 20000 RTP/AVP 0 8 13 101"
    peer.send(peer.request("ACK", OFFER))
    assert agent.expect(events.Acknowledged).sdp == OFFER.replace("\r\n", "\n")
    peer.send(peer.request("BYE"))
    peer.expect("200")
    assert agent.expect(events.Ended).cause == "bye"


def test_an_invite_without_an_offer_may_be_refused(agent, peer):
    peer.send(peer.request("INVITE"))
    agent.send(events.Reject(agent.expect(events.Invited).dialog, 404))
    peer.expect("404")
    peer.send(peer.request("ACK", same=True))
    assert agent.expect(events.Ended).cause == "rejected"


@pytest.mark.parametrize(
    ("offer", "policy", "line", "secure"),
    [
        (OFFER.replace("0 8 101", "8 0 13 101"), "disabled", "m=audio 20000 RTP/AVP 0 13 101", False),
        (
            OFFER.replace("0 8 101", "97 101") + "a=rtpmap:97 PCMA/8000\r\n",
            "disabled",
            "m=audio 20000 RTP/AVP 97 101",
            False,
        ),
        (OFFER.replace("RTP/AVP", "RTP/SAVP") + KEY, "mandatory", "m=audio 20000 RTP/SAVP 0 101", True),
        (OFFER + KEY, "optional", "m=audio 20000 RTP/AVP 0 101", True),
        (OFFER + KEY, "disabled", "m=audio 20000 RTP/AVP 0 101", False),
    ],
    ids=["comfort noise", "dynamic number", "savp", "best effort", "srtp off"],
)
def test_the_answer_on_the_wire_is_ours(agent, peer, offer, policy, line, secure):
    call = Established(agent, peer, offer, srtp=policy)
    assert media_line(call.ok) == line
    assert ("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQ" in call.ok.body) is secure
    assert call.bye().cause == "bye"


def test_other_sections_and_rtcp_mux(agent, peer):
    offer = "a=rtcp-mux\r\nm=video 5000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\nm=audio 5004 RTP/AVP 0\r\n"
    call = Established(agent, peer, OFFER + offer)
    lines = call.ok.body.split("\n")
    assert [line for line in lines if line.startswith("m=")] == [
        "m=audio 20000 RTP/AVP 0 101",
        "m=video 0 RTP/AVP 99",
        "m=audio 0 RTP/AVP 0",
    ]
    assert "a=rtcp-mux" in lines
    call.bye()


@pytest.mark.parametrize(
    ("offer", "direction"),
    [(OFFER + "a=sendonly\r\n", "recvonly"), (OFFER + "a=inactive\r\n", "inactive"),
     (OFFER.replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"), "recvonly")],
)  # fmt: skip
def test_hold_and_resume(agent, peer, offer, direction):
    call = Established(agent, peer)
    for proposal, expected in ((offer, direction), (OFFER, "sendrecv")):
        peer.send(peer.request("INVITE", proposal))
        asked = call.expect(events.Reinvited)
        agent.send(events.Accept(call.dialog, answer(asked.sdp).sdp))
        ok = peer.expect("200")
        assert f"a={expected}" in ok.body.split("\n")
        assert "c=IN IP4 127.0.0.1" in ok.body.split("\n")
        peer.send(peer.request("ACK"))
    assert call.bye().cause == "bye"


def versions(*messages):
    return [int(message.body.split("o=")[1].split()[2]) for message in messages]


def test_the_session_version_grows_with_each_new_sdp(agent, peer):
    call = Established(agent, peer)
    peer.send(peer.request("INVITE", OFFER + "a=inactive\r\n"))
    call.expect(events.Reinvited)
    agent.send(events.Accept(call.dialog, answer(OFFER + "a=inactive\r\n").sdp))
    held = peer.expect("200")
    peer.send(peer.request("ACK"))
    first, second = versions(call.ok, held)
    assert second == first + 1
    call.bye()


def test_a_refused_reinvite_leaves_the_call(agent, peer):
    call = Established(agent, peer)
    peer.send(peer.request("INVITE", OFFER.replace("0 8 101", "18")))
    peer.expect("488")
    peer.send(peer.request("ACK", same=True))
    peer.send(peer.request("INVITE", OFFER))
    call.expect(events.Reinvited)
    agent.send(events.Reject(call.dialog, 488))
    peer.expect("488")
    peer.send(peer.request("ACK", same=True))
    assert call.bye().cause == "bye"


def test_a_reinvite_without_an_offer(agent, peer):
    call = Established(agent, peer)
    peer.send(peer.request("INVITE"))
    assert media_line(peer.expect("200")) == "m=audio 20000 RTP/AVP 0 101"
    peer.send(peer.request("ACK", OFFER + "a=recvonly\r\n"))
    assert "a=recvonly" in call.expect(events.Acknowledged).sdp
    call.bye()


def test_update_with_an_offer(agent, peer):
    call = Established(agent, peer)
    peer.send(peer.request("UPDATE", OFFER.replace("0 8 101", "8 101") + "a=sendonly\r\n"))
    ok = peer.expect("200")
    assert media_line(ok) == "m=audio 20000 RTP/AVP 8 101"
    assert "a=recvonly" in ok.body
    told = call.expect(events.Updated)
    assert "RTP/AVP 8 101" in told.sdp
    assert media_line(ok) in told.answer
    peer.send(peer.request("UPDATE", OFFER.replace("0 8 101", "18")))
    peer.expect("488")
    peer.send(peer.request("UPDATE"))
    assert peer.expect("200").body == ""
    call.bye()


def test_our_own_reinvite(agent, peer):
    call = Established(agent, peer)
    agent.send(events.Offer(call.dialog, negotiation.offer(TERMS)))
    request = peer.expect("INVITE")
    assert media_line(request) == "m=audio 20000 RTP/AVP 0 8 13 101"
    peer.reply(request, 200, OFFER)
    peer.expect("ACK")
    told = call.expect(events.Answered)
    assert (told.code, told.sdp) == (200, OFFER.replace("\r\n", "\n"))
    call.bye()


def test_info(agent, peer):
    call = Established(agent, peer)
    body = "Signal=5\r\nDuration=160\r\n"
    peer.send(peer.request("INFO", body, content_type="application/dtmf-relay"))
    peer.expect("200")
    told = call.expect(events.InfoReceived)
    assert (told.content_type, told.body) == ("application/dtmf-relay", body.replace("\r\n", "\n"))
    call.bye()


def until(peer, code):
    """OPTIONS until they are answered so: the command before them travels on another road."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        peer.to_tag = ""
        peer.send(peer.request("OPTIONS"))
        message = peer.receive()
        if message.start.split()[1] == code:
            return message
    raise AssertionError(f"OPTIONS were never answered {code}")


def test_options(agent, peer):
    assert "INVITE" in until(peer, "200").get("allow")
    agent.send(events.SetReadiness(False, 7))
    assert until(peer, "503").get("retry-after") == "7"
    agent.send(events.SetReadiness(True))
    until(peer, "200")


def test_options_in_a_dialog(agent, peer):
    call = Established(agent, peer)
    peer.send(peer.request("OPTIONS"))
    peer.expect("200")
    call.bye()


@pytest.mark.parametrize("method", ["OPTIONS", "INVITE", "BYE"])
def test_a_dialog_that_never_was(agent, peer, method):
    peer.to_tag = ";tag=invented"
    peer.send(peer.request(method))
    peer.expect("481")


@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER", "NONSENSE"])
def test_methods_that_are_not_served(agent, peer, method):
    peer.send(peer.request(method))
    assert "INVITE" in peer.expect("405").get("allow")


MULTIPART = "--b\r\n\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("offer", "extra", "content_type", "code"),
    [
        (OFFER + KEY * 65, "", "application/sdp", 488),
        (OFFER + "a=ptime:1\r\n", "", "application/sdp", 488),
        (OFFER + "a=ptime:255\r\n", "", "application/sdp", 488),
        (OFFER.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF"), "", "application/sdp", 488),
        (OFFER.replace("0 8 101", "18"), "", "application/sdp", 488),
        (OFFER.replace("c=IN IP4 127.0.0.1", "c=IN IP4 slow.example.com"), "", "application/sdp", 488),
        (OFFER.replace("4000", "65536"), "", "application/sdp", 488),
        ("garbage", "", "application/sdp", 488),
        (OFFER, "", "", 400),
        (OFFER, "", "text/plain", 415),
        (MULTIPART, "", "multipart/mixed;boundary=b", 400),
        ("", "", "multipart/mixed;boundary=b", None),
        (OFFER, "Require: nothing-knows-this\r\n", "application/sdp", 420),
        (OFFER, "X-Long: " + "x" * 9000 + "\r\n", "application/sdp", 400),
        (OFFER, "X-A: 1\r\n" * 200, "application/sdp", 400),
    ],
)
def test_bad_invites_are_refused_and_nobody_is_asked(agent, peer, offer, extra, content_type, code):
    peer.send(peer.request("INVITE", offer, extra, content_type=content_type))
    if code is None:
        agent.send(events.Reject(agent.expect(events.Invited).dialog, 404))
        agent.expect(events.Ended)
        code = 404
    peer.expect(str(code))
    peer.send(peer.request("ACK", same=True))
    assert not [e for e in agent.seen if isinstance(e, events.Invited)]
    until(peer, "200")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"\x00" * 100,
        b"\xff\xfe" * 700,
        b"INVITE",
        b"INVITE sip:a@b SIP/2.0\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\n" + b"Via: SIP/2.0/UDP a;branch=z9hG4bKx\r\n" * 100 + b"\r\n",
        b"x" * 65000,
    ],
)
def test_what_is_no_message_hurts_nobody(agent, peer, raw):
    peer.send(raw)
    peer.send(peer.request("OPTIONS"))
    peer.expect("200")


def test_two_content_lengths(agent, peer):
    raw = peer.request("INVITE", OFFER).replace("Content-Length:", "Content-Length: 3\r\nContent-Length:")
    peer.send(raw)
    peer.send(peer.request("OPTIONS"))
    peer.expect("200")
    assert not [e for e in agent.seen if isinstance(e, events.Invited)]


def test_dialling(agent, peer):
    agent.send(events.Dial(-1, f"sip:bob@{peer.here}", negotiation.offer(TERMS), {"X-A": "b"}))
    request = peer.expect("INVITE")
    assert (request.get("x-a"), media_line(request)) == ("b", "m=audio 20000 RTP/AVP 0 8 13 101")
    peer.reply(request, 180)
    assert agent.expect(events.Answered).code == 180
    peer.reply(request, 200, OFFER)
    peer.expect("ACK")
    told = agent.expect(events.Answered)
    assert (told.dialog, told.code, told.sdp) == (-1, 200, OFFER.replace("\r\n", "\n"))
    agent.send(events.Hangup(-1, "done"))
    peer.reply(peer.expect("BYE"))
    assert agent.expect(events.Ended).cause == "local"


@pytest.mark.parametrize(
    ("policy", "answered"),
    [
        ("optional", OFFER + KEY),
        ("optional", OFFER),
        ("mandatory", OFFER.replace("RTP/AVP", "RTP/SAVP") + KEY),
        ("mandatory", OFFER.replace("RTP/AVP", "RTP/SAVP") + KEY.replace(":1 AES_CM_128_HMAC_SHA1_80", OTHER_SUITE)),
    ],
    ids=["best effort", "plain", "savp", "another suite"],
)
def test_dialling_with_keys(agent, peer, policy, answered):
    """The stack negotiates SRTP for itself; what it thinks of ours must not end the call."""
    offer = negotiation.offer(msgspec.structs.replace(TERMS, srtp=policy))
    number = -(100 + len(answered))
    agent.send(events.Dial(number, f"sip:bob@{peer.here}", offer))
    request = peer.expect("INVITE")
    assert "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQ" in request.body
    peer.reply(request, 200, answered)
    peer.expect("ACK")
    assert agent.expect(events.Answered).sdp == answered.replace("\r\n", "\n")
    agent.receive(0.3)
    assert not [event for event in agent.seen if isinstance(event, events.Ended)]
    agent.send(events.Hangup(number, "done"))
    peer.reply(peer.expect("BYE"))
    assert agent.expect(events.Ended).cause == "local"


def test_dialling_a_busy_peer_and_nowhere(agent, peer):
    agent.send(events.Dial(-2, f"sip:bob@{peer.here}", negotiation.offer(TERMS)))
    request = peer.expect("INVITE")
    peer.reply(request, 486)
    ended = agent.expect(events.Ended)
    assert (ended.dialog, ended.cause, ended.code) == (-2, "failed", 486)
    agent.send(events.Dial(-3, "nowhere", ""))
    assert agent.expect(events.Ended).dialog == -3


def test_nobody_answers(agent, peer):
    agent.send(events.Dial(-4, f"sip:bob@{peer.here}", negotiation.offer(TERMS), timeout_s=0))
    request = peer.expect("INVITE")
    peer.reply(request, 180)
    peer.reply(peer.expect("CANCEL"))
    peer.reply(request, 487)
    assert agent.expect(events.Ended).cause == "timeout"


def test_many_calls_leave_nothing_behind(agent):
    """No descriptor a call, none after it, and no Call object either: dialogs are 0 again."""
    held = []
    before = len(os.listdir(f"/proc/{agent.child.pid}/fd"))
    for _ in range(20):
        peer = Peer(agent.port)
        held.append(Established(agent, peer))
    assert len(os.listdir(f"/proc/{agent.child.pid}/fd")) == before
    for call in held:
        call.bye()
        call.peer.close()
    agent.expect(events.AgentCounters, lambda e: e.dialogs == 0 and e.counters["ended"] >= 20)


def test_a_slot_that_is_reused_at_once_belongs_to_the_new_call(tmp_path):
    """pjsua numbers its calls; the end of the last owner of a number must not touch the next one."""
    with sip_process(tmp_path / "log", capacity=1) as agent:
        ringing = [Peer(agent.port) for _ in range(1 * 5 // 4 + SPARE_CALLS - 1)]
        for peer in ringing:
            peer.send(peer.request("INVITE", OFFER))
            agent.expect(events.Invited)
        call = Established(agent, Peer(agent.port))
        for _ in range(20):
            peer = Peer(agent.port)
            invite = peer.request("INVITE", OFFER)
            call.peer.send(call.peer.request("BYE"))
            peer.send(invite)  # in the same poll, as near as two datagrams come
            invited = agent.expect(events.Invited)
            agent.send(events.Accept(invited.dialog, answer(OFFER).sdp))
            peer.expect("200")
            peer.send(peer.request("ACK"))
            agent.expect(events.Acknowledged, lambda e, dialog=invited.dialog: e.dialog == dialog)
            call.peer.close()
            call.peer = peer
        for peer in [*ringing, call.peer]:
            peer.close()
        agent.send(events.Shutdown())
        assert agent.child.wait(PATIENCE_S) == 0


def test_no_callback_has_failed(agent):
    agent.expect(events.AgentCounters, lambda e: e.counters["callback_faults"] == 0)
    agent.receive(1.5)
    assert agent.counters["callback_faults"] == 0


def test_a_stop_says_bye(tmp_path):
    with sip_process(tmp_path / "log") as agent:
        call = Established(agent, Peer(agent.port))
        agent.send(events.Shutdown())
        bye = call.peer.expect("BYE")
        assert "gateway stopping" in bye.get("reason")
        call.peer.reply(bye)
        assert agent.child.wait(10) == 0
        call.peer.close()


def test_a_controller_that_dies_ends_the_process(tmp_path):
    with sip_process(tmp_path / "log") as agent:
        agent.close()
        assert agent.child.wait(10) == 0


def test_an_address_that_is_taken_is_told(tmp_path):
    with sip_process(tmp_path / "first") as agent:
        taken = [{"transport": "udp", "address": f"127.0.0.1:{agent.port}"}]
        log = tmp_path / "second"
        with pytest.raises(PeerGone), sip_process(log, bind=taken):
            pass
        assert "Address already in use" in Path(log).read_text()
        agent.send(events.Shutdown())
        assert agent.child.wait(10) == 0


def test_an_idle_process_sleeps(agent):
    """Not a measurement: it would fail only for a loop that spins."""

    def cpu_s():
        fields = Path(f"/proc/{agent.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    start = cpu_s()
    time.sleep(1)
    assert cpu_s() - start < 0.5


def test_a_caller_may_require_reliable_provisionals(agent, peer):
    """RFC 3262: the 180 is sent again until its PRACK."""
    peer.send(peer.request("INVITE", OFFER, "Require: 100rel\r\n"))
    invited = agent.expect(events.Invited)
    agent.send(events.Ring(invited.dialog))
    ringing = peer.expect("180")
    assert "100rel" in (ringing.get("require") or "")
    invite_cseq = peer.cseq
    peer.send(peer.request("PRACK", extra=f"RAck: {ringing.get('rseq')} {invite_cseq} INVITE\r\n"))
    peer.expect("200")
    agent.send(events.Accept(invited.dialog, answer(OFFER).sdp))
    ok = peer.expect("200")
    assert (ok.get("cseq"), media_line(ok)) == (f"{invite_cseq} INVITE", "m=audio 20000 RTP/AVP 0 101")
    peer.cseq = invite_cseq
    peer.send(peer.request("ACK"))
    agent.expect(events.Acknowledged)
    peer.cseq += 5
    peer.send(peer.request("BYE"))
    assert agent.expect(events.Ended).cause == "bye"


def test_an_invite_that_would_replace_a_call_is_declined(agent, peer):
    """RFC 3891 §3: whoever may not pick up a call is told so, and the call goes on."""
    call = Established(agent, peer)
    other = Peer(agent.port)
    tags = f"to-tag={peer.to_tag.partition('=')[2]};from-tag={peer.tag}"
    other.send(other.request("INVITE", OFFER, f"Replaces: {peer.call_id};{tags}\r\n"))
    other.expect("603")
    other.send(other.request("ACK", same=True))
    other.close()
    call.bye()
