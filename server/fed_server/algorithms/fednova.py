"""FedNova, which is refused: it is FedAvg wherever all sites take the same number of steps, as they do here.

Source: Wang et al., "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization"
(2020), arXiv:2007.07481, equation 6: each update is divided by its number of steps tau_i, the mean multiplied
by the mean of the tau_i.
"""

from typing import Literal

from fed_common.errors import ConfigError
from fed_server.algorithms.algorithm import Algorithm, Circumstances


class FedNova(Algorithm):
    """A name to say why by."""

    name: Literal["fednova"]

    def refuse_contradictions(self, around: Circumstances) -> None:
        """Refuse."""
        raise ConfigError(
            'algorithm.name "fednova" is the same as "fedavg": all sites take '
            f"{around.steps_per_round} steps in a round, a public number, because one that followed from a "
            "site's patients would tell of them"
        )
