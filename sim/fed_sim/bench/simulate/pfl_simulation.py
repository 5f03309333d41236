"""Apple's pfl-research: its simulated backend with PyTorch, in one process."""

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch import nn
from torch.nn import functional

from fed_sim.bench.simulate.workload import BATCH, RATE, RoundClock, Sites, seed_cnn


class _Network(nn.Module):
    """The seed CNN with the methods that pfl asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = seed_cnn()

    def loss(self, images_NHW: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
        """Return the mean loss."""
        return functional.cross_entropy(self.layers(images_NHW), labels_N)

    def metrics(self, *images_and_labels: torch.Tensor) -> dict[str, object]:
        """Return none: nothing is judged here."""
        return {}


class _TellsRounds(TrainingProcessCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self._clock = RoundClock()

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        """Tell of the round, and go on."""
        self._clock.round_done()
        return False, Metrics()


def main() -> None:
    """Run the rounds that the command line asks for."""
    torch.set_num_threads(2)
    asked = Sites.asked_for()
    network = _Network()
    model = PyTorchModel(
        model=network,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
    )
    data = FederatedDataset(
        lambda site: Dataset(raw_data=[*asked.of(site)]),
        get_user_sampler("minimize_reuse", list(range(asked.sites))),
    )
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=asked.rounds,
            evaluation_frequency=10**9,
            train_cohort_size=asked.training,
            val_cohort_size=0,
        ),
        SimulatedBackend(training_data=data, val_data=data),
        model,
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=RATE, local_batch_size=BATCH),
        NNEvalHyperParams(local_batch_size=BATCH),
        callbacks=[_TellsRounds()],
    )


if __name__ == "__main__":
    np.random.seed(1)  # pfl draws from numpy's own
    main()
