"""Every message of the border survives the border."""

import msgspec
import pytest

from gateway.sip import events

EXAMPLES = [
    events.AgentReady(["udp 127.0.0.1:5060"], "2.17", 4000, True),
    events.Invited(1, "c", "udp", "10.0.0.1:5060", "sip:a@b", "a", {"x": ""}, "sip:f", "sip:t", {"via": "é"}, None),
    events.Acknowledged(1, "v=0"),
    events.Reinvited(1, None),
    events.Updated(1, "v=0", "v=0"),
    events.Answered(-1, 183, "Progress", None),
    events.Ended(1, "bye", 200, "OK"),
    events.InfoReceived(1, "application/dtmf-relay", "Signal=1\r\n"),
    events.Referred(1, "sip:x@y"),
    events.AgentCounters({"invites": 1}, 0),
    events.Ring(1, headers={"X-Session-ID": "s"}),
    events.Accept(1, "v=0"),
    events.Reject(1, 503, "Draining", {"Retry-After": "5"}),
    events.Hangup(1, "why"),
    events.Dial(-1, "sip:x@y", "v=0"),
    events.Offer(1, "v=0"),
    events.Refer(1, "sip:x@y"),
    events.SetReadiness(False, 7),
    events.TraceWanted(1, "c"),
    events.Traced(1, [events.WireMessage(5, True, "udp", "10.0.0.1:5060", "[::1]:5060", "BYE é")]),
    events.Stray("c", "10.0.0.1"),
    events.CertificateTaken(1.5e9, "no key"),
    events.Transferred(1, "c", "v=0", "v=0"),
    events.ReferProgress(1, 603, "Decline", True),
    events.RegistrationChanged("office", "registered", 200, "OK", 300),
    events.Reconfigure(b"{}", False),
    events.Carried({"office": 2}),
    events.Shutdown(),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_a_message_arrives_as_it_was(message):
    union = events.AnyEvent if isinstance(message, events.Event) else events.AnyCommand
    assert msgspec.msgpack.Decoder(union).decode(msgspec.msgpack.encode(message)) == message


def test_every_message_is_in_its_union_and_above():
    shown = {type(example) for example in EXAMPLES}
    kinds = set(events.Event.__subclasses__()) | set(events.Command.__subclasses__())
    assert shown == kinds == set(events.AnyEvent.__args__) | set(events.AnyCommand.__args__)
