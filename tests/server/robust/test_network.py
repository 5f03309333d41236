"""A network sorts whatever it is given, and a part of it puts the wanted places right."""

from collections.abc import Collection

import numpy as np
import pytest
from numpy.typing import NDArray

from fed_server.robust.network import comparators


def exchanged(values_NB: NDArray[np.int64], wanted: Collection[int]) -> NDArray[np.int64]:
    values_NB = values_NB.copy()
    for pair in comparators(len(values_NB), wanted):
        values_NB[pair] = np.sort(values_NB[pair], axis=0)
    return values_NB


@pytest.mark.parametrize("lines", range(1, 13))
def test_every_sequence_of_zeros_and_ones_is_sorted(lines: int) -> None:
    """Then every other sequence is: Knuth, volume 3, theorem 5.3.4 Z."""
    all_NB = (np.arange(2**lines) >> np.arange(lines)[:, None]) & 1
    assert np.array_equal(exchanged(all_NB, range(lines)), np.sort(all_NB, axis=0))


@pytest.mark.parametrize("lines", [2, 7, 10, 12])
def test_the_middle_is_right_with_fewer_comparators(lines: int) -> None:
    middle = range((lines - 1) // 2, lines // 2 + 1)
    all_NB = (np.arange(2**lines) >> np.arange(lines)[:, None]) & 1
    assert np.array_equal(exchanged(all_NB, middle)[middle], np.sort(all_NB, axis=0)[middle])
    assert lines == 2 or len(comparators(lines, middle)) < len(comparators(lines, range(lines)))
    assert len(comparators(lines, [])) == 0


def test_as_many_comparators_as_knuth_counts() -> None:
    assert [len(comparators(lines, range(lines))) for lines in range(1, 17)] == [
        *(0, 1, 3, 5, 9, 12, 16, 19, 26, 31, 37, 41, 48, 53, 59, 63)
    ]
