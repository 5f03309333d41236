"""Chance that a test decides, so that the arithmetic around it can be compared with a formula."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class FakeRandomness:
    """Everybody or nobody is drawn, the first images are chosen, and the noise is zero or one fixed value."""

    everybody: bool = True
    noise_in_std: float = 0.0
    gaussian_calls: int = 0

    def gaussian(self, size: int, *, std: float) -> NDArray[np.float64]:
        self.gaussian_calls += 1
        return np.full(size, self.noise_in_std * std)

    def poisson_mask(self, count: int, *, rate: float) -> NDArray[np.bool_]:
        return np.full(count, self.everybody)

    def choose(self, count: int, *, most: int) -> NDArray[np.int64]:
        return np.arange(min(count, most), dtype=np.int64)
