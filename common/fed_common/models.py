"""The network that all hospitals train, and the fingerprint by which they know it is the same one."""

import json
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_common import seeds
from fed_common.errors import ConfigError
from fed_common.layout import layout_of
from fed_common.names import digest_of
from fed_common.task import Task

Architecture = Literal["seed-cnn"]

INPUT_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which network: the seed CNN for images of 1 or 3 channels and 32x32 pixels."""

    architecture: Architecture = "seed-cnn"
    channels: int
    classes: int

    def __post_init__(self) -> None:
        if self.architecture != "seed-cnn":
            raise ConfigError(f"architecture must be 'seed-cnn', got {self.architecture!r}")
        if self.channels not in (1, 3):
            raise ConfigError(f"channels must be 1 or 3, got {self.channels}")
        if not 2 <= self.classes <= 64:
            raise ConfigError(f"classes must be in [2, 64], got {self.classes}")

    @property
    def fingerprint(self) -> str:
        """Identify the architecture and its parameter layout, as in `seed-cnn-1x32x32-2@e2f0a6d1c3b4`."""
        with torch.device("meta"):  # shapes only, no memory
            layout = layout_of(build_model(self))
        digest = digest_of(json.dumps([self.architecture, layout]).encode())
        size = f"{self.channels}x{INPUT_SIZE}x{INPUT_SIZE}"
        return f"{self.architecture}-{size}-{self.classes}@{digest[:12]}"


def spec_for(task: Task) -> ModelSpec:
    """Return the network that learns `task`.

    Raises:
        ConfigError: the recipe makes images of a size that the network doesn't take.
    """
    if task.recipe.size != INPUT_SIZE:
        raise ConfigError(f"recipe.size must be {INPUT_SIZE} for the seed CNN, got {task.recipe.size}")
    return ModelSpec(channels=task.recipe.channels, classes=len(task.classes))


def build_model(spec: ModelSpec) -> nn.Sequential:
    """Return the network, from images (N, C, 32, 32) to logits (N, K); its weights are torch's own.

    No padding, so the sides shrink 32 -> 30 -> 15 -> 13 -> 6. The softmax is in the loss.
    """
    return nn.Sequential(
        nn.Conv2d(spec.channels, 32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 6 * 6, spec.classes),
    )


def initial_parameters(spec: ModelSpec, *, seed: int) -> NDArray[np.float32]:
    """Return the same first parameters for the same seed; they are public and protect nothing.

    Weights are uniform with variance 2 / fan-in before a ReLU and 1 / (3 fan-in) before the softmax;
    biases are 0. Torch's own start has the smaller variance everywhere: signals then fade from layer to
    layer, and private training, which can afford few steps, ends at a lower AUC.

    Source: He et al., "Delving Deep into Rectifiers" (2015), equation 10.
    """
    rng = seeds.stream(seed, "initial parameters")
    pieces: list[NDArray[np.float64]] = []
    for layer in build_model(spec):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            bound = math.sqrt((6 if isinstance(layer, nn.Conv2d) else 1) / fan_in)
            pieces += [rng.uniform(-bound, bound, layer.weight.numel()), np.zeros(len(layer.weight))]
    return np.concatenate(pieces).astype(np.float32)
