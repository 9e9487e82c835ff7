"""The trace, the certificate, another configuration and strays, as the sip process gives them out."""

import json

import pytest

from gateway.config import Config
from gateway.sip import events
from gateway.sip.oversight import STRAYS_PER_S, Oversight
from gateway.sip.pieces import cut
from gateway.sip.stack import Request, StackError, Verdict, Wire
from tests.support.certificates import Authority

NOW = 1_700_000_000.25


class Rig:
    def __init__(self, config=None):
        self.sent = []
        self.secured = []
        self.oversight = Oversight(config or Config(), self.sent.append, lambda *_, **__: None, lambda: NOW)

    def secure(self, options):
        self.secured.append(options)


def bye(call_id="c"):
    return Request("BYE", "192.0.2.1", 5060, "UDP", True, False, f"BYE sip:a SIP/2.0\r\nCall-ID: {call_id}\r\n\r\n")


def test_a_trace_is_given_out_when_it_is_wanted():
    rig = Rig()
    raw = "INVITE sip:a@b SIP/2.0\r\n\r\n"
    rig.oversight.wired(Wire(False, "UDP", ("192.0.2.1", 5060), ("192.0.2.2", 5060), "c", raw))
    rig.oversight.admitted("c")
    rig.oversight.trace(events.TraceWanted(3, "c"))
    (traced,) = rig.sent
    assert (traced.request, [m.text for m in traced.messages]) == (3, [raw])
    assert traced.messages[0].time_us == 1_700_000_000_250_000
    assert rig.oversight.counters == {"homer_sent": 0, "homer_dropped": 0}


def test_a_bye_that_belongs_to_nobody_is_told_within_a_bound():
    rig = Rig()
    rig.oversight.turned_away(bye("gone"), Verdict(481))
    assert rig.sent == [events.Stray("gone", "192.0.2.1")]
    rig.oversight.turned_away(bye(), Verdict(503))
    for _ in range(STRAYS_PER_S + 5):
        rig.oversight.turned_away(bye(), Verdict(481))
    assert len(rig.sent) == STRAYS_PER_S
    rig.oversight.each_second()
    rig.oversight.turned_away(bye(), Verdict(481))
    assert len(rig.sent) == STRAYS_PER_S + 1


def secured(pair):
    section = {"certificate": str(pair.certificate), "key": str(pair.key)}
    return {"sip": {"bind": [{"transport": "tls", "address": "127.0.0.1:5061"}], "tls": section}}


def test_a_transport_without_a_good_certificate_does_not_start(tmp_path):
    authority = Authority(tmp_path)
    good = Rig(Config.model_validate(secured(authority.issue("good", days=100_000))))
    good.oversight.check()
    good.oversight.started()
    assert good.sent[0].expires_unix > NOW
    authority.issue("good").key.unlink()
    with pytest.raises(StackError, match=r"sip\.tls\.key"):
        good.oversight.check()


def test_another_configuration_is_whole_with_its_last_piece(tmp_path):
    rig = Rig()
    plain = secured(Authority(tmp_path).issue("fresh", days=100_000)) | {"routes": []}
    got = [rig.oversight.reconfigure(piece, rig) for piece in cut(json.dumps(plain).encode())]
    assert got == [Config.model_validate(plain)]
    assert len(rig.secured) == 1
    assert rig.sent[0].problem == ""
