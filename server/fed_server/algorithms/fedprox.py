"""FedProx: sites whose patients differ are drawn back to the shared model while they train.

Source: Li et al., "Federated Optimization in Heterogeneous Networks" (2020), arXiv:1812.06127.
"""

from typing import Literal

from fed_common.errors import ConfigError
from fed_common.local_methods import Proximal
from fed_common.proposal import PositiveFloat
from fed_server.algorithms.algorithm import Algorithm, Circumstances


class FedProx(Algorithm):
    """FedAvg of sites that minimise their loss plus mu / 2 times the squared distance to the shared model."""

    name: Literal["fedprox"]
    mu: PositiveFloat

    def refuse_contradictions(self, around: Circumstances) -> None:
        """Refuse a draw that would overshoot the shared model."""
        if not around.learning_rate * self.mu <= 1:
            raise ConfigError(
                f"algorithm.mu must be at most 1 / training.learning_rate = {1 / around.learning_rate:g}, "
                f"got {self.mu:g}: a step back would go beyond the shared model"
            )

    def local_method(self) -> Proximal:
        """Return the draw."""
        return Proximal(mu=self.mu)
