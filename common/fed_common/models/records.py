"""The networks for records of a table, whose columns are the first pixels of a small picture."""

from torch import nn

from fed_common.models.architecture import Architecture

_HIDDEN = 32


def linear(*, channels: int, size: int, classes: int) -> nn.Sequential:
    """Return logistic regression: one linear layer; the softmax is in the loss."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes))


def perceptron(*, channels: int, size: int, classes: int) -> nn.Sequential:
    """Return a network of one hidden layer."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * size * size, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, classes)
    )


LINEAR = Architecture(sizes=range(16, 33), build=linear)
PERCEPTRON = Architecture(sizes=range(16, 33), build=perceptron)
