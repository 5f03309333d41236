"""The compiled loop is the formula: sum and noise on the public grid, over the public divisor, to the bit."""

import numpy as np
import pytest
from numpy.typing import DTypeLike

from fed_client.noised_mean import noised_mean
from fed_common.randomness import snap


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("std", "divisor"), [(1.0, 3.0), (0.07, 180.0), (25.0, 0.1)])
def test_the_noised_mean_is_that_of_the_formula(kind: DTypeLike, std: float, divisor: float) -> None:
    rng = np.random.default_rng(0)
    sum_P, drawn_P = rng.normal(size=10_001).astype(kind), rng.normal(scale=std, size=10_001)
    assert np.array_equal(
        noised_mean(sum_P, drawn_P, std=std, divisor=divisor), snap(sum_P + drawn_P, std=std) / divisor
    )
