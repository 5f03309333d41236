"""The seam through which a method bends private training: what it adds to each noised mean gradient."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fed_client.algorithms.fedprox import draw_to
from fed_client.algorithms.scaffold import Controls
from fed_common.errors import ConfigError
from fed_common.local_methods import ControlVariates, LocalMethod, Proximal

# Shape letters: P parameters of the flattened model, or a block of them.

# Of a block and the weights in it. Made of weights that were noised and of what the plan says, never of a
# patient: it is added behind the noise, exact, and costs no privacy.
Correction = Callable[[slice, NDArray[np.float64]], NDArray[np.float64]]


def correction_of(
    method: LocalMethod | None, shared_P: NDArray[np.float32], controls: Controls | None
) -> Correction | None:
    """Return what the method of a plan adds, whose model is `shared_P`; None for plain SGD.

    Raises:
        ConfigError: the method needs control variates, and there are none.
    """
    match method:
        case None:
            return None
        case Proximal(mu=mu):
            return draw_to(shared_P, mu=mu)
        case ControlVariates():
            if controls is None:
                raise ConfigError("SCAFFOLD needs the control variates of the site and of all sites")
            correction_P = controls.correction_P
            return lambda block, weights_P: correction_P[block]
