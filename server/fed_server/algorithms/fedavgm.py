"""FedAvgM: the coordinator moves with momentum over rounds, which evens out rounds that disagree.

Source: Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification" (2019), arXiv:1909.06335, section 4.3.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fed_common.proposal import PositiveFloat
from fed_server.algorithms.algorithm import Algorithm, MeanOfRound, Memory
from fed_server.averaging import MeanUpdate


class FedAvgM(Algorithm):
    """v = momentum * v + mean update; the weights move by learning_rate * v."""

    name: Literal["fedavgm"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    learning_rate: PositiveFloat = 1.0

    def step(self, mean: MeanOfRound, memory: Memory) -> tuple[MeanUpdate, Memory]:
        """Return the step, and the velocity."""
        velocity_P = mean.values_P.astype(np.float64)
        if (before_P := memory.get("velocity")) is not None:
            velocity_P += self.momentum * before_P
        return self.learning_rate * velocity_P, {"velocity": velocity_P.astype(np.float32)}
