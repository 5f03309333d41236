"""ResNet-18 for pictures whose finding is larger than a few pixels; its norm knows one image at a time.

Source: He et al., "Deep Residual Learning for Image Recognition" (2016), table 1; Wu and He, "Group
Normalization" (2018), for BatchNorm would couple patients.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from fed_common.models.architecture import Architecture
from fed_common.models.weight_standardisation import WeightStandardisedConvolution

_GROUPS = 16


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to the block's own input."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, kind: type[nn.Conv2d] = nn.Conv2d) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(kind, inputs, outputs, side=3, stride=stride),
            nn.GroupNorm(_GROUPS, outputs),
            nn.ReLU(),
            _convolution(kind, outputs, outputs, side=3),
            nn.GroupNorm(_GROUPS, outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                _convolution(kind, inputs, outputs, side=1, stride=stride), nn.GroupNorm(_GROUPS, outputs)
            )

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the block's maps, of half the side if its stride is 2."""
        return functional.relu(self.body(images_NCHW) + self.shortcut(images_NCHW))


def resnet_18(*, channels: int, size: int, classes: int, kind: type[nn.Conv2d] = nn.Conv2d) -> nn.Sequential:
    """Return the network; its last maps are averaged, so that every `size` has the same weights."""
    del size
    return nn.Sequential(
        _convolution(kind, channels, 64, side=7, stride=2),
        nn.GroupNorm(_GROUPS, 64),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        ResidualBlock(64, 64, stride=1, kind=kind),
        ResidualBlock(64, 64, stride=1, kind=kind),
        ResidualBlock(64, 128, stride=2, kind=kind),
        ResidualBlock(128, 128, stride=1, kind=kind),
        ResidualBlock(128, 256, stride=2, kind=kind),
        ResidualBlock(256, 256, stride=1, kind=kind),
        ResidualBlock(256, 512, stride=2, kind=kind),
        ResidualBlock(512, 512, stride=1, kind=kind),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, classes),
    )


def _convolution(
    kind: type[nn.Conv2d], inputs: int, outputs: int, *, side: int, stride: int = 1
) -> nn.Conv2d:
    """Return a convolution that keeps the map's side but for its stride; the norm after it has the bias."""
    return kind(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)


RESNET_18 = Architecture(sizes=range(64, 257, 32), build=resnet_18)
RESNET_18_WS = Architecture(
    sizes=RESNET_18.sizes, build=partial(resnet_18, kind=WeightStandardisedConvolution)
)
