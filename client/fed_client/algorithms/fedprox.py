"""FedProx at a site: the gradient of mu / 2 times the squared distance to the shared model.

Source: Li et al., "Federated Optimization in Heterogeneous Networks" (2020), equation 2.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def draw_to(
    shared_P: NDArray[np.float32], *, mu: float
) -> Callable[[slice, NDArray[np.float64]], NDArray[np.float64]]:
    """Return mu (w - w_shared) of a block of weights, the same for whatever patients were drawn."""
    return lambda block, weights_P: mu * (weights_P - shared_P[block])
