"""The tables against the segments of G.711 computed bit by bit, and against published checksums."""

import zlib

import numpy as np
import pytest

from rtp import g711

ALL = np.arange(-32768, 32768).astype(np.int16)


def mu_output(code: int) -> int:
    """G.711 Table 2a/2b: output value of a mu-law code, left-justified in 16 bits."""
    bits = ~code & 0xFF
    segment, step = bits >> 4 & 7, bits & 15
    magnitude = ((2 * step + 33) << segment) - 33
    return 4 * (-magnitude if bits & 0x80 else magnitude)


def a_output(code: int) -> int:
    """G.711 Table 1a/1b: output value of an A-law code, left-justified in 16 bits."""
    bits = code ^ 0x55
    segment, step = bits >> 4 & 7, bits & 15
    magnitude = 2 * step + 1 if segment == 0 else (2 * step + 33) << (segment - 1)
    return 8 * (magnitude if bits & 0x80 else -magnitude)


def mu_code(sample: int) -> int:
    """Linear to mu-law with shifts only; negative samples by one's complement, as in G.191."""
    biased = min((~sample if sample < 0 else sample) >> 2, 8158) + 33
    segment = biased.bit_length() - 6
    bits = segment << 4 | (biased >> (segment + 1) & 15)
    return ~(bits | (0x80 if sample < 0 else 0)) & 0xFF


def a_code(sample: int) -> int:
    magnitude = (~sample if sample < 0 else sample) >> 4
    segment = max(magnitude.bit_length() - 4, 0)
    step = magnitude if segment == 0 else magnitude >> (segment - 1)
    return (segment << 4 | step & 15 | (0 if sample < 0 else 0x80)) ^ 0x55


def crc(values: np.ndarray) -> str:
    return f"{zlib.crc32(values.astype('<i2').tobytes()):08X}"


def test_every_code_point_decodes_as_defined() -> None:
    assert g711.MU_TO_LINEAR.tolist() == [mu_output(code) for code in range(256)]
    assert g711.A_TO_LINEAR.tolist() == [a_output(code) for code in range(256)]


def test_every_sample_encodes_as_defined() -> None:
    index = ALL.view(np.uint16)
    assert g711.LINEAR_TO_MU[index].tolist() == [mu_code(int(s)) for s in ALL]
    assert g711.LINEAR_TO_A[index].tolist() == [a_code(int(s)) for s in ALL]


@pytest.mark.parametrize(
    ("encode", "decode", "coded", "decoded"),
    [
        (g711.LINEAR_TO_A, g711.A_TO_LINEAR, "74719FE4", "ABCEAA69"),
        (g711.LINEAR_TO_MU, g711.MU_TO_LINEAR, "CD170E15", "63641C01"),
    ],
)
def test_published_checksums(encode: np.ndarray, decode: np.ndarray, coded: str, decoded: str) -> None:
    codes = encode[ALL.view(np.uint16)]
    assert crc(codes) == coded
    assert crc(decode[codes]) == decoded


def test_a_code_survives_decoding_and_encoding() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert (g711.LINEAR_TO_A[g711.A_TO_LINEAR.view(np.uint16)] == codes).all()
    again = g711.LINEAR_TO_MU[g711.MU_TO_LINEAR.view(np.uint16)]
    assert (again != codes).nonzero()[0].tolist() == [0x7F]  # minus zero is the same sample as plus zero
    assert again[0x7F] == g711.MU_SILENCE


def test_transcoding_goes_by_way_of_linear() -> None:
    for code in range(256):
        assert g711.ALAW_TO_MULAW[code] == mu_code(a_output(code))
        assert g711.MULAW_TO_ALAW[code] == a_code(mu_output(code))


def test_silence_and_energy() -> None:
    assert g711.MU_TO_LINEAR[g711.MU_SILENCE] == 0
    assert g711.A_TO_LINEAR[g711.A_SILENCE] == 8  # A-law has no zero
    assert g711.MU_ENERGY.tolist() == pytest.approx([(mu_output(c) / 32768) ** 2 for c in range(256)])
    assert g711.A_ENERGY.tolist() == pytest.approx([(a_output(c) / 32768) ** 2 for c in range(256)])


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        g711.MU_TO_LINEAR[0] = 1
