"""FedAvg, which moves the weights by the mean update, and FedSGD, its special case of one step in a round.

Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data" (2017).
"""

from typing import Literal

from fed_common.errors import ConfigError
from fed_server.algorithms.algorithm import Algorithm, Circumstances


class FedAvg(Algorithm):
    """The mean of the updates is the step."""

    name: Literal["fedavg"] = "fedavg"


class FedSgd(Algorithm):
    """One step a round: in a masked sum the sites' noises add up, and the coordinator alone sees less."""

    name: Literal["fedsgd"]

    def refuse_contradictions(self, around: Circumstances) -> None:
        """Refuse more than one step."""
        if around.steps_per_round != 1:
            raise ConfigError(
                'algorithm.name "fedsgd" is one step in a round: training.steps_per_round must be 1, '
                f"got {around.steps_per_round}"
            )
