"""Which network a task learns, its first parameters, and the fingerprint that tells networks apart."""

import json
import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_common import seeds
from fed_common.errors import ConfigError
from fed_common.layout import layout_of, num_parameters
from fed_common.models.architecture import Architecture
from fed_common.models.breast_ultrasound import BREAST_ULTRASOUND
from fed_common.models.frozen import FrozenThenHead
from fed_common.models.records import LINEAR, PERCEPTRON
from fed_common.models.resnet import RESNET_18, RESNET_18_WS
from fed_common.models.scattering_network import SCATTERING, SCATTERING_FOR_FEW
from fed_common.models.seed_cnn import SEED_CNN
from fed_common.names import digest_of
from fed_common.task import ModelName, Task

ARCHITECTURES: dict[ModelName, Architecture] = {
    "seed-cnn": SEED_CNN,
    "resnet-18": RESNET_18,
    "resnet-18-ws": RESNET_18_WS,
    "scattering": SCATTERING,
    "scattering-for-few": SCATTERING_FOR_FEW,
    "breast-ultrasound": BREAST_ULTRASOUND,
    "linear": LINEAR,
    "perceptron": PERCEPTRON,
}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which network, for images of 1 or 3 channels and `size` x `size` pixels."""

    architecture: ModelName = "seed-cnn"
    channels: int
    size: int = 32
    classes: int

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ConfigError(
                f"model must be one of {', '.join(get_args(ModelName))}, got {self.architecture!r}"
            )
        if self.channels not in (1, 3):
            raise ConfigError(f"channels must be 1 or 3, got {self.channels}")
        if not 2 <= self.classes <= 64:
            raise ConfigError(f"classes must be in [2, 64], got {self.classes}")
        sizes = ARCHITECTURES[self.architecture].sizes
        if self.size not in sizes:
            raise ConfigError(
                f"recipe.size must be {' or '.join(map(str, sizes))} for {self.architecture}, got {self.size}"
            )

    @property
    def fingerprint(self) -> str:
        """Identify the architecture and its parameter layout, as in `seed-cnn-1x32x32-2@e2f0a6d1c3b4`."""
        with torch.device("meta"):  # shapes only, no memory
            layout = layout_of(build_model(self))
        constants = ARCHITECTURES[self.architecture].constants
        facts = [self.architecture, layout, *([constants] if constants else [])]
        digest = digest_of(json.dumps(facts).encode())
        size = f"{self.channels}x{self.size}x{self.size}"
        return f"{self.architecture}-{size}-{self.classes}@{digest[:12]}"


def spec_for(task: Task) -> ModelSpec:
    """Return the network that learns `task`.

    Raises:
        ConfigError: the recipe makes images of a size that the network doesn't take.
    """
    return ModelSpec(
        architecture=task.model,
        channels=task.recipe.channels,
        size=task.recipe.size,
        classes=len(task.classes),
    )


def build_model(spec: ModelSpec) -> nn.Module:
    """Return the network, from images (N, C, size, size) to logits (N, K); its weights are torch's own."""
    build = ARCHITECTURES[spec.architecture].build
    return build(channels=spec.channels, size=spec.size, classes=spec.classes)


def initial_parameters(spec: ModelSpec, *, seed: int) -> NDArray[np.float32]:
    """Return the same first parameters for the same seed; they are public and protect nothing.

    Weights are uniform with variance 2 / fan-in before a ReLU and 1 / (3 fan-in) before the softmax;
    biases are 0, a norm's factors 1. Torch's own start has the smaller variance everywhere: signals then
    fade from layer to layer, and private training, which can afford few steps, ends at a lower AUC. A head
    on frozen features starts at zero: its loss is convex, and the first step is the classes' difference.

    Source: He et al., "Delving Deep into Rectifiers" (2015), equation 10.
    """
    model = build_model(spec)
    if isinstance(model, FrozenThenHead):
        return np.zeros(num_parameters(layout_of(model)), dtype=np.float32)
    rng = seeds.stream(seed, "initial parameters")
    pieces: list[NDArray[np.float64]] = []
    for layer in model.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if name == "bias":
                pieces.append(np.zeros(parameter.numel()))
            elif isinstance(layer, nn.Conv2d | nn.Linear):
                bound = math.sqrt((6 if isinstance(layer, nn.Conv2d) else 1) / parameter[0].numel())
                pieces.append(rng.uniform(-bound, bound, parameter.numel()))
            else:
                pieces.append(np.ones(parameter.numel()))
    return np.concatenate(pieces).astype(np.float32)
