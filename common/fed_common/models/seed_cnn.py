"""The seed CNN, small enough for private training with few patients."""

from torch import nn

from fed_common.models.architecture import Architecture


def seed_cnn(*, channels: int, size: int, classes: int) -> nn.Sequential:
    """Return two convolutions and a linear layer; the softmax is in the loss.

    No padding, so a side of 32 shrinks to 30 -> 15 -> 13 -> 6.
    """
    side = ((size - 2) // 2 - 2) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * side * side, classes),
    )


SEED_CNN = Architecture(sizes=range(32, 33), build=seed_cnn)
