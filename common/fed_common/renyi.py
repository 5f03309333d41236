"""Renyi divergences of one private step: the accountant that never fails, because it only integrates.

Letters: O orders, X points of the line, J how many of a patient's draws hit.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import binom

ORDERS = (*(1 + tenths / 10 for tenths in range(1, 100)), *range(11, 64), 128, 256, 512, 1024)

# An integrand is a sum of Gaussian bells as wide as the noise; the trapezoidal rule is exact on such a grid
# to 15 digits, and what lies further out than the margin weighs less than 1e-30.
_POINTS_PER_NOISE = 8
_MARGIN = 12.0

# Beyond this the line gets too long; such an order is left out, which only makes epsilon larger.
_FARTHEST = 1024


@lru_cache(maxsize=256)
def divergences(noise_multiplier: float, sampling_rate: float, draws: int) -> NDArray[np.float64]:
    """Return the divergence of each of `ORDERS`, in both directions the larger one; not to be written to.

    Each of a patient's `draws` hits by a coin of its own and moves the sum by 1, so that with the patient the
    sum is a mixture of Gaussians around 0 to `draws`, and without it one Gaussian around 0.

    Source: Mironov, Talwar and Zhang (2019), arXiv 1908.10530, section 3.
    """
    hits_J = np.arange(draws + 1)
    weights_J = binom.logpmf(hits_J, draws, sampling_rate)
    divergences_O = np.full(len(ORDERS), np.inf)
    for place, order in enumerate(ORDERS):
        farthest = order * draws
        if farthest > _FARTHEST:
            break
        reach = farthest + _MARGIN * noise_multiplier
        step = noise_multiplier / _POINTS_PER_NOISE
        points_X = np.arange(-reach, reach + step, step)
        without_X = -(points_X**2) / (2 * noise_multiplier**2)
        shifts_XJ = (points_X[:, None] * hits_J - hits_J**2 / 2) / noise_multiplier**2
        ratio_X = logsumexp(weights_J + shifts_XJ, axis=1)
        unit = np.log(step / (noise_multiplier * np.sqrt(2 * np.pi)))
        moments = (logsumexp(without_X + power * ratio_X) + unit for power in (order, 1 - order))
        divergences_O[place] = max(0.0, *moments) / (order - 1)
    return divergences_O
