"""SCAFFOLD: sites correct their steps by how their mean gradient differs from that of all.

The control variate of all sites follows from the mean update alone, and nothing more is uploaded. By option
II a site's own one becomes c_i - c - d_i / (K eta), where d_i is its update after K steps of rate eta, which
are the same at all sites. Those that took part have a share s of all patients, and move the mean of all by

    s (-c - d / (K eta))        where d is the mean update.

Source: Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning" (2020),
arXiv:1910.06378, algorithm 1, lines 12, 14 and 17, with weights in the place of 1 / N.
"""

from typing import Literal

import numpy as np

from fed_common.checkpoint import parameter_bytes
from fed_common.errors import ConfigError
from fed_common.local_methods import ControlVariates
from fed_common.names import Bytes
from fed_common.plans import TrainTerms
from fed_server.algorithms.algorithm import Algorithm, Circumstances, MeanOfRound, Memory
from fed_server.averaging import MeanUpdate, Weights

_CONTROL = "control"


class Scaffold(Algorithm):
    """FedAvg's step, and a control variate for the next round."""

    name: Literal["scaffold"]

    def refuse_contradictions(self, around: Circumstances) -> None:
        """Refuse what would make the control variate of all another than the mean of the sites'."""
        if around.momentum:
            raise ConfigError(
                'algorithm.name "scaffold" takes an update for so many steps of a mean gradient, which '
                f"training.momentum makes longer: it must be 0, got {around.momentum:g}"
            )
        if around.rule != "mean":
            raise ConfigError(
                'algorithm.name "scaffold" needs the mean of the updates, of which its control variate is '
                f'made: aggregation.rule must be "mean", got "{around.rule}"'
            )
        if around.vote:
            raise ConfigError(
                'algorithm.name "scaffold" and aggregation.vote exclude each other: '
                "sites can't take their control variates back by several rounds"
            )

    def local_method(self) -> ControlVariates:
        """Return the correction."""
        return ControlVariates()

    def step(self, mean: MeanOfRound, memory: Memory) -> tuple[MeanUpdate, Memory]:
        """Return the mean update, and the control variate of all sites."""
        before_P = memory.get(_CONTROL, np.zeros(len(mean.values_P), dtype=np.float32)).astype(np.float64)
        control_P = before_P + mean.share * (-before_P - mean.values_P / mean.path)
        return mean.values_P, {_CONTROL: control_P.astype(np.float32)}


def sent_to_train(weights: Weights, terms: TrainTerms) -> Bytes:
    """Return what comes with a plan to train: the weights to go on from and what the terms' method needs."""
    iterate = parameter_bytes(weights.iterate_P)
    if not isinstance(terms.method, ControlVariates):
        return iterate
    control_P = weights.memory.get(_CONTROL, np.zeros_like(weights.iterate_P))
    return b"".join((iterate, parameter_bytes(control_P)))
