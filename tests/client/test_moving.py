"""The compiled loop is the formula: sum and noise on the public grid, over the public divisor, to the bit."""

import numpy as np
import pytest
from numpy.typing import DTypeLike

from fed_client.loops.moving import move, noised_mean
from fed_common.randomness import snap


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("std", "divisor"), [(1.0, 3.0), (0.07, 180.0), (25.0, 0.1)])
def test_the_noised_mean_is_that_of_the_formula(kind: DTypeLike, std: float, divisor: float) -> None:
    rng = np.random.default_rng(0)
    sum_P, drawn_P = rng.normal(size=10_001).astype(kind), rng.normal(scale=std, size=10_001)
    expected_P = snap(sum_P + drawn_P, std=std) / divisor
    assert np.array_equal(noised_mean(sum_P, drawn_P, std=std, divisor=divisor), expected_P)


def test_the_way_down_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    change_P, before_P = rng.normal(size=(2, 10_001))
    start_P, moved_P = rng.normal(size=10_001).astype(np.float32), before_P.copy()
    weights_P = np.empty_like(start_P)
    move(change_P, 0.3, start_P, moved_P, weights_P)
    assert np.array_equal(moved_P, before_P - 0.3 * change_P)
    assert np.array_equal(weights_P, (start_P + moved_P).astype(np.float32))
