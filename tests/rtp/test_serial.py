import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtp import serial

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFF_FFFF)
FAR = st.integers(-(1 << 50), 1 << 50)


def is_newer(new: int, old: int, bits: int) -> bool:
    """RFC 1982 §3.2, word for word."""
    half = 1 << (bits - 1)
    return (old < new and new - old < half) or (old > new and old - new > half)


@given(U16, U16)
def test_delta16_agrees_with_rfc_1982(new: int, old: int) -> None:
    step = serial.delta16(new, old)
    assert (old + step) % 65536 == new
    assert -32768 <= step <= 32767
    assert (step > 0) == is_newer(new, old, 16)


@given(U32, U32)
def test_delta32_agrees_with_rfc_1982(new: int, old: int) -> None:
    step = serial.delta32(new, old)
    assert (old + step) % (1 << 32) == new
    assert -(1 << 31) <= step < 1 << 31
    assert (step > 0) == is_newer(new, old, 32)


def test_half_way_round_counts_as_older() -> None:
    assert serial.delta16(0x8000, 0) == -32768
    assert serial.delta32(0x8000_0000, 0) == -(1 << 31)


@given(FAR, st.integers(-32768, 32767))
def test_unwrap16_finds_the_nearest_count(reference: int, step: int) -> None:
    assert serial.unwrap16((reference + step) & 0xFFFF, reference) == reference + step


@given(FAR, st.integers(-(1 << 31), (1 << 31) - 1))
def test_unwrap32_finds_the_nearest_count(reference: int, step: int) -> None:
    assert serial.unwrap32((reference + step) & 0xFFFF_FFFF, reference) == reference + step


@given(st.lists(st.tuples(U16, U16, U32, U32, FAR), max_size=20))
def test_array_forms_agree_with_the_plain_ones(cases: list[tuple[int, int, int, int, int]]) -> None:
    columns = list(zip(*cases, strict=True)) or [()] * 5
    a16, b16 = (np.array(c, dtype=np.uint16) for c in columns[:2])
    a32, b32 = (np.array(c, dtype=np.uint32) for c in columns[2:4])
    far = np.array(columns[4], dtype=np.int64)
    assert serial.delta16_array(a16, b16).tolist() == [serial.delta16(a, b) for a, b, *_ in cases]
    assert serial.delta32_array(a32, b32).tolist() == [serial.delta32(c[2], c[3]) for c in cases]
    assert serial.unwrap16_array(a16, far).tolist() == [serial.unwrap16(c[0], c[4]) for c in cases]
    assert serial.unwrap32_array(a32, far).tolist() == [serial.unwrap32(c[2], c[4]) for c in cases]
    assert serial.unwrap32_array(a32, far).dtype == np.int64


def test_a_year_of_sequence_numbers_unwraps() -> None:
    count = 0
    for step in [1] * 70000 + [20000] * 200:
        count = serial.unwrap16((count + step) & 0xFFFF, count)
    assert count == 70000 + 200 * 20000
