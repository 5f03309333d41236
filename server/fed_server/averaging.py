"""Which weights a round publishes: the last ones, or a mean in which the noise of many rounds cancels out.

What goes into the mean was already released, so it costs no privacy.
"""

# Shape letters: P parameters of the flattened model.

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

Averaging = Literal["none", "late"]
# What a round makes of the sites' updates; robust rules decide in the model's own precision.
MeanUpdate = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """The `model_P` that is published, and the `iterate_P` that the next round goes on from.

    `memory` is what the algorithm keeps beside them, by name (`fed_server.algorithms`). From then on nobody
    can write to any of them.
    """

    model_P: NDArray[np.float32]
    iterate_P: NDArray[np.float32]
    memory: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Their bytes are hashed, signed and sent without a copy.
        for vector_P in (self.model_P, self.iterate_P, *self.memory.values()):
            vector_P.flags.writeable = False

    @classmethod
    def first(cls, parameters_P: NDArray[np.float32]) -> Self:
        """Return the weights before round 1."""
        return cls(model_P=parameters_P, iterate_P=parameters_P)

    def moved(self, mean_P: MeanUpdate, *, number: int, averaging: Averaging) -> "Weights":
        """Return the weights after round `number`, whose mean update is `mean_P`.

        With "late" averaging the iterate of round t counts t times in the model.

        Source: Lacoste-Julien, Schmidt and Bach, "A Simpler Approach to Obtaining an O(1/t) Convergence Rate
        for the Projected Stochastic Subgradient Method" (2012).
        """
        iterate_P = (self.iterate_P + mean_P).astype(np.float32)
        if averaging == "none":
            return Weights.first(iterate_P)
        model_P = self.model_P + 2 / (number + 1) * (iterate_P.astype(np.float64) - self.model_P)
        return Weights(model_P=model_P.astype(np.float32), iterate_P=iterate_P)
