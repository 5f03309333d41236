"""What 8 bits lose of an update is bounded and no bias, and nothing is read that was never written."""

import math
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fed_common import fixedpoint
from fed_common.eight_bits import BLOCK, decode, encode, num_bytes
from fed_common.errors import MalformedMessageError

SIZES = [1, BLOCK - 1, BLOCK, BLOCK + 1, 16 * BLOCK, 33 * BLOCK + 7]


def key_of(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def update_of(size: int, *, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(scale=0.01, size=size)


def returned(
    values_P: NDArray[np.float64], *, longest: float = math.inf, key: int = 0
) -> NDArray[np.float64]:
    raw = encode(values_P, longest=longest, key=key_of(key))
    assert len(raw) == num_bytes(values_P.size)
    return fixedpoint.from_fixed(decode(raw, size=values_P.size))


def scales_of(values_P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scale of each value's block."""
    starts = np.arange(0, values_P.size, BLOCK)
    steps_B = (np.maximum.reduceat(np.abs(values_P), starts) / 127).astype(np.float32).astype(np.float64)
    return np.repeat(steps_B, BLOCK)[: values_P.size]


@pytest.mark.parametrize("size", SIZES)
def test_no_value_is_moved_by_a_step_or_more(size: int) -> None:
    values_P = update_of(size)
    steps_P = scales_of(values_P) * (1 + 1e-6)
    assert np.all(np.abs(returned(values_P) - values_P) < steps_P)


def test_the_mean_of_many_draws_is_the_value_and_their_variance_that_of_a_coin() -> None:
    """With p the part of a step above the lower code: mean v, variance s^2 p (1 - p)."""
    values_P, draws = update_of(500), 2000
    drawn_DP = np.stack([returned(values_P, key=number) for number in range(draws)])
    step = scales_of(values_P)[0]
    part_P = values_P / step - np.floor(values_P / step)
    variance_P = step**2 * part_P * (1 - part_P)
    deviations_P = (drawn_DP.mean(axis=0) - values_P) / np.sqrt(variance_P / draws + (1e-5 * step) ** 2)
    assert np.abs(deviations_P).max() < 5
    assert abs(deviations_P.mean()) < 5 / math.sqrt(values_P.size)
    assert np.allclose(drawn_DP.var(axis=0).sum(), variance_P.sum(), rtol=0.02)


@given(st.integers(-126, 40), st.integers(0, 2**32))
def test_whole_steps_come_back_to_the_last_bit_whatever_is_drawn(exponent: int, seed: int) -> None:
    codes_P = np.random.default_rng(seed).integers(-127, 128, size=100)
    codes_P[seed % 100] = 127
    values_P = codes_P * np.float64(math.ldexp(1.0, min(exponent, 22)))
    expected_P = fixedpoint.to_fixed(values_P) / fixedpoint.SCALE
    assert np.array_equal(returned(values_P, key=seed), expected_P)


@given(st.floats(1e-9, 1e6), st.integers(0, 100))
def test_the_largest_value_of_a_block_is_never_lost(largest: float, seed: int) -> None:
    for value in (largest, -largest):
        (found,) = returned(np.array([value]), key=seed)
        assert math.isclose(found, value, rel_tol=2e-7, abs_tol=2.0**-32)


def test_each_block_has_its_own_scale_and_zeros_stay_zero() -> None:
    values_P = np.concatenate([np.full(BLOCK, 1e-4), np.zeros(BLOCK), np.full(3, 1e3)])
    assert np.allclose(returned(values_P), values_P, rtol=1e-6, atol=2.0**-32)
    assert np.all(returned(values_P)[BLOCK : 2 * BLOCK] == 0)
    assert np.all(returned(np.full(5, 2.0**-34)) == 0)


def test_rounding_makes_no_update_longer_than_it_may_be() -> None:
    """One value beside many small ones is the worst case: each of those may become a whole step."""
    values_P = np.full(BLOCK, 0.5 / 127)
    values_P[0] = 1.0
    longest = float(np.linalg.norm(values_P))
    freely = float(np.linalg.norm(returned(values_P)))
    assert freely > 1.01 * longest
    assert math.isclose(np.linalg.norm(returned(values_P, longest=longest)), longest, rel_tol=1e-6)
    assert np.array_equal(returned(values_P, longest=freely * 1.001), returned(values_P))


def test_numbers_of_another_width_or_order_in_memory_are_read_as_what_they_are() -> None:
    values_P = update_of(2 * BLOCK).astype(np.float32)
    expected_P = returned(values_P.astype(np.float64))
    assert np.array_equal(returned(values_P), expected_P)  # type: ignore[arg-type]
    assert np.array_equal(returned(np.repeat(values_P.astype(np.float64), 2)[::2]), expected_P)


def test_another_key_draws_otherwise_and_the_same_one_does_not() -> None:
    values_P = update_of(100)
    assert np.array_equal(returned(values_P, key=1), returned(values_P, key=1))
    assert not np.array_equal(returned(values_P, key=1), returned(values_P, key=2))


def test_chunks_draw_from_one_keystream_and_none_twice() -> None:
    values_P = np.full(64 * BLOCK, 0.5 / 127)
    values_P[::BLOCK] = 1.0
    up_RC = (returned(values_P) > 0).reshape(4, -1)
    for row in range(1, 4):
        assert 0.45 < np.mean(up_RC[0] == up_RC[row]) < 0.55


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, 2.0**30, -(2.0**30), 1e300])
@pytest.mark.parametrize("place", [0, BLOCK + 1])
def test_what_has_no_code_is_refused(value: float, place: int) -> None:
    values_P = update_of(BLOCK + 2)
    values_P[place] = value
    with pytest.raises(MalformedMessageError, match="not finite"):
        encode(values_P, longest=math.inf, key=key_of(0))


@pytest.mark.parametrize("change", [-5, -4, -1, 1, 4, 5])
def test_another_number_of_values_or_blocks_is_refused(change: int) -> None:
    size = BLOCK + 1
    assert num_bytes(size) == 2 * 4 + size
    with pytest.raises(MalformedMessageError, match=f"{size + 8} bytes for {size} parameters"):
        decode(bytes(size + 8 + change), size=size)


def test_a_block_too_many_is_refused() -> None:
    assert num_bytes(BLOCK) == 4 + BLOCK
    with pytest.raises(MalformedMessageError, match="bytes"):
        decode(bytes(8 + BLOCK), size=BLOCK)


@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf, -1.0, -1e-30, 2.0**30 / 127, 3e38])
@pytest.mark.parametrize("block", [0, 1])
def test_a_scale_that_is_never_written_is_refused(scale: float, block: int) -> None:
    scales_B = np.ones(2, dtype="<f4")
    decode(scales_B.tobytes() + bytes(BLOCK + 1), size=BLOCK + 1)
    scales_B[block] = scale
    with pytest.raises(MalformedMessageError, match="scale"):
        decode(scales_B.tobytes() + bytes(BLOCK + 1), size=BLOCK + 1)


def test_a_code_that_is_never_written_is_refused() -> None:
    one = np.ones(1, dtype="<f4").tobytes()
    assert decode(one + b"\x81\x7f", size=2).tolist() == [-127 << 32, 127 << 32]
    with pytest.raises(MalformedMessageError, match="-128"):
        decode(one + b"\x80\x7f", size=2)
