"""The fast resize is the plain formula: each target pixel is the mean of the area it covers."""

from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fed_client.reading.resize import resized


def overlap(start: Fraction, end: Fraction, pixel: int) -> Fraction:
    return min(end, Fraction(pixel + 1)) - max(start, Fraction(pixel))


def area_mean(source_HW: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """Return the mean over each target pixel's area, in exact fractions and plain loops."""
    rows, columns = source_HW.shape
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            top, bottom = Fraction(y * rows, height), Fraction((y + 1) * rows, height)
            left, right = Fraction(x * columns, width), Fraction((x + 1) * columns, width)
            total = Fraction(0)
            for row in range(floor(top), ceil(bottom)):
                for column in range(floor(left), ceil(right)):
                    share = overlap(top, bottom, row) * overlap(left, right, column)
                    total += share * int(source_HW[row, column])
            result[y, x] = float(total / ((bottom - top) * (right - left)))
    return result


@settings(deadline=None, max_examples=60, derandomize=True)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), size=st.integers(1, 12), seed=st.integers(0, 99))
def test_shrinking_is_the_exact_area_mean(rows: int, columns: int, size: int, seed: int) -> None:
    source_HW = np.random.default_rng(seed).integers(0, 65536, (rows, columns)).astype(np.uint16)
    if max(rows, columns) < size:
        return
    small = resized(source_HW, size=size)
    assert max(small.shape) == size
    np.testing.assert_allclose(small, area_mean(source_HW, *small.shape), rtol=1e-5, atol=0.05)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, ">u2"]
)
def test_every_type_of_stored_value_is_averaged(dtype: Any) -> None:
    source_HW = np.arange(64).reshape(8, 8).astype(dtype)
    np.testing.assert_allclose(resized(source_HW, size=2), [[13.5, 17.5], [45.5, 49.5]])


def test_colours_are_averaged_each_by_itself() -> None:
    source_HW3 = np.zeros((4, 4, 3), np.uint8)
    source_HW3[..., 1], source_HW3[:2, :, 2] = 100, 40
    small = resized(source_HW3, size=2)
    assert small.tolist() == [[[0, 100, 40], [0, 100, 40]], [[0, 100, 0], [0, 100, 0]]]


def test_proportions_are_kept_and_no_side_vanishes() -> None:
    assert resized(np.zeros((100, 50), np.uint16), size=32).shape == (32, 16)
    assert resized(np.zeros((1, 1000), np.uint16), size=32).shape == (1, 32)


def test_growing_is_linear_between_pixel_centres() -> None:
    # Centres of 4 target pixels over 2: at -0.25 and 1.25 (continued), 0.25 and 0.75.
    grown = resized(np.array([[0, 100], [0, 100]], np.uint16), size=4)
    assert grown[0].tolist() == [0, 25, 75, 100]
    assert (grown == grown[0]).all()


def test_a_view_that_is_not_contiguous_is_read_right() -> None:
    source_HW = np.arange(64, dtype=np.uint16).reshape(8, 8)
    np.testing.assert_array_equal(resized(source_HW.T, size=4), resized(source_HW, size=4).T)
