"""BlazeFL's FedAvg by a pool of threads, its fastest mode; of Python 3.12 and newer only."""

from enum import StrEnum

import torch
from blazefl.contrib import (
    FedAvgBaseServerHandler,
    FedAvgPartitionType,
    FedAvgThreadPoolClientTrainer,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fed_sim.bench.simulate.workload import BATCH, RATE, RoundClock, Sites, seed_cnn

_SEED = 1


class _Name(StrEnum):
    SEED_CNN = "seed-cnn"


class _Models:
    def select_model(self, model_name: _Name) -> nn.Module:
        """Return the one network that there is."""
        return seed_cnn()


class _Images:
    """The sites' images by BlazeFL's protocol."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def get_dataset(self, type_: FedAvgPartitionType, cid: int) -> TensorDataset:
        """Return a site's images and labels."""
        return TensorDataset(*self._sites.of(cid))

    def set_dataset(self, type_: FedAvgPartitionType, cid: int, dataset: TensorDataset) -> None:
        """Refuse: nothing here is set."""
        raise NotImplementedError

    def get_dataloader(
        self, type_: FedAvgPartitionType, cid: int, batch_size: int, generator: torch.Generator
    ) -> DataLoader[tuple[torch.Tensor, ...]]:
        """Return shuffled batches."""
        return DataLoader(
            self.get_dataset(type_, cid), batch_size=batch_size, shuffle=True, generator=generator
        )


def main() -> None:
    """Run the rounds that the command line asks for."""
    torch.set_num_threads(1)
    asked = Sites.asked_for()
    common = {
        "model_selector": _Models(),
        "model_name": _Name.SEED_CNN,
        "dataset": _Images(asked),
        "device": "cpu",
        "num_clients": asked.sites,
        "batch_size": BATCH,
        "seed": _SEED,
    }
    server = FedAvgBaseServerHandler(
        global_round=asked.rounds, sample_ratio=asked.training / asked.sites, **common
    )
    trainer = FedAvgThreadPoolClientTrainer(epochs=1, lr=RATE, num_parallels=2, **common)
    clock = RoundClock()
    while not server.if_stop():
        trainer.local_process(server.downlink_package(), server.sample_clients())
        for package in trainer.uplink_package():
            server.load(package)
        clock.round_done()


if __name__ == "__main__":
    main()
