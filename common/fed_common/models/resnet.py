"""ResNet-18 for pictures whose finding is larger than a few pixels; its norm knows one image at a time.

Source: He et al., "Deep Residual Learning for Image Recognition" (2016), table 1; Wu and He, "Group
Normalization" (2018), for BatchNorm would couple patients.
"""

import torch
from torch import nn
from torch.nn import functional

from fed_common.models.architecture import Architecture

_GROUPS = 16


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to the block's own input."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(inputs, outputs, side=3, stride=stride),
            nn.GroupNorm(_GROUPS, outputs),
            nn.ReLU(),
            _convolution(outputs, outputs, side=3),
            nn.GroupNorm(_GROUPS, outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                _convolution(inputs, outputs, side=1, stride=stride), nn.GroupNorm(_GROUPS, outputs)
            )

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the block's maps, of half the side if its stride is 2."""
        return functional.relu(self.body(images_NCHW) + self.shortcut(images_NCHW))


def resnet_18(*, channels: int, size: int, classes: int) -> nn.Sequential:
    """Return the network; its last maps are averaged, so that every `size` has the same weights."""
    del size
    return nn.Sequential(
        _convolution(channels, 64, side=7, stride=2),
        nn.GroupNorm(_GROUPS, 64),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        ResidualBlock(64, 64, stride=1),
        ResidualBlock(64, 64, stride=1),
        ResidualBlock(64, 128, stride=2),
        ResidualBlock(128, 128, stride=1),
        ResidualBlock(128, 256, stride=2),
        ResidualBlock(256, 256, stride=1),
        ResidualBlock(256, 512, stride=2),
        ResidualBlock(512, 512, stride=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, classes),
    )


def _convolution(inputs: int, outputs: int, *, side: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps the map's side but for its stride; the norm after it has the bias."""
    return nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)


RESNET_18 = Architecture(sizes=range(64, 257, 32), build=resnet_18)
