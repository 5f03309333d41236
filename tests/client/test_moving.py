"""The compiled loop is the formula, to the bit, and lets no weight overflow unseen."""

import numpy as np
import pytest
from numpy.typing import DTypeLike

from fed_client.loops.moving import move

KINDS = pytest.mark.parametrize("kind", [np.float32, np.float64])


@KINDS
def test_the_way_down_is_that_of_the_formula(kind: DTypeLike) -> None:
    rng = np.random.default_rng(0)
    change_P, weights_P = rng.normal(size=10_001).astype(kind), rng.normal(size=10_001).astype(np.float32)
    expected_P = (weights_P - 0.3 * change_P.astype(np.float64)).astype(np.float32)
    assert move(change_P, 0.3, weights_P)
    assert np.array_equal(weights_P, expected_P)


@KINDS
@pytest.mark.parametrize("change", [float("nan"), float("inf"), -1e38])
def test_weights_that_overflow_are_seen(change: float, kind: DTypeLike) -> None:
    change_P, weights_P = np.zeros(1001, dtype=kind), np.zeros(1001, dtype=np.float32)
    change_P[77] = change

    assert not move(change_P, 10.0, weights_P)
