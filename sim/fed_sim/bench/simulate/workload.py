"""The work that every way of simulating does: FedAvg of the seed CNN, 64 images a site, one pass in batches.

It needs torch alone, so that a peer can be measured in an environment that has nothing else.
"""

# Shape letters: S different sites, N images of a site, H rows, W columns.

import json
import sys
import time
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

IMAGES, BATCH, RATE = 64, 32, 0.05
# More sites than that have the images of another one: nobody's memory is measured by the images.
_DIFFERENT = 16


@dataclass(frozen=True, kw_only=True)
class Sites:
    """So many sites, of which `training` train in each round."""

    sites: int
    training: int
    rounds: int
    images_SNHW: torch.Tensor = field(repr=False)
    labels_SN: torch.Tensor = field(repr=False)

    @classmethod
    def asked_for(cls) -> "Sites":
        """Return what the command line asks for: sites, how many of them train, and how many rounds."""
        sites, training, rounds = map(int, sys.argv[1:4])
        generator = torch.Generator().manual_seed(1)
        return cls(
            sites=sites,
            training=training,
            rounds=rounds,
            images_SNHW=torch.randn(_DIFFERENT, IMAGES, 1, 32, 32, generator=generator),
            labels_SN=torch.randint(0, 2, (_DIFFERENT, IMAGES), generator=generator),
        )

    def of(self, site: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a site's images and labels."""
        return self.images_SNHW[site % _DIFFERENT], self.labels_SN[site % _DIFFERENT]


def seed_cnn() -> nn.Sequential:
    """Return the network, as `fed_common.models.seed_cnn` has it."""
    return nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 6 * 6, 2),
    )


def train_one_pass(model: nn.Module, images_NHW: torch.Tensor, labels_N: torch.Tensor) -> None:
    """Take plain SGD's steps through the images once."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for index_N in torch.split(torch.randperm(len(labels_N)), BATCH):
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(model(images_NHW[index_N]), labels_N[index_N]))
        optimizer.step()


class RoundClock:
    """Tells, on standard output, when each round was done and how long it took."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def round_done(self) -> None:
        """Tell of a round, and begin with the next one."""
        now = time.perf_counter()
        print(json.dumps({"round_s": now - self._began}), flush=True)  # noqa: T201  # read by `measure`
        self._began = now
