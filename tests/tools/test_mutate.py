"""The mutations: repeatable, and of every kind that they promise."""

from __future__ import annotations

import random
from itertools import islice

from rig import mutate

from gateway.sip import headers, sdp
from gateway.sip.description import SdpRefused

HERE = "127.0.0.1:5070"


def test_a_seed_is_a_seed() -> None:
    for kind in (mutate.datagrams, mutate.offers):
        once = list(islice(kind(7, HERE, "bob"), 500))
        assert once == list(islice(kind(7, HERE, "bob"), 500))
        assert once != list(islice(kind(8, HERE, "bob"), 500))


def test_what_is_not_spoilt_is_good() -> None:
    rng = random.Random(1)
    for n in range(300):
        sdp.parse(mutate.sdp(rng))
        raw = mutate.request(rng, f"n{n}", HERE, "INVITE", "bob")
        message, _ = headers.inspect(raw.decode(), 65536)
        assert message.get("call-id") == f"n{n}"


def test_some_of_what_is_spoilt_is_still_good_and_most_is_not() -> None:
    taken = 0
    rng = random.Random(2)
    for _ in range(1000):
        try:
            sdp.parse(mutate.spoilt_offer(rng))
            taken += 1
        except SdpRefused:
            continue
    assert 100 < taken < 900


def test_the_length_of_a_spoilt_description_is_right() -> None:
    for raw in islice(mutate.offers(3, HERE, "bob"), 300):
        head, _, body = raw.partition(b"\r\n\r\n")
        assert head.endswith(b"Content-Length: %d" % len(body))


def test_a_request_within_a_call_names_it() -> None:
    dialog = "From: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\nCall-ID: it"
    them = list(islice(mutate.within(5, HERE, "bob", dialog), 200))
    assert len([raw for raw in them if b"Call-ID: it\r\n" in raw]) > 100


def test_it_fits_a_datagram() -> None:
    rng = random.Random(4)
    data = mutate.request(rng, "n", HERE, "INVITE", "bob", mutate.sdp(rng))
    for _ in range(200):
        data = mutate.spoil(rng, data)
        assert len(data) <= 60000


def test_nothing_left_to_spoil_is_something_again() -> None:
    assert all(mutate.spoil(random.Random(seed), b"") for seed in range(20))
