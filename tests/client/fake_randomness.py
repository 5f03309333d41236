"""Chance that a test decides, so that the arithmetic around it can be compared with a formula."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fed_common.randomness import grid_spacing


@dataclass
class FakeRandomness:
    """Everybody or nobody is drawn, the first images are chosen, and the noise is zero or one fixed value."""

    everybody: bool = True
    noise_in_std: float = 0.0
    noise_calls: int = 0

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        self.noise_calls += 1
        spacing = grid_spacing(std)
        exact_N[:] = np.rint((exact_N + self.noise_in_std * std) / spacing) * spacing

    def poisson_mask(self, count: int, *, rate: float) -> NDArray[np.bool_]:
        return np.full(count, self.everybody)

    def choose(self, count: int, *, most: int) -> NDArray[np.int64]:
        return np.arange(min(count, most), dtype=np.int64)
