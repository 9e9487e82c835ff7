"""libsrtp as we call it, against RFC 3711 written down plainly with AES and HMAC."""

from __future__ import annotations

import hashlib
import hmac
import random
import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from rtp import srtp
from rtp.errors import RejectReason as R
from rtp.srtp import SUITES, Srtp, pointer_to

SSRC = 0xCAFEBABE
TAGS = {name: 4 if name.endswith("32") else 10 for name in SUITES}


def keystream(key: bytes, iv: int, size: int) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CTR((iv % (1 << 128)).to_bytes(16, "big")))
    return cipher.encryptor().update(bytes(size))


def derive(master: bytes, label: int, size: int) -> bytes:
    """RFC 3711 §4.3.1, key derivation rate 0."""
    key, salt = master[:-14], master[-14:]
    return keystream(key, (int.from_bytes(salt, "big") ^ label << 48) << 16, size)


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def seal(master: bytes, packet: bytes, roc: int, tag: int) -> bytes:
    """An SRTP packet, RFC 3711 §3.1 and §4.1.1."""
    cipher, auth, salt = (derive(master, n, size) for n, size in ((0, len(master) - 14), (1, 20), (2, 14)))
    sequence, _, ssrc = struct.unpack_from(">HII", packet, 2)
    iv = int.from_bytes(salt, "big") << 16 ^ ssrc << 64 ^ (roc << 16 | sequence) << 16
    sealed = packet[:12] + xor(packet[12:], keystream(cipher, iv, len(packet) - 12))
    return sealed + hmac.new(auth, sealed + roc.to_bytes(4, "big"), hashlib.sha1).digest()[:tag]


def seal_rtcp(master: bytes, packet: bytes, index: int) -> bytes:
    """An SRTCP packet, RFC 3711 §3.4; its tag is always of 80 bits."""
    cipher, auth, salt = (derive(master, n, size) for n, size in ((3, len(master) - 14), (4, 20), (5, 14)))
    (ssrc,) = struct.unpack_from(">I", packet, 4)
    iv = int.from_bytes(salt, "big") << 16 ^ ssrc << 64 ^ index << 16
    sealed = packet[:8] + xor(packet[8:], keystream(cipher, iv, len(packet) - 8))
    sealed += (1 << 31 | index).to_bytes(4, "big")
    return sealed + hmac.new(auth, sealed, hashlib.sha1).digest()[:10]


def rtp(sequence: int, ssrc: int = SSRC, payload: bytes = bytes(range(160))) -> bytes:
    return struct.pack(">BBHII", 0x80, 0, sequence % 65536, sequence * 160 % (1 << 32), ssrc) + payload


def receive(leg: Srtp, packet: bytes) -> bytes | R:
    buffer = bytearray(packet)
    size = leg.unprotect(pointer_to(buffer), len(buffer))
    return bytes(buffer[:size]) if size >= 0 else R(-size)


def keys(suite: str, seed: int = 1) -> tuple[bytes, bytes]:
    draw = random.Random(f"{suite} {seed}")
    return draw.randbytes(SUITES[suite].key), draw.randbytes(SUITES[suite].key)


def pair(suite: str = "AES_CM_128_HMAC_SHA1_80", seed: int = 1) -> tuple[Srtp, Srtp]:
    a, b = keys(suite, seed)
    return Srtp(suite, a, b, SSRC), Srtp(suite, b, a, SSRC + 1)


def test_the_plain_form_meets_the_vectors_of_rfc_3711() -> None:
    master = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6")  # appendix B.3
    assert derive(master, 0, 16).hex().upper() == "C61E7A93744F39EE10734AFE3FF7A087"
    assert derive(master, 2, 14).hex().upper() == "30CBBC08863D8C85D49DB34A9AE1"
    assert derive(master, 1, 20).hex().upper() == "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_sealed_and_opened_is_as_the_rfc_says(suite: str) -> None:
    a, b = pair(suite)
    receive_key, send_key = keys(suite)
    for n in range(65530, 65545):  # over the wrap: the roll-over counter goes from 0 to 1
        sealed = a.protect(rtp(n))
        assert sealed == seal(send_key, rtp(n), n >> 16, TAGS[suite])
        assert receive(b, sealed) == rtp(n)
        assert receive(a, seal(receive_key, rtp(n, 5), n >> 16, TAGS[suite])) == rtp(n, 5)


@pytest.mark.parametrize("suite", SUITES)
def test_rtcp_is_as_the_rfc_says(suite: str) -> None:
    a, b = pair(suite)
    report = struct.pack(">BBHI", 0x80, 201, 1, SSRC) + struct.pack(">BBHI", 0x81, 203, 1, SSRC)
    for index in range(1, 4):
        sealed = a.protect_rtcp(report)
        assert sealed == seal_rtcp(keys(suite)[1], report, index)
        buffer = bytearray(sealed)
        size = b.unprotect_rtcp(pointer_to(buffer), len(buffer))
        assert bytes(buffer[:size]) == report
        buffer = bytearray(sealed)
        assert b.unprotect_rtcp(pointer_to(buffer), len(buffer)) == -R.REPLAYED
        forged = bytearray(seal_rtcp(keys(suite)[0], report, index + 1))
        assert b.unprotect_rtcp(pointer_to(forged), len(forged)) == -R.BAD_AUTH


def test_packets_are_opened_in_place_in_a_matrix() -> None:
    a, b = pair()
    matrix = np.full((4, 1536), 0x11, dtype=np.uint8)
    at = pointer_to(matrix)
    for row in (2, 0):
        sealed = a.protect(memoryview(rtp(row)))
        matrix[row, : len(sealed)] = np.frombuffer(sealed, np.uint8)
        assert b.unprotect(at + row * 1536, len(sealed)) == 172
        assert matrix[row, :172].tobytes() == rtp(row)
    assert (matrix[[1, 3]] == 0x11).all()


def test_a_hundred_thousand_bad_tags_do_not_end_the_call() -> None:
    a, b = pair()
    draw = random.Random(4)
    for n in range(100):
        sealed = a.protect(rtp(n))
        forged = bytearray(sealed)
        at = pointer_to(forged)
        for _ in range(1000):
            forged[:] = sealed
            forged[draw.randrange(8 if draw.random() < 0.5 else 12, len(forged))] ^= draw.randrange(1, 256)
            assert b.unprotect(at, len(forged)) == -R.BAD_AUTH
        assert receive(b, sealed) == rtp(n)


def test_replayed_packets_are_delivered_once() -> None:
    a, b = pair()
    sealed = [a.protect(rtp(60000 + n)) for n in range(50)]
    again = sealed * 6
    random.Random(1).shuffle(again)
    opened = [receive(b, packet) for packet in again]
    delivered = [p for p in opened if isinstance(p, bytes)]
    assert sorted(delivered) == sorted(rtp(60000 + n) for n in range(50))
    assert opened.count(R.REPLAYED) == 250


def test_a_packet_older_than_the_window_is_a_replay() -> None:
    a, b = pair()
    old = a.protect(rtp(1))
    for n in range(2, 400):
        receive(b, a.protect(rtp(n)))
    assert receive(b, old) == R.REPLAYED


def test_a_packet_sealed_twice_is_refused() -> None:
    a, _ = pair()
    assert a.protect(rtp(1))
    assert a.protect(rtp(1)) == b""


def test_the_same_keys_again_change_nothing() -> None:
    a, b = pair()
    receive_key, send_key = keys("AES_CM_128_HMAC_SHA1_80")
    for n in range(65530, 65540):
        assert receive(b, a.protect(rtp(n))) == rtp(n)
    last = a.protect(rtp(65540))
    assert receive(b, last) == rtp(65540)
    a.rekey("AES_CM_128_HMAC_SHA1_80", receive_key, send_key, next_sequence=5)
    b.rekey("AES_CM_128_HMAC_SHA1_80", send_key, receive_key, next_sequence=5)
    assert receive(b, last) == R.REPLAYED
    assert receive(b, a.protect(rtp(65541))) == rtp(65541)


def run(sender: Srtp, receiver: Srtp, first: int, last: int) -> None:
    for n in range(first, last):
        assert receive(receiver, sender.protect(rtp(n))) == rtp(n)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("wraps_at_the_change", [False, True])
def test_a_new_key_keeps_the_roll_over_counter(suite: str, wraps_at_the_change: bool) -> None:
    """RFC 3711 §3.3.1; also when the first packet under the new key is the one after the wrap."""
    a, b = pair()
    change = (2 << 16) if wraps_at_the_change else (2 << 16) + 500
    for n in range(65000, change, 7):
        assert receive(b, a.protect(rtp(n))) == rtp(n)
    assert receive(b, a.protect(rtp(change - 1))) == rtp(change - 1)
    receive_key, send_key = keys(suite, seed=2)
    a.rekey(suite, receive_key, send_key, next_sequence=change % 65536)
    b.rekey(suite, send_key, receive_key, next_sequence=1)
    sealed = a.protect(rtp(change))
    assert sealed == seal(send_key, rtp(change), change >> 16, TAGS[suite])
    assert receive(b, b"\x80" + bytes(7) + SSRC.to_bytes(4, "big") + bytes(160)) == R.BAD_AUTH
    assert receive(b, sealed) == rtp(change)
    assert receive(b, sealed) == R.REPLAYED
    run(a, b, change + 1, change + 300)


def test_a_peer_that_begins_again_at_zero_under_a_new_key_is_heard() -> None:
    a, b = pair()
    for n in range(65000, 140_000, 7):
        assert receive(b, a.protect(rtp(n))) == rtp(n)
    receive_key, send_key = keys("AES_CM_128_HMAC_SHA1_80", seed=2)
    b.rekey("AES_CM_128_HMAC_SHA1_80", send_key, receive_key, next_sequence=1)
    fresh = Srtp("AES_CM_128_HMAC_SHA1_80", receive_key, send_key, SSRC)
    run(fresh, b, 9000, 9100)


def test_only_the_direction_with_a_new_key_changes() -> None:
    a, b = pair()
    _, send_key = keys("AES_CM_128_HMAC_SHA1_80")
    new, _ = keys("AES_CM_128_HMAC_SHA1_80", seed=3)
    run(a, b, 1, 10)
    last = a.protect(rtp(10))
    assert receive(b, last) == rtp(10)
    b.rekey("AES_CM_128_HMAC_SHA1_80", send_key, new, next_sequence=1)
    assert receive(b, last) == R.REPLAYED
    assert receive(a, b.protect(rtp(1, SSRC + 1))) == R.BAD_AUTH
    a.rekey("AES_CM_128_HMAC_SHA1_80", new, send_key, next_sequence=11)
    assert receive(a, b.protect(rtp(2, SSRC + 1))) == rtp(2, SSRC + 1)
    run(a, b, 11, 20)


def test_a_peer_may_change_its_ssrc_but_not_for_ever() -> None:
    send_key = keys("AES_CM_128_HMAC_SHA1_80")[1]
    _, b = pair()
    opened = [receive(b, seal(send_key, rtp(1, ssrc), 0, 10)) for ssrc in range(1, 100)]
    assert [p for p in opened if isinstance(p, bytes)] == [rtp(1, n) for n in range(1, srtp.MAX_SOURCES + 1)]
    assert set(opened[srtp.MAX_SOURCES :]) == {R.BAD_SRTP}
    assert receive(b, seal(send_key, rtp(2, 1), 0, 10)) == rtp(2, 1)


def test_forged_sources_take_no_room() -> None:
    a, b = pair()
    for ssrc in range(1000):
        assert receive(b, rtp(1, ssrc) + bytes(10)) == R.BAD_AUTH
    run(a, b, 1, 5)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 11, 12, 13, 21, 22])
def test_short_packets_are_a_code(size: int) -> None:
    _, b = pair()
    buffer = bytearray(rtp(1)[:size] or b"\0")
    assert b.unprotect(pointer_to(buffer), size) < 0
    buffer = bytearray(rtp(1)[:size] or b"\0")
    assert b.unprotect_rtcp(pointer_to(buffer), size) < 0


def test_an_unknown_suite_or_a_short_key_is_a_bug() -> None:
    for suite, size in (("F8_128_HMAC_SHA1_80", 30), ("AES_CM_128_HMAC_SHA1_80", 29), ("AES_256_CM_HMAC_SHA1_80", 30)):
        with pytest.raises(ValueError, match=suite):
            Srtp(suite, bytes(size), bytes(size), 1)


def test_no_key_is_shown() -> None:
    receive_key, send_key = keys("AES_CM_128_HMAC_SHA1_80")
    leg = Srtp("AES_CM_128_HMAC_SHA1_80", receive_key, send_key, 1)
    shown = repr(leg) + repr(vars(leg))
    for key in (receive_key, send_key):
        assert repr(key)[2:20] not in shown
        assert key.hex() not in shown
