"""FedAdam and FedYogi: a coordinate's step is divided by how large its mean updates have been.

Source: Reddi et al., "Adaptive Federated Optimization" (2021), arXiv:2003.00295, algorithm 2; v begins with
tau ** 2, m with 0, and there is no correction of bias.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fed_common.proposal import PositiveFloat
from fed_server.algorithms.algorithm import Algorithm, MeanOfRound, Memory
from fed_server.averaging import MeanUpdate

Decay = Annotated[float, Field(ge=0, lt=1)]


class _Adaptive(Algorithm):
    """m = beta_1 m + (1 - beta_1) d; the weights move by learning_rate * m / (sqrt(v) + tau)."""

    learning_rate: PositiveFloat
    beta_1: Decay = 0.9
    beta_2: Decay = 0.99
    tau: PositiveFloat = 1e-3

    def step(self, mean: MeanOfRound, memory: Memory) -> tuple[MeanUpdate, Memory]:
        """Return the step, and both moments of the mean updates."""
        mean_P = mean.values_P.astype(np.float64)
        first_P = (1 - self.beta_1) * mean_P
        second_P = np.full(mean_P.shape, self.tau**2)
        if memory:
            first_P += self.beta_1 * memory["first"]
            second_P = memory["second"].astype(np.float64)
        second_P = self._second(second_P, mean_P**2)
        step_P = self.learning_rate * first_P / (np.sqrt(second_P) + self.tau)
        return step_P, {"first": first_P.astype(np.float32), "second": second_P.astype(np.float32)}

    def _second(self, second_P: NDArray[np.float64], squared_P: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError


class FedAdam(_Adaptive):
    """v = beta_2 v + (1 - beta_2) d ** 2."""

    name: Literal["fedadam"]

    def _second(self, second_P: NDArray[np.float64], squared_P: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.beta_2 * second_P + (1 - self.beta_2) * squared_P


class FedYogi(_Adaptive):
    """v = v - (1 - beta_2) d ** 2 sign(v - d ** 2): it forgets a large update more slowly."""

    name: Literal["fedyogi"]

    def _second(self, second_P: NDArray[np.float64], squared_P: NDArray[np.float64]) -> NDArray[np.float64]:
        return second_P - (1 - self.beta_2) * squared_P * np.sign(second_P - squared_P)
