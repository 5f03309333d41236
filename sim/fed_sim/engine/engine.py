"""The seam behind which virtual sites train, whatever processes do it: the same bits come out."""

# Shape letters: P parameters of the flattened model.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fed_common import fixedpoint
from fed_server.weighted_sum import WeightedSum
from fed_sim.engine.local_training import LocalTraining


class Engine(Protocol):
    """Has sites train and folds their updates, in fixed point, so that no order changes a bit."""

    def mean_update(
        self, number: int, sites: Sequence[int], weights_P: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return the mean update of `sites` in round `number`, each weighted by its patients.

        Raises:
            MachineError: a process that trains was ended.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SiteWork:
    """What is the same for every site: how it trains, and its weight."""

    training: LocalTraining
    patients: int
    num_parameters: int

    def add(self, total: WeightedSum, number: int, site: int, weights_P: NDArray[np.float32]) -> None:
        """Have one site train, and add its update as the service encodes and weights it."""
        update_P = self.training.update(number, site, weights_P)
        total.add(fixedpoint.to_fixed(update_P), self.patients)


@dataclass(frozen=True)
class SequentialEngine:
    """One site after the other, in this process."""

    work: SiteWork

    def mean_update(
        self, number: int, sites: Sequence[int], weights_P: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return the mean update; see `Engine`."""
        total = WeightedSum(np.zeros(self.work.num_parameters, dtype=np.int64))
        for site in sites:
            self.work.add(total, number, site, weights_P)
        return total.mean()
