"""The unprotected reference: the same network on all images in one place, so that privacy's price shows.

This training knows no patients, no clipping and no noise; it must never see a hospital's images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import nn

from fed_client.dataset import LabelledImages
from fed_common import seeds
from fed_common.errors import ConfigError
from fed_common.layout import load_flat
from fed_common.models import ModelSpec, build_model, initial_parameters
from fed_common.objective import image_losses
from fed_common.scoring import TestFigures, accuracy, judge, logits
from fed_common.test_set import TestSet

# Shape letters: N images, K classes.


@dataclass(frozen=True, kw_only=True)
class BaselineTerms:
    """How the reference is trained; Adam at 0.001 is the usual first choice for this network."""

    epochs: int = 10
    batch_size: int = 32
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.epochs >= 1 and self.batch_size >= 1):
            raise ConfigError(
                f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}"
            )
        if not 0 < self.learning_rate < float("inf"):
            raise ConfigError(f"learning_rate must be above 0, got {self.learning_rate}")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How well the network does on one set of images."""

    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class BaselineCurves:
    """One entry per epoch."""

    train: tuple[Scores, ...]
    test: tuple[TestFigures, ...]


def train_baseline(
    train: LabelledImages, test: TestSet, *, spec: ModelSpec, positive: int, terms: BaselineTerms
) -> BaselineCurves:
    """Train on all images of `train` and watch both sets; `positive` is the finding's label for the AUC.

    Raises:
        DataError: `test` lacks positive or negative images.
    """
    model = build_model(spec)
    load_flat(model, initial_parameters(spec, seed=terms.seed))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.6x faster on a CPU
    optimizer = _optimizer(model, terms)
    rng = seeds.stream(terms.seed, "baseline order")
    train_scores, test_figures = [], []
    for _ in range(terms.epochs):
        for batch_N in _shuffled_batches(len(train.labels_N), terms.batch_size, rng):
            logits_NK = model(train.batch(torch.from_numpy(batch_N)))
            optimizer.zero_grad()
            torch.autograd.backward(image_losses(logits_NK, train.labels_N[batch_N]).mean())
            optimizer.step()
        train_scores.append(_scores(model, train))
        test_figures.append(judge(model, test, positive=positive))
    return BaselineCurves(train=tuple(train_scores), test=tuple(test_figures))


def draw_curves(curves: BaselineCurves, path: Path) -> None:
    """Write accuracy and loss over the epochs as a picture; the ending of `path` is its format."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    epochs = range(1, len(curves.train) + 1)
    for name, scores, colour in (("train", curves.train, "tab:blue"), ("test", curves.test, "tab:orange")):
        accuracy.plot(epochs, [score.accuracy for score in scores], color=colour, label=name)
        loss.plot(epochs, [score.loss for score in scores], color=colour, label=name)
    for axes, title in ((accuracy, "accuracy"), (loss, "cross-entropy loss")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    accuracy.legend(frameon=False)
    auc = curves.test[-1].auc
    interval = f"95 % interval {auc.low:.3f} to {auc.high:.3f}"
    figure.suptitle(f"Pooled, unprotected baseline: test AUC {auc.value:.3f} ({interval})", fontsize=11)
    figure.savefig(path, dpi=150)


def _optimizer(model: nn.Module, terms: BaselineTerms) -> torch.optim.Optimizer:
    match terms.optimizer:
        case "adam":
            return torch.optim.Adam(model.parameters(), lr=terms.learning_rate)
        case "sgd":
            return torch.optim.SGD(model.parameters(), lr=terms.learning_rate)


def _shuffled_batches(count: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def _scores(model: nn.Module, images: LabelledImages) -> Scores:
    logits_NK = logits(model, images.images_NCHW)
    loss = image_losses(logits_NK, images.labels_N).mean()
    return Scores(loss=float(loss), accuracy=accuracy(logits_NK, images.labels_N))
