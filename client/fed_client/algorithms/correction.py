"""The seam through which a method bends private training: what becomes of each noised mean gradient."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fed_common.errors import ConfigError
from fed_common.local_methods import ControlVariates, LocalMethod, Proximal

# Shape letters: P parameters of the flattened model, or a block of them.


class Correction(Protocol):
    """Made of weights that were noised and of what the plan says, never of a patient.

    It acts behind the noise, exact, and costs no privacy.
    """

    def __call__(
        self, step: int, block: slice, change_P: NDArray[np.float64], weights_P: NDArray[np.float64], /
    ) -> NDArray[np.float64]:
        """Return what becomes of a block's noised mean gradient in this step; both may be written to."""
        ...


def draw_to(shared_P: NDArray[np.float32], *, mu: float) -> Correction:
    """Return the gradient of mu / 2 times the squared distance to `shared_P`, to be added.

    Source: Li et al., "Federated Optimization in Heterogeneous Networks" (2020), equation 2 (FedProx).
    """
    return lambda step, block, change_P, weights_P: change_P + mu * (weights_P - shared_P[block])


def added(correction_P: NDArray[np.float64]) -> Correction:
    """Return what adds the same vector in every step."""
    return lambda step, block, change_P, weights_P: change_P + correction_P[block]


def correction_of(method: LocalMethod | None, shared_P: NDArray[np.float32]) -> Correction | None:
    """Return what the method of a plan does, whose model is `shared_P`; None for plain SGD.

    Raises:
        ConfigError: the method depends on what the site has kept.
    """
    match method:
        case None:
            return None
        case Proximal(mu=mu):
            return draw_to(shared_P, mu=mu)
        case ControlVariates():
            raise ConfigError("SCAFFOLD needs the control variates of the site and of all sites")
