"""What an algorithm decides: what sites do besides private SGD, and how their mean update moves the model.

The coordinator's part sees the mean update alone, never a site's: it works under masks, and costs no privacy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fed_common.config import ConfigTable
from fed_common.local_methods import LocalMethod
from fed_server.averaging import MeanUpdate

# Shape letters: P parameters of the flattened model.

# What is kept from round to round, vector by vector; it is published with the checkpoint that it belongs to.
Memory = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What of the rest of the settings an algorithm may not go together with."""

    steps_per_round: int
    learning_rate: float
    momentum: float
    rule: str
    vote: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanOfRound:
    """The mean update, which share of all patients its sites have, and the `path` of each (`TrainTerms`)."""

    values_P: MeanUpdate
    share: float
    path: float


class Algorithm(ConfigTable):
    """An algorithm is FedAvg, except where its class says otherwise."""

    name: str

    def refuse_contradictions(self, around: Circumstances) -> None:
        """Return only if the algorithm means something in these circumstances.

        Raises:
            ConfigError: it doesn't; the text says why.
        """

    def local_method(self) -> LocalMethod | None:
        """Return what sites do besides private SGD."""
        return None

    def step(self, mean: MeanOfRound, memory: Memory) -> tuple[MeanUpdate, Memory]:
        """Return how far the weights move, and what to keep of it; before round 1 the memory is empty."""
        return mean.values_P, memory
