"""The compiled loop is the formula: sum and noise on the public grid, over the public divisor, to the bit."""

import numpy as np
import pytest
from numpy.typing import DTypeLike

from fed_client.loops.moving import move, noised_mean
from fed_common.randomness import grid_spacing, snap


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("std", "divisor"), [(1.0, 3.0), (0.07, 180.0), (25.0, 0.1)])
def test_the_noised_mean_is_that_of_the_formula(kind: DTypeLike, std: float, divisor: float) -> None:
    rng = np.random.default_rng(0)
    sum_P, drawn_P = rng.normal(size=10_001).astype(kind), rng.normal(scale=std, size=10_001)
    expected_P = snap(sum_P + drawn_P, std=std) / divisor
    mean_P = noised_mean(sum_P, drawn_P, std=std, divisor=divisor)
    np.testing.assert_allclose(mean_P, expected_P, rtol=1e-15)
    on_grid_P = mean_P * divisor / grid_spacing(std)
    np.testing.assert_allclose(on_grid_P, np.rint(on_grid_P), rtol=1e-15)


def test_the_way_down_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    change_P, weights_P = rng.normal(size=10_001), rng.normal(size=10_001).astype(np.float32)
    expected_P = (weights_P - 0.3 * change_P).astype(np.float32)
    assert move(change_P, 0.3, weights_P)
    assert np.array_equal(weights_P, expected_P)


@pytest.mark.parametrize("change", [float("nan"), float("inf"), -1e39])
def test_weights_that_overflow_are_seen(change: float) -> None:
    change_P, weights_P = np.zeros(1001), np.zeros(1001, dtype=np.float32)
    change_P[77] = change

    assert not move(change_P, 1.0, weights_P)
