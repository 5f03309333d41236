"""Updates survive the way as integers, whose sum no order changes and no site can break."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fed_common import fixedpoint
from fed_common.errors import ConfigError, MalformedMessageError


@given(st.lists(st.floats(-(2.0**29), 2.0**29)))
def test_a_value_is_kept_to_half_a_step(values: list[float]) -> None:
    real_P = np.array(values, dtype=np.float64)
    returned_P = fixedpoint.from_fixed(fixedpoint.to_fixed(real_P))
    assert np.all(np.abs(returned_P - real_P) <= 0.5 / fixedpoint.SCALE)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_survive_as_bytes(values: list[int]) -> None:
    values_P = np.array(values, dtype=np.int64)
    raw = fixedpoint.to_bytes(values_P)
    assert np.array_equal(fixedpoint.from_bytes(raw, size=len(values)), values_P)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**30, -(2.0**30), 1e300])
def test_what_has_no_integer_is_refused(value: float) -> None:
    with pytest.raises(MalformedMessageError):
        fixedpoint.to_fixed(np.array([0.0, value]))


@pytest.mark.parametrize("length", [0, 7, 9, 15, 17, 24])
def test_bytes_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(MalformedMessageError, match="16 bytes"):
        fixedpoint.from_bytes(bytes(length), size=2)


def test_a_sum_that_might_overflow_is_refused_and_the_largest_allowed_is_exact() -> None:
    with pytest.raises(ConfigError, match="overflow"):
        fixedpoint.refuse_overflow(largest_value=2.0**21, total_weight=1 << 10)
    largest = 2.0**21 * (1 - 2.0**-10)
    fixedpoint.refuse_overflow(largest_value=largest, total_weight=1 << 10)
    total = fixedpoint.to_fixed(np.array([largest])) * (1 << 10)
    assert fixedpoint.from_fixed(total)[0] == largest * (1 << 10)


def test_a_bound_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError):
        fixedpoint.refuse_overflow(largest_value=math.nan, total_weight=1)


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=100))
def test_the_length_is_that_of_the_real_numbers(values: list[int]) -> None:
    values_P = np.tile(np.array(values, dtype=np.int64), 700)  # more than one block, if there are many
    expected = float(np.linalg.norm(values_P / fixedpoint.SCALE))
    assert math.isclose(fixedpoint.norm(values_P), expected, rel_tol=1e-12)


@pytest.mark.parametrize("place", [0, 70_000])
def test_one_value_without_an_integer_is_found_among_many(place: int) -> None:
    values_P = np.zeros(70_001)
    values_P[place] = math.nan
    with pytest.raises(MalformedMessageError):
        fixedpoint.to_fixed(values_P)


def test_numbers_that_begin_at_any_byte_are_read() -> None:
    values_P = np.arange(5, dtype=np.int64)
    for before in range(8):
        view = memoryview(bytes(before) + values_P.tobytes())[before:]
        read_P = fixedpoint.from_bytes(view, size=5)
        assert read_P.flags.aligned and np.array_equal(read_P, values_P)
