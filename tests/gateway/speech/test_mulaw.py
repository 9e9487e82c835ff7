"""gateway/speech/mulaw.py"""

from __future__ import annotations

import numpy as np

from gateway.speech import mulaw


def test_every_octet_comes_back_but_the_second_zero() -> None:
    every = bytes(range(256))
    again = mulaw.encode(mulaw.decode(every)).tobytes()
    assert [octet for octet in every if again[octet] != octet] == [0x7F]
    assert mulaw.decode(mulaw.SILENCE).tolist() == [0]


def test_a_sum_that_is_too_loud_is_clipped() -> None:
    loudest = mulaw.decode(b"\x80\x00")
    assert mulaw.encode(loudest.astype(np.int32) * 2).tobytes() == b"\x80\x00"
